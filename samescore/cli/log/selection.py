"""Choosing requests of a log, in the same words for every command that reads one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from consistency.log import LoggedRequest, RequestLogReader
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.protocols import Damage
from consistency.scored import Outcome
from samescore.cli.options import EnumValue
from samescore.points_in_time import microseconds_of

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class Time(click.ParamType[int]):
    """A point in time, as microseconds since the epoch: ISO 8601, UTC unless said, or an age."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read `2026-01-31T12:00:00Z`, `2026-01-31` or `2h` (ago)."""
        if isinstance(value, int):
            return value
        try:
            return microseconds_of(str(value))
        except ValueError as e:
            self.fail(str(e), param, ctx)


_OPTIONS: Final = (
    click.option("--since", type=Time(), metavar="TIME",
                 help="Only what was received at or after: 2026-01-31T12:00Z, or 2h (ago)."),
    click.option("--until", type=Time(), metavar="TIME", help="Only what was received before."),
    click.option("--model", "models", multiple=True, metavar="NAME",
                 help="Only this model; repeat."),
    click.option("--version", "versions", multiple=True, type=int, metavar="N",
                 help="Only this version; repeat."),
    click.option("--outcome", "outcomes", type=EnumValue(Outcome), multiple=True,
                 help="Only this outcome; repeat."),
    click.option("--key", "keys", multiple=True, help="Only this value of the log key; repeat."),
    click.option("--request-id", "request_ids", multiple=True, help="Only this request; repeat."),
)  # fmt: skip


def selection_options(function: F) -> F:
    """Add the options; the command gets what they say as `selection`."""

    @wraps(function)
    def command(**given: Any) -> Any:  # noqa: ANN401 - click's own signature
        since, until = given.pop("since"), given.pop("until")
        sets: dict[str, Any] = {name: frozenset(given.pop(name)) for name in _SETS}
        selection = LogSelection(since_us=since, until_us=until, **sets)
        return function(**given, selection=selection)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value] # the same command, less six parameters


_SETS: Final = ("models", "versions", "outcomes", "keys", "request_ids")


def requests_of(log: Path, selection: LogSelection = EVERYTHING) -> Iterator[LoggedRequest]:
    """Yield the readable requests, and say on standard error what could not be read."""
    for item in RequestLogReader(log, selection):
        if isinstance(item, LoggedRequest):
            yield item
        else:
            say_damage(item)


def say_damage(damage: Damage) -> None:
    """Say on standard error what could not be read."""
    click.echo(f"damaged: {damage.segment} line {damage.line}: {damage.problem}", err=True)
