"""Late rates by route, carrier and hour of the day, fitted on the training months."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

PRIOR_FLIGHTS: Final = 50
"""A group of n flights keeps n / (n + 50) of its own rate; the rest is the overall rate."""

Rates: TypeAlias = Mapping[str, Any]  # Any: as `fit_rates` returns it

_Group = TypeVar("_Group", str, int)


def route_key(origin: str, dest: str) -> str:
    """Return the name of a route in the fitted state."""
    return f"{origin}-{dest}"


def fit_rates(
    carriers: Sequence[str], routes: Sequence[str], hours: Sequence[int], late: Sequence[bool]
) -> dict[str, Any]:  # Any: numbers, dicts and lists of them
    """Return smoothed shares of late flights.

    Args:
        carriers: N airline codes.
        routes: N names as `route_key` makes them.
        hours: N local hours of the scheduled departure, 0 to 23.
        late: N labels.

    Returns:
        ``overall`` (a number), ``carrier`` and ``route`` (rate by name), ``hour`` (24 rates; an
        hour without flights has the overall one).
    """
    overall = sum(map(bool, late)) / len(late)
    by_hour = _rates(hours, late, overall)
    return {
        "overall": overall,
        "carrier": _rates(carriers, late, overall),
        "route": _rates(routes, late, overall),
        "hour": [by_hour.get(h, overall) for h in range(24)],
    }


def carrier_rates(rates: Rates, carriers: Sequence[str]) -> tuple[list[float], list[int]]:
    """Return each carrier's rate, the overall one for a new carrier, and the rows of those."""
    found = [rates["carrier"].get(c) for c in carriers]
    unseen = _gaps(found)
    for row in unseen:
        found[row] = rates["overall"]
    return found, unseen


def route_rates(
    rates: Rates, origins: Sequence[str], dests: Sequence[str], carriers: Sequence[str]
) -> tuple[list[float], list[int]]:
    """Return each route's rate, its carrier's for a new route, and the rows of those."""
    known = rates["route"]
    found = [known.get(route_key(o, d)) for o, d in zip(origins, dests, strict=True)]
    unseen = _gaps(found)
    for row in unseen:
        found[row] = rates["carrier"].get(carriers[row], rates["overall"])
    return found, unseen


def _gaps(found: Sequence[float | None]) -> list[int]:
    return [row for row, rate in enumerate(found) if rate is None] if None in found else []


def _rates(groups: Sequence[_Group], late: Sequence[bool], overall: float) -> dict[_Group, float]:
    flights: defaultdict[_Group, int] = defaultdict(int)
    were_late: defaultdict[_Group, int] = defaultdict(int)
    for group, is_late in zip(groups, late, strict=True):
        flights[group] += 1
        were_late[group] += bool(is_late)
    return {
        g: (were_late[g] + PRIOR_FLIGHTS * overall) / (n + PRIOR_FLIGHTS)
        for g, n in sorted(flights.items())
    }
