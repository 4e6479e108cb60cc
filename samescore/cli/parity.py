"""`samescore parity`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypedDict, TypeVar, Unpack

import click

from consistency.errors import ConfigError
from consistency.execution import Execution
from consistency.parity import Factors, Isa, OneDnn
from consistency.parity_advice import advise
from samescore.cli.options import (
    ANY_PATH,
    FOLDER,
    json_option,
    model_trust,
    print_json,
    trust_options,
)
from samescore.parity.run import GIB, ParityJob, Plan, run_parity
from samescore.progress import progress
from serving.loaders.runtimes.devices import Device

T = TypeVar("T")
MOST_BATCH = 65_536
MOST_THREADS = 256


class _List(click.ParamType[tuple[T, ...]], Generic[T]):
    """Values between commas."""

    def __init__(self, name: str, read: Callable[[str], T]) -> None:
        self.name, self._read = name, read

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[T, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(
                self._read(part.strip()) for part in str(value).split(",") if part.strip()
            )
        except (ConfigError, ValueError) as e:
            self.fail(f"{value!r}: {e}", param, ctx)
        if not found:
            self.fail("give at least one value", param, ctx)
        return tuple(dict.fromkeys(found))


def _whole(highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= highest):
            raise ValueError(f"{text!r} is no whole number from 1 to {highest}")
        return int(text)

    return read


def _one_of(kind: type[T]) -> Callable[[str], T]:
    values = [str(v) for v in kind]  # type: ignore[attr-defined]  # an enumeration

    def read(text: str) -> T:
        if text not in values:
            raise ValueError(f"{text!r} is not one of {', '.join(values)}")
        return kind(text)  # type: ignore[call-arg]

    return read


def _device(text: str) -> str:
    Device.parse(text)
    return text


class _Options(TypedDict):
    """What the table can be told, as click gives it."""

    batches: tuple[int, ...]
    threads: tuple[int, ...]
    executions: tuple[Execution, ...]
    onednn: tuple[OneDnn, ...]
    isas: tuple[Isa, ...]
    devices: tuple[str, ...] | None
    crossed: bool
    log: Path | None
    file: Path | None
    decimals: int
    jobs: int
    timeout_seconds: float
    memory_gib: int
    html: Path | None
    trust_types: tuple[str, ...]
    allow_pickle: bool


@click.command("parity")
@click.argument("bundle", type=FOLDER)
@click.option("--batch", "batches", type=_List("sizes", _whole(MOST_BATCH)), default="1,7,64,1024",
              show_default=True, help="Rows that reach the model at once.")  # fmt: skip
@click.option("--threads", type=_List("numbers", _whole(MOST_THREADS)), default="1,2",
              show_default=True, help="Of the model.")  # fmt: skip
@click.option("--execution", "executions", type=_List("executions", Execution.parse),
              default="as_is,padded:16,float64", show_default=True,
              help="Tried beside the bundle's own.")  # fmt: skip
@click.option("--onednn", type=_List("on,off", _one_of(OneDnn)), default="on,off",
              show_default=True, help="oneDNN's kernels.")  # fmt: skip
@click.option("--isa", "isas", type=_List("levels", _one_of(Isa)), default="default,avx2,sse4",
              show_default=True,
              help=f"Newest CPU instructions: {', '.join(Isa)}.")  # fmt: skip
@click.option("--device", "devices", type=_List("devices", _device),
              help="cpu, cuda, cuda:N.  [default: cpu, and cuda where there is one]")  # fmt: skip
@click.option("--crossed", is_flag=True,
              help="Every combination, instead of one change at a time.")  # fmt: skip
@click.option("--log", type=FOLDER, help="Score the features of this request log.")
@click.option("--rows", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE.parquet", help="Score these feature rows.")  # fmt: skip
@click.option("--decimals", type=click.IntRange(0, 16), default=10, show_default=True,
              help="That must agree.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Cells side by side; costs are honest with 1.")  # fmt: skip
@click.option("--cell-timeout", "timeout_seconds", type=click.FloatRange(0.1), default=120.0,
              show_default=True, help="Seconds that a cell may take.")  # fmt: skip
@click.option("--cell-memory", "memory_gib", type=click.IntRange(0), default=16,
              show_default=True, help="GiB of data that a cell may hold; 0: no bound.")  # fmt: skip
@click.option(
    "--html", type=ANY_PATH, metavar="FILE.html", help="Write a page, heat maps included."
)
@trust_options
@json_option
def command(bundle: Path, as_json: bool, **options: Unpack[_Options]) -> None:
    """Compute the rows of BUNDLE in many ways and say whether the scores agree.

    Each cell of the table is one batch size, number of threads, CPU instruction set, oneDNN
    setting, execution and device, in a process of its own. A switch that changes nothing for the
    model's library is told apart from agreement. Rows are the golden ones unless --log or --rows
    names others.

    \b
    Example:
      samescore parity models/keras_float32/1 --html parity.html

    Exit code 0: the bundle's own execution agrees in all cells; 1: it does not, or a cell failed;
    2: wrong usage or unusable input.
    """
    _check_html(options["html"])
    with ExitStack() as stack:

        def planned(plan: Plan) -> Callable[[], object]:
            click.echo(_plan_text(plan), err=True)
            return stack.enter_context(progress("cells", plan.count))

        table = run_parity(_job(bundle, options), planned)
    if options["html"] is not None:
        from samescore.parity.report import write_report

        write_report(table, options["html"])
    if as_json:
        print_json(table.to_json() | {"advice": advise(table).to_json()})
    else:
        from samescore.parity.text import show

        show(table)
    sys.exit(0 if table.agrees(table.serving) else 1)


def _plan_text(plan: Plan) -> str:
    executions = ", ".join(map(str, plan.cells))
    return f"{plan.count} cells of {plan.rows.count:,} rows each, executions {executions}"


def _job(bundle: Path, options: _Options) -> ParityJob:
    factors = Factors(
        options["batches"],
        options["threads"],
        options["onednn"],
        options["isas"],
        options["devices"] or _devices_here(),
        options["crossed"],
    )
    return ParityJob(
        bundle=bundle,
        factors=factors,
        executions=options["executions"],
        log=options["log"],
        file=options["file"],
        decimals=options["decimals"],
        jobs=options["jobs"],
        timeout_seconds=options["timeout_seconds"],
        memory_bytes=options["memory_gib"] * GIB,
        trust=model_trust(options["trust_types"], options["allow_pickle"]),
    )


def _devices_here() -> tuple[str, ...]:
    """Return the devices to try: a GPU only where its driver shows one."""
    return ("cpu", "cuda") if Path("/dev/nvidia0").exists() else ("cpu",)


def _check_html(path: Path | None) -> None:
    """Refuse what could not be written before the first cell runs."""
    if path is None:
        return
    missing = [n for n in ("jinja2", "matplotlib") if importlib.util.find_spec(n) is None]
    if missing:
        raise ConfigError(f"--html needs {', '.join(missing)}; pip install 'samescore[drift]'")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"--html {path}: name a file in a folder that exists")
