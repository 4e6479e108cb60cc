"""`samescore log tail`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import orjson

from consistency.log import LoggedRequest
from consistency.log.selection import LogSelection
from consistency.log.tail import LogTail, follow
from consistency.protocols import Damage
from samescore.cli.log.selection import say_damage, selection_options
from samescore.cli.options import FOLDER

_LOOK_SECONDS: Final = 0.2
_SHOWN_SCORES: Final = 4


@click.command("tail")
@click.argument("log", type=FOLDER)
@click.option("-n", "--last", "count", type=click.IntRange(0, 1_000_000), default=10,
              show_default=True, help="So many of the requests that are there.")  # fmt: skip
@click.option("-f", "--follow", "following", is_flag=True, help="Then wait for new ones; Ctrl-C.")
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Print each request as a line of JSON.")
def command(log: Path, count: int, following: bool, selection: LogSelection, as_json: bool) -> None:
    """Print the last requests of LOG, a line each, and follow new ones, from all its writers.

    \b
    Example:
      samescore log tail requests -f --outcome data_error
    """
    with suppress(KeyboardInterrupt), closing(LogTail(log, selection)) as tail:
        for item in _items(tail, count, following):
            if not isinstance(item, LoggedRequest):
                say_damage(item)
            elif as_json:
                click.echo(orjson.dumps(dict(item.fields)))
            else:
                click.echo(line_of(item))


def _items(tail: LogTail, count: int, following: bool) -> Iterator[LoggedRequest | Damage]:
    yield from tail.last(count) if count else ()
    if following:
        yield from follow(tail, lambda: time.sleep(_LOOK_SECONDS))


def line_of(request: LoggedRequest) -> str:
    """Return a request as a line for people: time (UTC), id, model, outcome, scores, duration."""
    fields = request.fields
    when = datetime.fromtimestamp(fields["ingest_time_us"] / 1e6, UTC)
    parts = [
        f"{when:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        request.request_id,
        "/".join(map(str, request.model)),
        request.outcome.value,
        f"{request.rows} row{'' if request.rows == 1 else 's'}",
        f"{fields['latency']['total_ns'] / 1e6:.2f} ms",
    ]
    scores = request.scores
    if scores is not None:
        flat = scores.ravel().tolist()
        parts.append(" ".join(f"{s:.6g}" for s in flat[:_SHOWN_SCORES]))
        parts += [f"and {len(flat) - _SHOWN_SCORES} more"] if len(flat) > _SHOWN_SCORES else []
    return "  ".join([*parts, *filter(None, [fields["message"]])])
