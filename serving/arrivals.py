"""Asks, ten times a second, how long a request that arrives now would wait.

A worker scores on its event loop: while it is at one request, those that have arrived lie in their
sockets, and their latency begins only when they are taken up. So an overloaded server can be slow
for all its callers while every request of it looks fast. Here a timer stands for the request that
nobody has taken up: how late it rings is how long such a request waited. A stall swallows the
timer's later rings; each of them is told too, with what was left of the stall, since requests kept
on arriving (Gil Tene's *coordinated omission*; gauges of event-loop lag as client libraries have
them tell of one late ring).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

PERIOD_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 60.0
"""A longer stall, such as that of a process that was stopped, is told as this long."""


async def watch_arrivals(
    waited: Callable[[float], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tell what arrivals wait, until it is cancelled.

    Args:
        waited: called with the seconds of each.
        clock: seconds, monotonic.
        sleep: returns after so many of them, or later.
    """
    due = clock() + PERIOD_SECONDS
    while True:
        await sleep(max(due - clock(), 0.0))
        now = clock()
        for wait in waits(now - due):
            waited(wait)
        if now >= due:
            due = now + PERIOD_SECONDS - (now - due) % PERIOD_SECONDS


def waits(late_seconds: float) -> Iterator[float]:
    """Yield what each arrival of a stall waited: one a period, the first of them all of it.

    >>> [round(wait, 2) for wait in waits(0.25)]
    [0.25, 0.15, 0.05]
    >>> list(waits(-0.001))
    []

    Args:
        late_seconds: how late the timer rang; below 0 when it rang too early.
    """
    left = min(late_seconds, _LONGEST_SECONDS)
    while left >= 0:
        yield left
        left -= PERIOD_SECONDS
