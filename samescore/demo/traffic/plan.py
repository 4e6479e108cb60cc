"""Plans the requests of the demo: real flights in time order, singly and in batches, some spoilt.

Pure: the same plan for the same seed, whatever the machine. Every model is sent the same bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Final

import orjson

from consistency.records import Record

LARGEST_BATCH: Final = 64
SINGLE_SHARE: Final = 0.5
"""Of the mixed requests, those that hold one record."""

_SMALLEST_PART: Final = 10
_PUBLISHED_FLIGHTS: Final = 10


class Phase(StrEnum):
    """Why a request is sent.

    publish: a few flights again and again, while a new weather snapshot is published. mixed: single
    records and batches over several connections. single: one record at a time over one connection,
    for its latency.
    """

    PUBLISH = "publish"
    MIXED = "mixed"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Planned:
    """One request.

    Attributes:
        phase: why it is sent.
        flights: which flights it holds, as indices, ascending.
        flaw: how it is spoilt, one of `FLAWS`; empty for a good one.
    """

    phase: Phase
    flights: tuple[int, ...]
    flaw: str = ""


def plan_requests(months: Sequence[int], requests: int, seed: int) -> list[Planned]:
    """Plan what one model is sent.

    Args:
        months: the month of each flight there is, in time order.
        requests: how many requests, at least 50.
        seed: of the batch sizes.

    Returns:
        Exactly so many requests, phase after phase, each phase but the first in time order over all
        months. A batch holds flights of one month.
    """
    single = max(_SMALLEST_PART, requests // 5)
    publish = max(_SMALLEST_PART, requests // 50)
    mixed = requests - single - publish
    first = range(min(_PUBLISHED_FLIGHTS, len(months)))
    return [
        *(Planned(Phase.PUBLISH, (first[i % len(first)],)) for i in range(publish)),
        *_spoilt(_mixed(months, mixed, seed)),
        *(Planned(Phase.SINGLE, (i,)) for i in evenly(len(months), single)),
    ]


def evenly(available: int, wanted: int) -> list[int]:
    """Return `wanted` indices below `available`, evenly spaced, ascending.

    >>> evenly(10, 4)
    [0, 2, 5, 7]
    """
    return [i * available // wanted for i in range(wanted)]


def _mixed(months: Sequence[int], requests: int, seed: int) -> list[Planned]:
    random = Random(seed)  # noqa: S311 - batch sizes, not secrets
    sizes = [
        1 if random.random() < SINGLE_SHARE else random.randint(2, LARGEST_BATCH)
        for _ in range(requests)
    ]
    chosen = evenly(len(months), sum(sizes))
    planned, at = [], 0
    for size in sizes:
        rows = chosen[at : at + size]
        # Cut at the end of a month, so that a request's event time says the month of all its rows.
        rows = [i for i in rows if months[i] == months[rows[0]]]
        planned.append(Planned(Phase.MIXED, tuple(rows)))
        at += len(rows)
    return planned


def _spoilt(planned: Sequence[Planned]) -> list[Planned]:
    """Spoil one request for each flaw, evenly spread."""
    out = list(planned)
    for at, flaw in zip(evenly(len(out), len(FLAWS)), FLAWS, strict=True):
        out[at] = Planned(out[at].phase, out[at].flights, flaw)
    return out


def body_of(planned: Planned, records: Sequence[Record]) -> bytes:
    """Return a request's body.

    Args:
        planned: the request.
        records: all flights.
    """
    chosen = [dict(records[i]) for i in planned.flights]
    event_time = chosen[0]["scheduled_departure"]
    if planned.flaw in _SPOIL:
        chosen[-1] = _SPOIL[planned.flaw](chosen[-1])
    insts = [] if planned.flaw == "empty batch" else chosen
    body = {"type": "record", "event_time": event_time, "data": {"insts": insts}}
    text = orjson.dumps(body)
    return text[: len(text) // 2] if planned.flaw == "cut JSON" else text


_Spoil = Callable[[dict[str, Any]], dict[str, Any]]  # Any: JSON

_SPOIL: Final[Mapping[str, _Spoil]] = {
    "missing field": lambda r: {k: v for k, v in r.items() if k != "distance"},
    "extra field": lambda r: {**r, "dep_delay": 12},
    "text for a number": lambda r: {**r, "flight": str(r["flight"])},
    "null carrier": lambda r: {**r, "carrier": None},
    "25 o'clock": lambda r: {**r, "scheduled_arrival": 2567},
    "no distance": lambda r: {**r, "distance": 0.0},
}

FLAWS: Final = (*_SPOIL, "empty batch", "cut JSON")
"""The ways in which requests are spoilt; each must be refused with a message, and logged."""
