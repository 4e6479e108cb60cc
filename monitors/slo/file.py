"""Reads an SLO file: TOML, and every mistake in it is told with its field, value and remedy.

```toml
window = "30d"

[models.flights]
availability = { objective = 0.999 }
latency = { objective = 0.99, latency_seconds = 0.2 }
```
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Final

from consistency.bundle.manifest import check_model_name
from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.slo.settings import (
    LONGEST_SECONDS,
    REFERENCE_WINDOW_SECONDS,
    Indicator,
    Objective,
    SloSettings,
)

_TOP: Final = ("window", "scrape_interval", "min_events", "min_bad_events", "models")
_FIELDS: Final[Mapping[Indicator, tuple[str, ...]]] = {
    Indicator.AVAILABILITY: ("objective", "page"),
    Indicator.LATENCY: ("objective", "page", "latency_seconds"),
    Indicator.DATA_QUALITY: ("objective", "page"),
    Indicator.PARITY: ("objective", "page", "period"),
}
_PAGE: Final[Mapping[Indicator, bool]] = {
    Indicator.AVAILABILITY: True,
    Indicator.LATENCY: True,
    # Callers break their own data: nobody on call can mend that at night.
    Indicator.DATA_QUALITY: False,
    Indicator.PARITY: True,
}
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TIME: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")


def parse_slo(text: str, source: str) -> SloSettings:
    """Read an SLO file's text.

    Args:
        text: TOML.
        source: the file's name, for messages.

    Raises:
        ConfigError: the file is not usable; the message names source, field, value and remedy.
    """
    try:
        return _settings(tomllib.loads(text))
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{source} is no TOML: {e}") from e
    except ConfigError as e:
        raise ConfigError(f"{source}: {e}") from e


def _settings(table: Mapping[str, Json]) -> SloSettings:
    _refuse_unknown("", table, _TOP)
    window = _seconds("window", table.get("window", f"{REFERENCE_WINDOW_SECONDS}s"))
    models = _table("models", table.get("models", {}))
    objectives = [
        one
        for name, promised in models.items()
        for one in _objectives(name, _table(f"models.{name}", promised), window)
    ]
    numbers = {
        name: _integer(name, table[name])
        for name in ("min_events", "min_bad_events")
        if name in table
    }
    if "scrape_interval" in table:
        numbers["scrape_interval_seconds"] = _seconds("scrape_interval", table["scrape_interval"])
    return SloSettings(tuple(objectives), **numbers)


def _objectives(model: str, promised: Mapping[str, Json], window: int) -> Iterable[Objective]:
    at = f"models.{model}"
    check_model_name(model)
    _refuse_unknown(at, promised, ("window", *Indicator))
    if "window" in promised:
        window = _seconds(f"{at}.window", promised["window"])
    for name, value in promised.items():
        if name != "window":
            yield _objective(model, Indicator(name), _table(f"{at}.{name}", value), window)


def _objective(
    model: str, indicator: Indicator, fields: Mapping[str, Json], window: int
) -> Objective:
    at = f"models.{model}.{indicator}"
    _refuse_unknown(at, fields, _FIELDS[indicator])
    for needed in _FIELDS[indicator]:
        if needed not in fields and needed != "page":
            raise ConfigError(f"{at} lacks {needed}; it has {', '.join(_FIELDS[indicator])}")
    page = fields.get("page", _PAGE[indicator])
    if not isinstance(page, bool):
        raise ConfigError(f"{at}.page is {page!r}; write true or false")
    latency, period = fields.get("latency_seconds"), fields.get("period")
    return Objective(
        model,
        indicator,
        _number(f"{at}.objective", fields["objective"]),
        window,
        None if latency is None else _number(f"{at}.latency_seconds", latency),
        None if period is None else _seconds(f"{at}.period", period),
        page,
    )


def _refuse_unknown(at: str, table: Mapping[str, Json], known: Iterable[str]) -> None:
    names = list(known)
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
            raise ConfigError(f"{f'{at}.' if at else ''}{name} is no setting; {meant}")


def _table(at: str, value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise ConfigError(f"{at} is {value!r}; it must be a table")
    return value


def _number(at: str, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{at} is {value!r}; give a number")
    return float(value)


def _integer(at: str, value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{at} is {value!r}; give a whole number")
    return value


def _seconds(at: str, value: Json) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ConfigError(
            f"{at} is {value!r}; give a number and one of s, m, h, d, w in quotation marks, for "
            f'example "30d", of at most 366 days'
        )
    return seconds
