"""Ten decimals, for six kinds of model, whatever the batch, the threads, the process or the engine.

More than 100,000 rows are scored online by two worker processes, in requests of 1 to 64 rows, and
replayed from the logged bytes in new processes: each local replay in one of its own, those on Spark
in one application a number of threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.fixtures.figures import Tell
from tests.fixtures.server import COMMAND, Client, serving

pytestmark = pytest.mark.slow

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "flights"
PACKAGE: Final = "flights_features"
TREES: Final = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
MODELS: Final = (
    "xgboost", "lightgbm", "sklearn", "onnx_float64", "torch_float64", "keras_float64"
)  # fmt: skip
ROWS_A_MODEL: Final = int(os.environ.get("SAMESCORE_AGREEMENT_ROWS", "17000"))
"""The test's own knob: `SAMESCORE_AGREEMENT_ROWS=100000` makes it 600,000 rows."""

BATCHES: Final = (1, 64, 4096)
THREADS: Final = (1, 2)
JOBS: Final = {(64, 1): 2}
"""Two processes replay at one pair: each loads six libraries, which costs more than the rows."""


def requests(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return requests of 1, 2, ... 64, 1, 2, ... records until there are enough rows."""
    made: list[dict[str, Any]] = []
    begin, rows = 0, 0
    while rows < ROWS_A_MODEL:
        size = len(made) % 64 + 1
        held = [records[(begin + i) % len(records)] for i in range(size)]
        made.append({"type": "record", "data": {"insts": held}})
        begin, rows = begin + size, rows + size
    return made


def arguments(log: Path, models: Path, threads: int) -> tuple[object, ...]:
    """Return what each replay is told."""
    named = ("--bundles", models, "--pipeline", PACKAGE, "--trust-type", TREES)
    return (log, *named, "--threads", threads)


def run(*command: object) -> bytes:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.fixture(scope="module")
def log(flights_models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A log that two workers wrote, and the rows that the client has answers for."""
    root = tmp_path_factory.mktemp("agreement")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        from flights_data import load_flights

        months = load_flights().months(7, 12).thinned(20_000)
    bodies = requests([dict(record) for record in months.records])
    with serving(
        flights_models, "--log", root / "log", "--pipeline", PACKAGE, "--workers", "2",
        "--trust-type", TREES, "--gate", "report", errors=root / "errors",
    ) as server:  # fmt: skip
        answered = sum(send(server.port, f"/predict/{name}/1", bodies) for name in MODELS)
        assert server.terminate() == 0
    return root / "log", answered


@pytest.fixture(scope="module")
def on_spark(
    log: tuple[Path, int], flights_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], dict[int, Any]]:
    """Replay at every batch size on Spark (local[2]) with a number of threads, once each."""

    @cache
    def reports(threads: int) -> dict[int, Any]:
        folder = tmp_path_factory.mktemp(f"spark-{threads}")
        module = (sys.executable, "-m", "tests.fixtures.spark_application", folder)
        run(*module, ",".join(map(str, BATCHES)), *arguments(log[0], flights_models, threads))
        return {n: orjson.loads((folder / f"{n}.json").read_bytes()) for n in BATCHES}

    return reports


def send(port: int, path: str, bodies: Sequence[dict[str, Any]]) -> int:
    """Send each request once, over four connections; return the number of scores in the answers."""
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(lambda part: _send(port, path, part), (bodies[i::4] for i in range(4))))


def _send(port: int, path: str, bodies: Sequence[dict[str, Any]]) -> int:
    client = Client(port)
    replies = [client.post(path, body) for body in bodies]
    client.close()
    assert {reply.status for reply in replies} == {200}
    return sum(len(reply.json["data"]["insts"]) for reply in replies)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("batch", BATCHES)
def test_all_rows_agree(
    batch: int,
    threads: int,
    log: tuple[Path, int],
    flights_models: Path,
    on_spark: Callable[[int], dict[int, Any]],
    tell: Tell,
) -> None:
    folder, answered = log
    assert answered >= 6 * ROWS_A_MODEL > 100_000
    told = arguments(folder, flights_models, threads)
    how = ("--batch-size", batch, "--jobs", JOBS.get((batch, threads), 1))
    report = orjson.loads(run(COMMAND, "replay", *told, *how, "--json"))
    whole(report, answered)
    assert on_spark(threads)[batch] == report, "the same verdict, figure by figure"
    tell(f"batch {batch}, {threads} threads: {answered:,} rows agree")
    for name, model in sorted(report["models"].items()):
        scores = model["stages"]["scores"]
        tell(
            f"{name}: {scores['rows']:,} rows, same bits "
            f"{scores['bit_identical_ratio']:.4%}, largest |Δ| {scores['max_abs_diff']:.2g}"
        )


def whole(report: dict[str, Any], answered: int) -> None:
    """Assert that every answered row was replayed and agrees, at each stage."""
    assert sorted(report["models"]) == sorted(f"{name}/1" for name in MODELS)
    assert sum(model["rows"] for model in report["models"].values()) == answered
    for model in report["models"].values():
        assert model["agrees"]
        assert not model["worst"]
        for stage in model["stages"].values():
            assert stage["agree_ratio"] == 1.0
            assert stage["rows"] == model["rows"]
    assert not report["damage"]
