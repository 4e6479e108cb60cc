"""Finds small shifts that stay: a cumulative sum of deviations with a known run length.

E. S. Page, *Continuous inspection schemes*, Biometrika 41 (1954): what a day alone cannot show adds
up over days. The expected number of windows until a false alarm (the *run length without drift*)
is computed, not looked up, as D. Brook and D. A. Evans do (Biometrika 59, 1972): the sum moves on a
grid as a Markov chain, and its mean time to the limit solves a linear system.

Three things that days do would make that figure a lie, and are dealt with: neighbouring days
resemble each other (their memory is taken out), single days go wild (a day counts for `CLIP`
deviations at most, so no single one is an alarm here), and the baseline is itself an estimate (its
standard error widens the slack).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

SLACK: Final = 0.5
"""Deviations a day that do not add up: the detector is best for shifts of twice that."""

CLIP: Final = 3.0
_STATES: Final = 120
_HIGHEST: Final = 40.0


@dataclass(frozen=True, slots=True)
class SequentialState:
    """Where the two sums are after a window.

    Attributes:
        up: of shifts upwards, in deviations; down: of shifts downwards. Both 0 or more.
        alarm: whether one has passed the limit in this window; they begin anew after it.
        since: windows since the sum that is larger left 0, this one included: how long the shift
            has probably been there.
    """

    up: float
    down: float
    alarm: bool
    since: int


@dataclass(frozen=True, slots=True)
class SequentialDetector:
    """A two-sided cumulative sum.

    Attributes:
        memory: correlation of neighbouring deviations without drift, 0 to below 1.
        slack: deviations a window that do not add up.
        limit: of the sums, in deviations.
    """

    memory: float
    slack: float
    limit: float

    @classmethod
    def tuned(cls, run_length: float, blocks: int, memory: float) -> Self:
        """Return the detector with an expected run length without drift.

        Args:
            run_length: windows until a false alarm, on average, both sides together.
            blocks: that the baseline was learned from.
            memory: see the attribute.
        """
        slack = SLACK + 1 / math.sqrt(blocks)
        # Two sums that each raise an alarm every 2 L windows raise one every L.
        return cls(memory, slack, sum_limit(2 * run_length, SLACK))

    def follow(self, deviations: Iterable[float | None]) -> Iterator[SequentialState]:
        """Yield the state after each window.

        Args:
            deviations: of consecutive windows, in standard deviations; None for a window that has
                none (too few rows): the sums wait.
        """
        before, up, down, since = 0.0, 0.0, 0.0, 0
        for deviation in deviations:
            if deviation is None:
                before = 0.0
                yield SequentialState(up, down, False, since)
                continue
            news = self._news(deviation, before)
            before = deviation
            up, down = max(0.0, up + news - self.slack), max(0.0, down - news - self.slack)
            since = since + 1 if up or down else 0
            alarm = max(up, down) > self.limit
            yield SequentialState(up, down, alarm, since)
            if alarm:
                up, down, since = 0.0, 0.0, 0

    def _news(self, deviation: float, before: float) -> float:
        """Return what a window says that the one before did not, clipped."""
        scale = math.sqrt(1 - self.memory**2)
        return min(max((deviation - self.memory * before) / scale, -CLIP), CLIP)


@lru_cache(maxsize=256)
def sum_limit(run_length: float, slack: float) -> float:
    """Return the limit at which a one-sided sum has this expected run length without drift.

    >>> round(run_length_of(sum_limit(930.0, 0.5), 0.5), -1)
    930.0
    """
    low, high = 0.0, _HIGHEST
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if run_length_of(middle, slack) < run_length else (low, middle)
    return high


def run_length_of(limit: float, slack: float, shift: float = 0.0) -> float:
    """Return after how many windows a one-sided sum passes its limit on average, from 0.

    Example: the textbook's chart of slack 0.5 and limit 4 has a run length of 336 without drift
    (168 with both sides) and 8.4 after a shift of one deviation (D. C. Montgomery, *Introduction
    to Statistical Quality Control*, on the tabular cusum). Clipping makes it run a little longer:

    >>> round(run_length_of(4.0, 0.5), -1), round(run_length_of(4.0, 0.5, 1.0), 1)
    (350.0, 8.5)

    Args:
        limit: of the sum, > 0, in deviations.
        slack: of each window, likewise.
        shift: of every window, in deviations.
    """
    width = 2 * limit / (2 * _STATES - 1)
    centres = np.arange(_STATES, dtype=np.float64) * width
    moves = centres[None, :] - centres[:, None]
    chances = _below(moves + width / 2 + slack, shift) - _below(moves - width / 2 + slack, shift)
    chances[:, 0] = _below(width / 2 - centres + slack, shift)
    times = np.linalg.solve(np.eye(_STATES) - chances, np.ones(_STATES))
    return float(times[0])


def _below(news: NDArray[np.floating], shift: float) -> NDArray[np.float64]:
    """Return the chance that a clipped normal deviation is below some values."""
    from scipy.special import ndtr

    below: NDArray[np.float64] = ndtr(news - shift)
    below[news > CLIP] = 1.0
    below[news <= -CLIP] = 0.0
    return below
