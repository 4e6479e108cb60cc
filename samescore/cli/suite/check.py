"""`samescore suite check`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import orjson
from rich.console import Console, JustifyMethod
from rich.table import Table

from consistency.jsontype import Json
from consistency.log import RequestLogReader
from consistency.log.selection import LogSelection
from consistency.protocols import Damage
from monitors.suites.compiled.compiler import load_json
from monitors.suites.naming import columns_of, rule_name
from monitors.suites.whole.checking import (
    CheckedExpectation,
    CheckReport,
    LoggedRecords,
    check_records,
    collect_records,
    file_records,
)
from samescore.cli.log.selection import say_damage, selection_options
from samescore.cli.options import json_option, print_json
from samescore.cli.suite.options import suite_option
from samescore.record_files import read_record_file
from samescore.suites import SuiteLocation

DATA: Final = click.Path(exists=True, path_type=Path)


@click.command("check")
@click.argument("data", type=DATA)
@suite_option
@selection_options
@click.option("--show", type=click.IntRange(0, 1000), default=5, show_default=True,
              help="Unexpected rows to name for each expectation.")  # fmt: skip
@json_option
def command(
    data: Path,
    suites: tuple[SuiteLocation, ...],
    selection: LogSelection,
    show: int,
    as_json: bool,
) -> None:
    """Run whole suites as Great Expectations checkpoints over the raw records in DATA.

    \b
    Example:
      samescore suite check requests --suite xgboost=suite.json --since 24h
      samescore suite check train.parquet --suite xgboost=suite.json

    DATA is the folder of a request log, or a file of records: Parquet or JSON lines. Both levels
    are judged, rows and batches; what chance alone may break on so few rows is shown and not
    counted. Records of refused requests are checked too, unless --outcome says otherwise. Exit code
    0: every expectation holds; 1: one does not; 2: wrong usage, or there is nothing to check.
    """
    if not suites:
        raise click.UsageError("name at least one --suite MODEL=suite.json")
    held = {s.model: load_json(s.path) for s in suites}
    found, damage = gather(data, held, selection)
    reports = [check_records(m, suite, found[m], show=show) for m, suite in held.items()]
    if as_json:
        print_json({"success": all(r.success for r in reports), "damaged_lines": len(damage),
                    "models": [r.to_json() for r in reports]})  # fmt: skip
    else:
        for report in reports:
            _show_report(report)
    sys.exit(0 if all(r.success for r in reports) else 1)


def gather(
    data: Path, suites: Mapping[str, Mapping[str, Json]], selection: LogSelection
) -> tuple[dict[str, LoggedRecords], Sequence[Damage]]:
    """Return the raw records of each model in a log's folder or a file, and the log's damage.

    Raises:
        ConfigError: the file cannot be read.
        DataError: a line of it is no JSON.
    """
    if data.is_dir():
        found, damage = collect_records(RequestLogReader(data, selection), suites)
        for piece in damage:
            say_damage(piece)
        return found, damage
    if selection != LogSelection():
        raise click.UsageError(f"{data} is a file; --since, --outcome and the like choose of a log")
    if len(suites) > 1:
        raise click.UsageError(f"{data} is a file; name one --suite for it")
    (model,) = suites
    return {model: file_records(data.name, read_record_file(data))}, []


def _show_report(report: CheckReport) -> None:
    console = Console()
    title = f"{report.model}: {report.rows:,} rows of {report.requests:,} requests"
    if not report.requests:
        title = f"{report.model}: {report.rows:,} rows"
    table = Table(title=f"{title}, suite {report.suite}")
    for heading in ("rule", "column", "level", "unexpected", "holds"):
        justify: JustifyMethod = "right" if heading == "unexpected" else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for found in report.expectations:
        _add_row(table, found)
    console.print(table)
    if report.without_records:
        console.print(f"{report.without_records} requests hold no raw record (feature rows, or "
                      f"bodies that cannot be read)")  # fmt: skip
    if report.no_objects:
        console.print(f"{report.no_objects} rows are no JSON objects")
    if report.too_few:
        needed = max(e.needed_rows for e in report.too_few)
        console.print(
            f"{len(report.too_few)} batch-level expectations were not counted: on "
            f"{report.rows:,} rows chance alone may break them; give up to {needed:,}"
        )
    for found in report.expectations:
        if found.fails:
            _show_failure(console, found)
    if report.requests and any(e.fails and e.outcome.problem for e in report.expectations):
        console.print("one value that GX cannot compare takes its verdict on all rows; "
                      "--outcome ok leaves out the requests that were refused")  # fmt: skip
    verdict = "every expectation holds" if report.success else "NOT every expectation holds"
    console.print(verdict, style="bold green" if report.success else "bold red")


def _add_row(table: Table, found: CheckedExpectation) -> None:
    outcome = found.outcome
    columns = columns_of(dict(outcome.kwargs))
    seen = f"{found.unexpected_rows:,}" if outcome.observed is None else _shown(outcome.observed)
    if outcome.problem and not found.unexpected_rows:
        seen = "no verdict"
    table.add_row(
        rule_name(outcome.kind, ()).removeprefix("table:"), ",".join(columns), found.level.value,
        seen, "yes" if outcome.success else "NO" if found.decides else "few rows",
        style="bold red" if found.fails else None,
    )  # fmt: skip


def _shown(observed: Json) -> str:
    """Return what was observed, short: of quantiles their values."""
    if isinstance(observed, dict) and "values" in observed:
        return " ".join(f"{v:.6g}" if isinstance(v, float) else f"{v}" for v in observed["values"])
    return f"{observed:.6g}" if isinstance(observed, float) else f"{observed}"


def _show_failure(console: Console, found: CheckedExpectation) -> None:
    outcome = found.outcome
    lines = [f"{outcome.kind} {orjson.dumps(dict(outcome.kwargs)).decode():.200}"]
    if outcome.problem:
        lines.append(f"  GX gave no verdict: {outcome.problem}")
    lines += [f"  request {u.request_id} row {u.row}: {u.value!r:.80}" for u in found.first]
    if found.unexpected_rows > len(found.first):
        lines.append(f"  and {found.unexpected_rows - len(found.first)} more rows")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
