"""`samescore suite build|show|check`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console
from rich.table import Table

from consistency.bundle import open_bundle
from consistency.errors import ConfigError, DataError
from consistency.log import RequestLogReader
from consistency.records import Record
from monitors.suites import CompiledSuite, compile_suite, read_suite
from monitors.suites.checking import CheckedExpectation, CheckReport, check_records, collect_records
from monitors.suites.compiler import load_json
from samescore.cli.options import ANY_PATH, FOLDER, json_option, print_json
from samescore.cli.suite_options import suite_option
from samescore.suites import SuiteLocation, build_suite

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("suite")
def command() -> None:
    """Make an expectation suite, show what guards requests, and check a request log with it."""


@command.command("build")
@click.argument("records", type=_FILE)
@click.option("--bundle", type=FOLDER, required=True, help="The model's bundle: NAME/VERSION.")
@click.option("--out", type=ANY_PATH, required=True, help="The suite's JSON file.")
@click.option("--name", help="Of the suite.  [default: the model's name]")
@click.option("--margin", type=click.FloatRange(0, 10), default=0.1, show_default=True,
              help="On both sides of a numeric range, as a share of its width.")  # fmt: skip
@click.option("--max-categories", type=click.IntRange(0, 10_000), default=50, show_default=True,
              help="A text field with at most so many values gets a set.")  # fmt: skip
@click.option("--batch-level", is_flag=True,
              help="Also expect shares of nulls, which only suite check can judge.")  # fmt: skip
def build(
    records: Path,
    bundle: Path,
    out: Path,
    name: str | None,
    margin: float,
    max_categories: int,
    batch_level: bool,
) -> None:
    """Write a Great Expectations suite from the training records in RECORDS (JSON lines).

    \b
    Example:
      samescore suite build train.jsonl --bundle models/xgboost/1 --out suite.json
    """
    from monitors.suites.builder import BuildSettings

    settings = BuildSettings(margin, max_categories, batch_level)
    manifest = open_bundle(bundle).manifest
    if manifest.inputs is None:
        raise ConfigError(f"bundle {bundle}: takes feature rows; a suite is for raw records")
    with records.open("rb") as stream:
        suite = build_suite(manifest.inputs, _records(records, stream), name or manifest.name,
                            settings)  # fmt: skip
    try:
        out.write_bytes(orjson.dumps(suite, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as e:
        raise ConfigError(f"--out {out}: {e.strerror}; name a file that can be written") from e
    compiled = compile_suite(suite)
    click.echo(
        f"{out}: {len(suite['expectations'])} expectations from "
        f"{suite['meta']['samescore']['records']} records; {len(compiled.rules)} can guard "
        f"each row, {len(compiled.left_out)} need a batch"
    )


def _records(path: Path, stream: Any) -> Iterator[Record]:  # noqa: ANN401 - lines of bytes
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as e:
            raise DataError(f"{path} line {number}: no JSON ({e.msg}); write one object a line") \
                from None  # fmt: skip


@command.command("show")
@click.argument("suite", type=_FILE)
@json_option
def show(suite: Path, as_json: bool) -> None:
    """List the rules in SUITE that can guard each row, and what only a batch can be checked for.

    \b
    Example:
      samescore suite show suite.json
    """
    compiled = read_suite(suite)
    if as_json:
        print_json(_compiled_json(compiled))
        return
    console = Console(soft_wrap=True)
    for rule in compiled.rules:
        tolerant = "" if rule.mostly == 1 else f" (mostly {rule.mostly:g}: only flags)"
        text = f"row    {rule.label}: allows {rule.test.allowed}{tolerant}"
        console.print(text, markup=False, highlight=False)
    for left in compiled.left_out:
        text = f"batch  {left.column or 'table'}: {left.kind} is not run on requests: {left.reason}"
        console.print(text, markup=False, highlight=False)


def _compiled_json(compiled: CompiledSuite) -> dict[str, Any]:
    return {
        "suite": compiled.name,
        "rules": [
            {"type": r.kind, "column": r.column, "allows": r.test.allowed, "mostly": r.mostly}
            for r in compiled.rules
        ],
        "left_out": [
            {"type": x.kind, "column": x.column, "level": x.level.value, "reason": x.reason}
            for x in compiled.left_out
        ],
    }


@command.command("check")
@click.argument("log", type=FOLDER)
@suite_option
@click.option("--show", type=click.IntRange(0, 1000), default=5, show_default=True,
              help="Unexpected rows to name for each expectation.")  # fmt: skip
@json_option
def check(log: Path, suites: tuple[SuiteLocation, ...], show: int, as_json: bool) -> None:
    """Run suites as Great Expectations checkpoints over the raw records in LOG.

    \b
    Example:
      samescore suite check requests --suite xgboost=suite.json

    Records of refused requests are checked too. Exit code 0: every expectation holds; 1: one does
    not; 2: wrong usage, or there is nothing to check.
    """
    if not suites:
        raise click.UsageError("name at least one --suite MODEL=suite.json")
    held = {s.model: load_json(s.path) for s in suites}
    found, damage = collect_records(RequestLogReader(log), held)
    for piece in damage:
        click.echo(f"damaged: {piece.segment} line {piece.line}: {piece.problem}", err=True)
    reports = [check_records(m, suite, found[m], show=show) for m, suite in held.items()]
    if as_json:
        print_json({"success": all(r.success for r in reports), "damaged_lines": len(damage),
                    "models": [r.to_json() for r in reports]})  # fmt: skip
    else:
        for report in reports:
            _show_report(report)
    sys.exit(0 if all(r.success for r in reports) else 1)


def _show_report(report: CheckReport) -> None:
    console = Console()
    title = f"{report.model}: {report.rows:,} rows of {report.requests:,} requests"
    table = Table(title=f"{title}, suite {report.suite}")
    for heading in ("rule", "column", "level", "unexpected", "holds"):
        table.add_column(heading, justify="right" if heading == "unexpected" else "left")
    for found in report.expectations:
        _add_row(table, found)
    console.print(table)
    if report.without_records:
        console.print(f"{report.without_records} requests hold no raw record (feature rows, or "
                      f"bodies that cannot be read)")  # fmt: skip
    if report.no_objects:
        console.print(f"{report.no_objects} rows are no JSON objects")
    for found in report.expectations:
        if not found.outcome.success:
            _show_failure(console, found)
    verdict = "every expectation holds" if report.success else "NOT every expectation holds"
    console.print(verdict, style="bold green" if report.success else "bold red")


def _add_row(table: Table, found: CheckedExpectation) -> None:
    outcome = found.outcome
    seen = f"{found.unexpected_rows:,}" if outcome.observed is None else f"{outcome.observed}"
    table.add_row(
        outcome.kind.removeprefix("expect_column_").removeprefix("values_to_"),
        str(outcome.kwargs.get("column", "")),
        found.level.value, seen, "yes" if outcome.success else "NO",
        style=None if outcome.success else "bold red",
    )  # fmt: skip


def _show_failure(console: Console, found: CheckedExpectation) -> None:
    outcome = found.outcome
    lines = [f"{outcome.kind} {orjson.dumps(dict(outcome.kwargs)).decode():.200}"]
    if outcome.problem:
        lines.append(f"  GX gave no verdict: {outcome.problem}")
    lines += [f"  request {u.request_id} row {u.row}: {u.value!r:.80}" for u in found.first]
    if found.unexpected_rows > len(found.first):
        lines.append(f"  and {found.unexpected_rows - len(found.first)} more rows")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
