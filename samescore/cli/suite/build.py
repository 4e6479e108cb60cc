"""`samescore suite build`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypedDict, Unpack

import click

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.records import Record
from monitors.suites.compiled.compiler import compile_suite, load_json
from monitors.suites.levels import level_of
from monitors.suites.merging import Merged, Prefer, merge
from monitors.suites.specs import BuildSettings
from samescore.cli.options import ANY_PATH, FOLDER, EnumValue, json_option, print_json
from samescore.progress import progress
from samescore.record_files import read_record_file
from samescore.suites import build_suite, records_of_bundle, write_suite

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class _FieldNames(click.ParamType[tuple[str, ...]]):
    """`FIELD+FIELD`."""

    name = "field+field"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split the text."""
        names = value if isinstance(value, tuple) else tuple(str(value).split("+"))
        if len(names) < 2 or not all(names):
            self.fail(f"{value!r}: write two or more fields as FIELD+FIELD", param, ctx)
        return names


class _Choices(TypedDict):
    """How strict the suite is, as click gives it."""

    margin: float
    max_categories: int
    batch_level: bool
    cross_columns: bool
    sums: tuple[tuple[str, ...], ...]
    unique_together: tuple[tuple[str, ...], ...]


@click.command("build")
@click.argument("records", type=_FILE, required=False)
@click.option("--bundle", type=FOLDER, required=True, help="The model's bundle: NAME/VERSION.")
@click.option("--out", type=ANY_PATH, required=True,
              help="The suite's JSON file; one that is there is merged with.")  # fmt: skip
@click.option("--name", help="Of the suite.  [default: the model's name]")
@click.option("--margin", type=click.FloatRange(0, 10), default=0.1, show_default=True,
              help="On both sides of a numeric range, as a share of its width.")  # fmt: skip
@click.option("--max-categories", type=click.IntRange(0, 10_000), default=50, show_default=True,
              help="A text field with at most so many values gets a set.")  # fmt: skip
@click.option("--batch-level/--no-batch-level", default=True, show_default=True,
              help="Also expect quantiles, means, spreads and shares, which only suite check can "
              "judge.")  # fmt: skip
@click.option("--cross-columns/--no-cross-columns", default=True, show_default=True,
              help="Also expect relations between fields that held without an exception; they "
              "flag.")  # fmt: skip
@click.option("--sum", "sums", type=_FieldNames(), multiple=True, metavar="FIELD+FIELD",
              help="Fields whose sum is the same in each record; repeat.")  # fmt: skip
@click.option("--unique", "unique_together", type=_FieldNames(), multiple=True,
              metavar="FIELD+FIELD",
              help="Fields that together tell any two records apart; repeat.")  # fmt: skip
@click.option("--prefer", type=EnumValue(Prefer), default=Prefer.EDITED.value, show_default=True,
              help="What stays where a person and the new records changed the same.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Replace --out, people's edits and all.")
@click.option("--dry-run", is_flag=True, help="Write nothing; exit code 1 if there is a conflict.")
@json_option
def command(
    records: Path | None,
    bundle: Path,
    out: Path,
    name: str | None,
    prefer: Prefer,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
    **choices: Unpack[_Choices],
) -> None:
    """Write a Great Expectations suite from the training records in RECORDS.

    \b
    Example:
      samescore suite build train.jsonl --bundle models/xgboost/1 --out suite.json

    RECORDS are JSON lines or a Parquet file; without it, the golden records of the bundle. A suite
    that is there already is merged: what people edited, added or removed since it was generated
    stays, the rest follows the new records, and what both changed is listed as a conflict.
    """
    manifest = open_bundle(bundle).manifest
    if manifest.inputs is None:
        raise ConfigError(f"bundle {bundle}: takes feature rows; a suite is for raw records")
    there = load_json(out) if out.exists() and not fresh else None
    with _read(records, bundle) as source:
        title = name or (there["name"] if there else manifest.name)
        new = build_suite(manifest.inputs, source, title, BuildSettings(**choices))
    found = Merged(suite=new) if there is None else merge({**there, "name": title}, new, prefer)
    compile_suite(found.suite, str(out))
    if not dry_run:
        write_suite(out, found.suite)
    if as_json:
        print_json(_as_json(found, merged=there is not None))
    else:
        _tell(found, out, there)
    sys.exit(1 if dry_run and found.conflicts else 0)


@contextmanager
def _read(records: Path | None, bundle: Path) -> Iterator[Iterable[Record]]:
    if records is None:
        yield records_of_bundle(bundle)
        return
    with progress("reading records", None) as step:
        yield _stepping(read_record_file(records), step)


def _stepping(records: Iterable[Record], step: Callable[[], None]) -> Iterator[Record]:
    for record in records:
        step()
        yield record


def _tell(found: Merged, out: Path, there: dict[str, Json] | None) -> None:
    suite = found.suite
    rows = len(compile_suite(suite).rules)
    batch = sum(level_of(e["type"]).value == "batch" for e in suite["expectations"])
    click.echo(
        f"{out}: {len(suite['expectations'])} expectations from "
        f"{suite['meta']['samescore']['records']} records; {rows} can guard each row, "
        f"{batch} need a batch"
    )
    if there is not None:
        click.echo(
            f"merged: {len(found.updated)} updated, {len(found.added)} added, "
            f"{len(found.dropped)} dropped, {len(found.kept)} kept as people made them, "
            f"{len(found.conflicts)} conflicts"
        )
    for what in ("updated", "added", "dropped", "kept"):
        for rule in getattr(found, what):
            click.echo(f"  {what}: {rule}")
    for conflict in found.conflicts:
        click.echo(f"  conflict: {conflict}")


def _as_json(found: Merged, *, merged: bool) -> dict[str, Json]:
    return {
        "suite": found.suite["name"],
        "expectations": len(found.suite["expectations"]),
        "merged": merged,
        "updated": found.updated,
        "added": found.added,
        "dropped": found.dropped,
        "kept": found.kept,
        "conflicts": [c.to_json() for c in found.conflicts],
    }
