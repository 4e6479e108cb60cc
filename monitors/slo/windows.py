"""The windows and factors of multi-window, multi-burn-rate alerts.

A burn rate of 1 spends the error budget exactly in the objective's window. An alert fires when the
budget burned faster than its factor over a long window, so that it matters, *and* over a short one,
so that it is still happening: the short window lets it resolve soon. Source: *The Site Reliability
Workbook*, chapter 5 (Google, 2018), whose table for 30 days is kept in proportion for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from monitors.slo.settings import REFERENCE_WINDOW_SECONDS, SHORTEST_SECONDS, Objective

_TABLE: Final = (
    (3_600, 300, 14.4, 120, True),
    (21_600, 1_800, 6.0, 900, True),
    (86_400, 7_200, 3.0, 3_600, False),
    (259_200, 21_600, 1.0, 10_800, False),
)
"""Long and short window, factor, `for`, and whether it is worth a page; seconds."""

_LONGEST_EVALUATION_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Burn:
    """One line of the table, in proportion.

    Attributes:
        long_seconds: the window that shows that it matters.
        short_seconds: the one that shows that it goes on.
        factor: the burn rate, in budgets a window.
        for_seconds: how long both must hold.
        is_fast: worth a page.
    """

    long_seconds: int
    short_seconds: int
    factor: float
    for_seconds: int
    is_fast: bool


def burns(one: Objective) -> tuple[Burn, ...]:
    """Return the burns that an objective can show, the fastest first.

    With a large budget a fast burn cannot be: 14.4 times 10% is more than all events. Such a line
    is left out; 6 times 10% pages all the same.

    >>> from monitors.slo.settings import Indicator
    >>> [b.factor for b in burns(Objective("m", Indicator.AVAILABILITY, 0.9))]
    [6.0, 3.0, 1.0]
    """
    return tuple(
        b for b in _in_proportion(one.window_seconds) if b.factor * (1 - one.objective) < 1
    )


def _in_proportion(window_seconds: int) -> Iterator[Burn]:
    for long, short, factor, wait, is_fast in _TABLE:
        times = [_scaled(seconds, window_seconds) for seconds in (long, short, wait)]
        yield Burn(times[0], times[1], factor, times[2], is_fast)


def base_seconds(one: Objective) -> int:
    """Return the window over which the rates of events are recorded: the shortest."""
    return _scaled(SHORTEST_SECONDS, one.window_seconds)


def evaluation_seconds(one: Objective) -> int:
    """Return how often the rules are evaluated: five times in the shortest window, or each minute.

    It is written into the rule file, since longer windows add up what was recorded: rate times this
    interval is a number of events.
    """
    return max(1, min(_LONGEST_EVALUATION_SECONDS, base_seconds(one) // 5))


def _scaled(seconds: int, window_seconds: int) -> int:
    return max(1, round(seconds * window_seconds / REFERENCE_WINDOW_SECONDS))
