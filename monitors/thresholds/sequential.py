"""Finds small shifts that stay: a cumulative sum of deviations with a known run length.

E. S. Page, *Continuous inspection schemes*, Biometrika 41 (1954): what a day alone cannot show adds
up over days. The expected number of windows until a false alarm (the *run length without drift*)
is computed, not looked up, as D. Brook and D. A. Evans do (Biometrika 59, 1972): the sum moves on a
grid as a Markov chain, and its mean time to the limit solves a linear system.

Three things that days do would make that figure a lie, and are dealt with: neighbouring days
resemble each other (their memory is taken out), single days go wild (a day counts for `CLIP`
deviations at most, so no single one is an alarm here), and the baseline is itself an estimate. A
chart whose mean and spread were learned from 84 days raises several times as many false alarms as
one whose are known (L. A. Jones, C. W. Champ, S. E. Rigdon, *The run length distribution of the
CUSUM with estimated parameters*, Journal of Quality Technology 36, 2004). So the limit is that at
which the rate of false alarms is as stated on average over the errors of a baseline of that length.
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
_STATES: Final = 80
_NODES: Final = 5
_CLOSE: Final = 5e-3
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
        # Two sums that each raise an alarm every 2 L windows raise one every L.
        # The memory is an estimate as well: one standard error more, and up to the next twentieth,
        # so that a model's features share a few limits.
        at_most = memory + math.sqrt((1 - memory**2) / blocks)
        at_most = math.ceil(at_most * 20) / 20
        return cls(memory, SLACK, sum_limit(2 * run_length, SLACK, blocks, min(at_most, 0.95)))

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

    def delay(self, shift: float) -> float:
        """Return after how many windows a shift that stays is found on average, from sums of 0.

        >>> detector = SequentialDetector.tuned(5_580.0, 84, 0.0)
        >>> [round(detector.delay(shift)) for shift in (1.0, 2.0)]
        [21, 8]

        Args:
            shift: of every window, in deviations; what a memory takes for old news, no longer
                counts.
        """
        news = abs(shift) * math.sqrt((1 - self.memory) / (1 + self.memory))
        return run_length_of(self.limit, self.slack, news)

    def _news(self, deviation: float, before: float) -> float:
        """Return what a window says that the one before did not, clipped."""
        scale = math.sqrt(1 - self.memory**2)
        return min(max((deviation - self.memory * before) / scale, -CLIP), CLIP)


@lru_cache(maxsize=256)
def sum_limit(run_length: float, slack: float, blocks: int = 0, memory: float = 0.0) -> float:
    """Return the limit at which a one-sided sum has this expected run length without drift.

    >>> round(run_length_of(sum_limit(930.0, 0.5), 0.5), -1)
    930.0

    A baseline of 84 days asks for more, one whose days resemble their neighbours for more still:

    >>> [round(sum_limit(930.0, 0.5, blocks), 1) for blocks in (0, 10_000, 84)]
    [5.0, 5.0, 5.8]
    >>> round(sum_limit(930.0, 0.5, 84, memory=0.6), 1)
    6.8

    Args:
        run_length: one over the rate of false alarms, windows.
        slack: of each window, in deviations.
        blocks: that mean, spread and memory were learned from; 0 when they are known.
        memory: correlation of neighbouring blocks, 0 to below 1.
    """
    low, high = 0.0, _HIGHEST
    while high - low > _CLOSE:
        middle = (low + high) / 2
        known = not blocks
        rate = (
            1 / run_length_of(middle, slack) if known else _mean_rate(middle, slack, blocks, memory)
        )
        low, high = (middle, high) if rate > 1 / run_length else (low, middle)
    return high


def _mean_rate(limit: float, slack: float, blocks: int, memory: float) -> float:
    """Return the rate of false alarms, averaged over what a baseline of so many blocks may miss.

    Once the memory r is taken out, the error of the mean has the standard deviation 1/sqrt(D) of a
    window's, however long the memory is. What sums grow by, the long-run spread, is off by a share
    with the variance (1 + r^2)/(1 - r^2)/(2D) for the spread of a window (M. S. Bartlett, 1946) and
    (1 + r)/(1 - r)/D for the memory: that of (1 - r') / (1 - r) when r' has (1 - r^2)/D.
    """
    places, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights /= weights.sum()
    errors = places / math.sqrt(blocks)
    square = memory**2
    unsure = (1 + square) / (1 - square) / 2 + (1 + memory) / (1 - memory)
    spreads = np.exp(places * math.sqrt(unsure / blocks))
    return sum(
        float(a * b) / run_length_of(limit, slack, float(shift), float(scale))
        for shift, a in zip(errors, weights, strict=True)
        for scale, b in zip(spreads, weights, strict=True)
    )


def run_length_of(limit: float, slack: float, shift: float = 0.0, scale: float = 1.0) -> float:
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
        scale: true standard deviation of a window, in those that are taken for one.
    """
    width = 2 * limit / (2 * _STATES - 1)
    centres = np.arange(_STATES, dtype=np.float64) * width
    edges = np.append(centres - width / 2, limit)
    # From one array, so that the mass at the clip falls into one cell, whatever rounding does.
    below = _below(edges[None, :] - centres[:, None] + slack, shift, scale)
    below[:, 0] = 0.0  # the sum does not go below 0
    chances = np.diff(below, axis=1)
    # A run so long that no float tells it from for ever ends at 1e12 windows.
    times = np.linalg.solve((1 + 1e-12) * np.eye(_STATES) - chances, np.ones(_STATES))
    return float(times[0])


def _below(news: NDArray[np.floating], shift: float, scale: float) -> NDArray[np.float64]:
    """Return the chance that a clipped normal deviation is below some values."""
    from scipy.special import ndtr

    below: NDArray[np.float64] = ndtr((news - shift) / scale)
    below[news > CLIP] = 1.0
    below[news <= -CLIP] = 0.0
    return below
