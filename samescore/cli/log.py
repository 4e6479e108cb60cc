"""`samescore log verify|stats|cat`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table

from consistency.log import LoggedRequest, RequestLogReader
from consistency.log.reader import LogVerdict, verify_log
from consistency.scored import Outcome
from samescore.cli.options import FOLDER, EnumValue, json_option, print_json
from samescore.log_stats import ModelStats, collect


@click.group("log")
def command() -> None:
    """Verify, count and print a request log."""


@command.command("verify")
@click.argument("log", type=FOLDER)
@json_option
def verify(log: Path, as_json: bool) -> None:
    """Check every line's CRC and every request id of the log folder LOG.

    \b
    Example:
      samescore log verify requests

    Exit code 0: intact (torn tails of a crash are reported, they were never answered); 1: lines are
    damaged or requests are there twice.
    """
    verdict = verify_log(log)
    if as_json:
        print_json({"intact": verdict.intact, **asdict(verdict)})
    else:
        _show_verdict(verdict)
    sys.exit(0 if verdict.intact else 1)


def _show_verdict(verdict: LogVerdict) -> None:
    click.echo(
        f"{verdict.requests} requests, {verdict.rows} rows in {verdict.segments_sealed} sealed and "
        f"{verdict.segments_open} open segments"
    )
    for damage in verdict.damage:
        click.echo(
            f"damaged: {damage.segment} line {damage.line}: {damage.problem} "
            f"({damage.size_bytes} bytes)"
        )
    for request_id in verdict.repeated[:10]:
        click.echo(f"there twice: request {request_id}")
    click.echo("intact" if verdict.intact else "NOT intact; restore the segment from a copy")


@command.command("stats")
@click.argument("log", type=FOLDER)
@json_option
def stats(log: Path, as_json: bool) -> None:
    """Show outcomes, latency by stage and scores of each model in LOG.

    \b
    Example:
      samescore log stats requests
    """
    found = collect(_requests(log))
    if as_json:
        print_json({name: s.to_json() for name, s in sorted(found.items())})
        return
    console = Console()
    if not found:
        console.print("the log holds no request")
    for name, model in sorted(found.items()):
        console.print(_table(name, model))


def _table(name: str, model: ModelStats) -> Table:
    figures = model.to_json()
    outcomes = ", ".join(f"{n} {o}" for o, n in sorted(model.outcomes.items()))
    table = Table(title=f"{name}: {model.requests:,} requests, {model.rows:,} rows ({outcomes})")
    for column in ("stage", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, times in figures["latency_ms"].items():
        table.add_row(stage, *(f"{v:.3f}" for v in times.values()))
    scores = ", ".join(f"{k} {v:.4g}" for k, v in figures["scores"].items())
    table.caption = f"scores: {scores or 'none'}"
    return table


@command.command("cat")
@click.argument("log", type=FOLDER)
@click.option("--request-id", "request_ids", multiple=True, help="Only this request; repeat.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model; repeat.")
@click.option("--outcome", "outcomes", type=EnumValue(Outcome), multiple=True,
              help="Only this outcome; repeat.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="At most so many requests.")
def cat(
    log: Path,
    request_ids: tuple[str, ...],
    models: tuple[str, ...],
    outcomes: tuple[Outcome, ...],
    limit: int | None,
) -> None:
    """Print the requests in LOG as JSON lines, payload included.

    \b
    Example:
      samescore log cat requests --outcome data_error --limit 10

    Exit code 1 when a --request-id is not in the log.
    """
    printed = 0
    for request in _requests(log):
        if request_ids and request.request_id not in request_ids:
            continue
        if models and request.model[0] not in models:
            continue
        if outcomes and request.outcome not in outcomes:
            continue
        click.echo(orjson.dumps(dict(request.fields)).decode())
        printed += 1
        if printed == limit:
            break
    if request_ids and printed < len(set(request_ids)):
        click.echo(f"{printed} of {len(set(request_ids))} requests found in {log}", err=True)
        sys.exit(1)


def _requests(log: Path) -> Iterator[LoggedRequest]:
    """Yield the readable requests, and say on standard error what could not be read."""
    for item in RequestLogReader(log):
        if isinstance(item, LoggedRequest):
            yield item
        else:
            click.echo(f"damaged: {item.segment} line {item.line}: {item.problem}", err=True)
