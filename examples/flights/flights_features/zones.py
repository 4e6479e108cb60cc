"""Freezes the airports' time zones at fit time; serving never reads a time zone database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from flights_features.clock import FIRST_DAY, LAST_DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


def freeze_zones(airports: Mapping[str, str]) -> dict[str, Any]:  # Any: JSON
    """Return each zone's UTC offsets between `FIRST_DAY` and `LAST_DAY`.

    Args:
        airports: airport code to IANA zone name.

    Returns:
        ``{"airports": {code: zone}, "clocks": {zone: {"changes": [...], "offsets": [...]}}}``:
        `changes` are minutes since the epoch (UTC), ascending; ``offsets[i]`` holds, in minutes,
        before ``changes[i]``, and is None outside the horizon (so there is one more of them).
    """
    zones = sorted(set(airports.values()))
    return {
        "airports": dict(airports),
        "clocks": {name: _freeze(ZoneInfo(name)) for name in zones},
    }


def _freeze(zone: ZoneInfo) -> dict[str, list[int] | list[int | None]]:
    first, last = (datetime.fromisoformat(d).replace(tzinfo=UTC) for d in (FIRST_DAY, LAST_DAY))
    # Local days must lie in the calendar table too, so the horizon is a day shorter at both ends.
    days = [first + timedelta(days=d) for d in range(1, (last - first).days)]
    changes = [_minute(days[0])]
    offsets: list[int | None] = [None, _offset(zone, days[0])]
    for before, after in pairwise(days):
        if _offset(zone, before) != _offset(zone, after):
            moment = _change(zone, before, after)
            changes.append(_minute(moment))
            offsets.append(_offset(zone, moment))
    return {"changes": [*changes, _minute(days[-1])], "offsets": [*offsets, None]}


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first minute of the new offset, by bisection."""
    while after - before > _MINUTE:
        middle = before + (after - before) // (2 * _MINUTE) * _MINUTE
        if _offset(zone, middle) == _offset(zone, before):
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset // _MINUTE


def _minute(moment: datetime) -> int:
    return (moment - _EPOCH) // _MINUTE
