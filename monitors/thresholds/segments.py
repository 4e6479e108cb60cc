"""Which segments' scores moved: each against its own windows before, the share of false ones bound.

A segment (an airline, an origin) differs from the others for good, so it is compared with itself.
How its mean score varies from window to window is known from the windows before: the window that is
judged is one more of them, and Student's t says how far off it may be,

    t = (m - mean of means) / sqrt(s^2 (1 + 1/K) + extra sampling noise),  K - 1 degrees of freedom

with s the standard deviation of the K means before; it holds sampling noise already, and more is
added where the window has fewer rows than those did. With fewer than `FEWEST_WINDOWS` of them the
days' own variation is not known: then rows are compared (B. L. Welch, Biometrika 34, 1947), which
finds too much, and is told.

With a hundred segments one in a hundred is off by chance: the list is cut by Benjamini and
Yekutieli, see `multiplicity.discoveries`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitors.thresholds.multiplicity import discoveries

FEWEST_WINDOWS: Final = 5
FEWEST_ROWS: Final = 20
"""A window with fewer rows of a segment says nothing of it."""

FALSE_SHARE: Final = 0.1
"""Of the segments in the list, expected not to have moved."""


@dataclass(frozen=True, slots=True)
class SegmentScores:
    """The scores of a segment, window by window.

    Attributes:
        name: the segment.
        rows: with a finite score, shape (W,); the last window is the one that is judged.
        sums: of the scores, shape (W,).
        squares: of the scores, summed, shape (W,).
    """

    name: str
    rows: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SegmentShift:
    """How a segment's mean score has moved.

    Attributes:
        name: the segment.
        rows: in the window.
        before: mean of the windows before; after: mean score in the window.
        spread: what a window's mean is off without drift, one standard deviation.
        chance: to be as far off without drift; 1 where nothing can be said.
        windows: before, that it was compared with; 0 when rows were compared.
        moved: whether it is in the list, of which at most `FALSE_SHARE` is expected to be false.
    """

    name: str
    rows: int
    before: float
    after: float
    spread: float
    chance: float
    windows: int
    moved: bool

    @property
    def change(self) -> float:
        """Of the mean score."""
        return self.after - self.before


def segment_shifts(segments: Sequence[SegmentScores]) -> tuple[SegmentShift, ...]:
    """Return how each segment has moved: those in the list first, then by how unlikely they are.

    Args:
        segments: those without `FEWEST_ROWS` in the window, or before it, are left out.
    """
    tested = [found for each in segments if (found := _shift(each)) is not None]
    moved = discoveries([each.chance for each in tested], FALSE_SHARE)
    told = [
        SegmentShift(
            each.name, each.rows, each.before, each.after, each.spread, each.chance, each.windows,
            is_moved,
        )
        for each, is_moved in zip(tested, moved, strict=True)
    ]  # fmt: skip
    return tuple(sorted(told, key=lambda s: (not s.moved, s.chance, s.name)))


def _shift(segment: SegmentScores) -> SegmentShift | None:
    rows = segment.rows
    usable = np.flatnonzero(rows[:-1] >= FEWEST_ROWS)
    if rows[-1] < FEWEST_ROWS or not usable.size:
        return None
    if usable.size >= FEWEST_WINDOWS:
        return _by_windows(segment, usable)
    return _by_rows(segment, usable)


def _by_windows(segment: SegmentScores, usable: NDArray[np.intp]) -> SegmentShift:
    rows, means, variances = _moments(segment)
    before, now, held = means[usable], float(means[-1]), len(usable)
    between = float(before.var(ddof=1))
    usual = float(np.mean(variances[usable] / rows[usable]))
    extra = max(float(variances[-1] / rows[-1]) - usual, 0.0)
    spread = float(np.sqrt(between * (1 + 1 / held) + extra))
    chance = _chance(now - float(before.mean()), spread, held - 1)
    return SegmentShift(
        segment.name, int(rows[-1]), float(before.mean()), now, spread, chance, held, False
    )


def _by_rows(segment: SegmentScores, usable: NDArray[np.intp]) -> SegmentShift:
    rows, means, variances = _moments(segment)
    total = float(rows[usable].sum())
    mean = float(segment.sums[usable].sum()) / total
    square = float(segment.squares[usable].sum()) / total
    first = max(square - mean**2, 0.0) / total
    second = float(variances[-1] / rows[-1])
    spread = float(np.sqrt(first + second))
    now = float(means[-1])
    below = first**2 / max(total - 1, 1) + second**2 / max(float(rows[-1]) - 1, 1)
    freedom = (first + second) ** 2 / below if below else 1.0
    chance = _chance(now - mean, spread, freedom)
    return SegmentShift(segment.name, int(rows[-1]), mean, now, spread, chance, 0, False)


def _moments(
    segment: SegmentScores,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return rows, means and variances of the scores in each window."""
    rows = np.maximum(segment.rows.astype(np.float64), 1.0)
    means = segment.sums / rows
    return rows, means, np.maximum(segment.squares / rows - means**2, 0.0)


def _chance(change: float, spread: float, freedom: float) -> float:
    """Return the two-sided chance of a change this large."""
    from scipy.special import stdtr

    if spread == 0.0:
        return 1.0 if change == 0.0 else 0.0
    return float(2 * stdtr(freedom, -abs(change) / spread))
