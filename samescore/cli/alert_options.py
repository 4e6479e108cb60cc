"""The options of `samescore log cat` that lead from an alert to its requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from consistency.errors import ConfigError
from samescore.alert_links import AlertQuery, alert_query
from samescore.cli.log.selection import Time
from samescore.cli.options import FOLDER

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command

_LENGTH: Final = re.compile(r"([1-9][0-9]{0,8})(s|m|h|d)")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Length(click.ParamType[int]):
    """A length of time, as seconds."""

    name = "length"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read `90s`, `15m`, `2h` or `3d`."""
        if isinstance(value, int):
            return value
        found = _LENGTH.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r}: write 90s, 15m, 2h or 3d", param, ctx)
        return int(found[1]) * _UNIT_SECONDS[found[2]]


_OPTIONS: Final = (
    click.option("--alert", metavar="NAME",
                 help="Only the requests behind this alert; alert_rows in each line says which "
                 "of its rows."),
    click.option("--at", "at_us", type=Time(), metavar="TIME",
                 help="When the alert fired (startsAt in its notification).  [default: now]"),
    click.option("--lookback", type=Length(), metavar="LENGTH",
                 help="How long before that: 15m, 2h.  [default: the alert's windows]"),
    click.option("--slower-than", type=float, metavar="SECONDS",
                 help="The alert's latency bound, if the rules were not built with the default."),
    click.option("--feature", metavar="NAME",
                 help="The alert's label feature, or rule.  [default: any]"),
    click.option("--bundle", type=FOLDER,
                 help="The bundle that served: with its reference a category is unseen as the "
                 "server's monitor says, not only where the pipeline said so."),
)  # fmt: skip


def alert_options(function: F) -> F:
    """Add the options; the command gets what they say as `alert` (or None) and `at_us`."""

    @wraps(function)
    def command(**given: Any) -> Any:  # noqa: ANN401 - click's own signature
        name = given.pop("alert")
        asked = {n: given.pop(n) for n in ("lookback", "slower_than", "feature", "bundle")}
        return function(**given, alert=_query(name, asked, given["at_us"]))

    for option in reversed(_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value] # the same command, less four parameters


def _query(name: str | None, asked: dict[str, Any], at_us: int | None) -> AlertQuery | None:
    if name is not None:
        bundle: Path | None = asked["bundle"]
        return alert_query(
            name,
            lookback_seconds=asked["lookback"],
            slower_than_seconds=asked["slower_than"],
            feature=asked["feature"],
            bundle=bundle,
        )
    for option, value in {"at": at_us, **asked}.items():
        if value is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')} says more of an alert; give --alert NAME with it"
            )
    return None
