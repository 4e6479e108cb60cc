"""`samescore log verify|stats|cat`; the other commands of the group have files of their own."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table

from consistency.log.reader import LogVerdict, verify_log
from consistency.log.selection import LogSelection
from samescore.alert_links import AlertQuery
from samescore.cli.alert_options import alert_options
from samescore.cli.log.compact import command as compact
from samescore.cli.log.export import command as export
from samescore.cli.log.prune import command as prune
from samescore.cli.log.selection import requests_of, selection_options
from samescore.cli.log.tail import command as tail
from samescore.cli.options import FOLDER, json_option, print_json
from samescore.log_stats import ModelStats, collect
from samescore.progress import progress


@click.group("log")
def command() -> None:
    """Verify, count, print, compact and export a request log."""


for _command in (compact, export, prune, tail):
    command.add_command(_command)


@command.command("verify")
@click.argument("log", type=FOLDER)
@json_option
def verify(log: Path, as_json: bool) -> None:
    """Check every line's CRC and every request id of the log folder LOG.

    \b
    Example:
      samescore log verify requests

    Exit code 0: intact (torn tails of a crash are reported, they were never answered); 1: lines are
    damaged or requests are there twice, or LOG holds no segment.
    """
    with progress("reading requests", None) as step:
        verdict = verify_log(log, step)
    segments = verdict.segments_open + verdict.segments_sealed + verdict.segments_compacted
    intact = verdict.intact and segments > 0
    if not segments:
        click.echo(f"{log} holds no segment of a log: nothing was verified; name the folder of "
                   f"samescore serve --log", err=True)  # fmt: skip
    if as_json:
        print_json({"intact": intact, **asdict(verdict)})
    elif segments:
        _show_verdict(verdict)
    sys.exit(0 if intact else 1)


def _show_verdict(verdict: LogVerdict) -> None:
    click.echo(
        f"{verdict.requests} requests, {verdict.rows} rows in {verdict.segments_sealed} sealed, "
        f"{verdict.segments_compacted} compacted and {verdict.segments_open} open segments"
    )
    for damage in verdict.damage:
        click.echo(
            f"damaged: {damage.segment} line {damage.line}: {damage.problem} "
            f"({damage.size_bytes} bytes)"
        )
    if verdict.damaged > len(verdict.damage):
        click.echo(f"... and {verdict.damaged - len(verdict.damage)} more damaged places")
    for request_id in verdict.repeated[:10]:
        click.echo(f"there twice: request {request_id}")
    click.echo("intact" if verdict.intact else "NOT intact; restore the segment from a copy")


@command.command("stats")
@click.argument("log", type=FOLDER)
@selection_options
@json_option
def stats(log: Path, selection: LogSelection, as_json: bool) -> None:
    """Show outcomes, latency by stage and scores of each model in LOG.

    \b
    Example:
      samescore log stats requests
    """
    found = collect(requests_of(log, selection))
    if as_json:
        print_json({name: s.to_json() for name, s in sorted(found.items())})
        return
    console = Console()
    if not found:
        console.print("the log holds no request")
    for name, model in sorted(found.items()):
        outcomes = ", ".join(f"{n:,} {o}" for o, n in sorted(model.outcomes.items()))
        console.print(f"{name}: {model.requests:,} requests, {model.rows:,} rows ({outcomes})")
        scores = ", ".join(f"{k} {v:.4g}" for k, v in model.to_json()["scores"].items())
        console.print(f"scores: {scores or 'none'}")
        console.print(_table(model))


def _table(model: ModelStats) -> Table:
    table = Table()
    for column in ("stage", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, times in model.to_json()["latency_ms"].items():
        table.add_row(stage, *(f"{v:.3f}" for v in times.values()))
    return table


@command.command("cat")
@click.argument("log", type=FOLDER)
@selection_options
@click.option("--limit", type=click.IntRange(1), help="At most so many requests.")
@alert_options
def cat(
    log: Path,
    selection: LogSelection,
    limit: int | None,
    alert: AlertQuery | None,
    at_us: int | None,
) -> None:
    """Print the requests in LOG as JSON lines, payload included.

    \b
    Example:
      samescore log cat requests --outcome data_error --limit 10
      samescore log cat requests --alert SamescoreHighLatency --model m47 \\
        --at 2026-01-31T12:00Z

    Exit code 1 when a --request-id is not in the log, or no request is behind the --alert.
    """
    if alert is not None:
        now_us = time.time_ns() // 1000
        _cat_behind(log, alert, alert.within(selection, now_us if at_us is None else at_us), limit)
        return
    found: set[str] = set()
    for request in islice(requests_of(log, selection), limit):
        click.echo(orjson.dumps(dict(request.fields)).decode())
        if selection.request_ids:
            found.add(request.request_id)
    wanted = len(selection.request_ids)
    if len(found) < wanted:
        click.echo(f"{len(found)} of {wanted} requests found in {log}", err=True)
        sys.exit(1)


def _cat_behind(log: Path, alert: AlertQuery, selection: LogSelection, limit: int | None) -> None:
    printed = 0
    for request, rows in islice(alert.find(requests_of(log, selection)), limit):
        click.echo(orjson.dumps({**request.fields, "alert_rows": rows}).decode())
        printed += 1
    if not printed:
        span = " to ".join(_told(us) for us in (selection.since_us, selection.until_us))
        click.echo(
            f"{log} holds no request that is behind {alert.alert} from {span}; --at says when it "
            f"fired, --lookback how long before that to look",
            err=True,
        )
        sys.exit(1)


def _told(time_us: int | None) -> str:
    assert time_us is not None  # an alert's selection has both ends
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
