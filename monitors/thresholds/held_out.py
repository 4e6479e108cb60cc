"""How far the limits must be stretched for days whose tails are heavier than any formula's.

Student's t is the law of normal days. Real ones have storms and holidays. So each week of the
reference is judged by the weeks without it, as a later window will be judged by all of them; what
it would have needed to raise no alarm is one number for the whole model, however its features
depend on each other. From those numbers follows, by the law of heavy tails, what few later weeks
will need: it is learned anew from each reference, and no constant of any data set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.thresholds.days import FEWEST_BLOCKS, DayModel
from monitors.thresholds.statistics import Measured

TAIL: Final = 4
"""Far out, the chance of c times as much is c to the power of minus this: Student's t with four
degrees of freedom, the heaviest tails of which the spread still has a standard error."""

_WEEK: Final = 604_800
_MOST_FOLDS: Final = 26
_LEAST_WORST: Final = 1e-9
_FEWEST_UPPER: Final = 3
_FEWEST_SEEN: Final = 2
_FEWEST_INSIDE: Final = FEWEST_BLOCKS // 2

Matters: TypeAlias = Callable[[NDArray[np.bool_], NDArray[np.float64]], NDArray[np.bool_]]
"""Tells of some blocks and what was expected of them which shifts are large enough to matter."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """How the blocks of a reference are judged by each other.

    Attributes:
        folds: a number for each block; those of one fold are judged by the other folds' alone.
        phase: of each block in the cycle; phases: of the cycle.
    """

    folds: NDArray[np.int64]
    phase: NDArray[np.int64]
    phases: int

    def needed(
        self, measured: Measured, chance: float, sides: int, matters: Matters
    ) -> NDArray[np.float64]:
        """Return by how much the worst deviation of the others is exceeded by each block.

        Args:
            measured: one statistic of the blocks, shape (D,).
            chance: that Student's t grants it.
            sides: 2 if deviations both ways are alarms.
            matters: see there.

        Returns:
            A multiple of that worst deviation, 0 for a block that raises no alarm at any.
        """
        out = np.zeros(len(self.folds))
        for fold in np.unique(self.folds).tolist():
            inside = self.folds == fold
            rest = measured.chosen(~inside)
            model = DayModel.learn(rest, self.phase[~inside], self.phases, _FEWEST_INSIDE)
            if model is None:
                continue
            held, phase = measured.chosen(inside), self.phase[inside]
            far = model.deviations(held, phase)
            far = far if sides == 1 else np.abs(far)
            beyond = np.nan_to_num(far) > model.limit(chance, sides)
            alarm = beyond & matters(inside, model.mean + model.phases[phase])
            out[inside] = np.where(alarm, far / max(model.worst, _LEAST_WORST), 0.0)
        return out


def folds_of(starts_s: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each block: its week; neighbouring weeks together when there are many."""
    week = starts_s // _WEEK
    number: NDArray[np.int64] = np.unique(week, return_inverse=True)[1].astype(np.int64)
    count = int(number.max(initial=0)) + 1
    return number if count <= _MOST_FOLDS else number * _MOST_FOLDS // count


def stretch(
    needed: NDArray[np.float64], folds: NDArray[np.int64], chance: float, comparisons: int
) -> float:
    """Return how many times its reference's worst deviation a limit must be, at least.

    Of W weeks, the m-th largest need is exceeded by the next week with the chance m/(W + 1) (S. S.
    Wilks, *Determination of sample sizes for setting tolerance limits*, 1941); with tails of power
    4, (m / (W + 1) / p)^(1/4) times it with the chance p (I. Weissman, *Estimation of parameters
    and large quantiles based on the k largest observations*, 1978). Each of the upper third of the
    weeks that would have had an alarm is such an estimate; their (lower) median is taken, so that a
    mad week (a fault that was already in the reference) neither decides nor blinds all features.

    Twelve weeks of days, one window in 120 may be a false alarm, so a week in 17; the largest needs
    are 6, 1.5, 1.4 and 1.3, that is 6.43, 1.91, 1.97 and 1.97 for the next week:

    >>> needed = np.repeat([1.4, 6.0, 1.5, 1.3, *[0.0] * 8], 7)
    >>> round(stretch(needed, np.repeat(np.arange(12), 7), 1 / 120, 90), 2)
    1.97

    By the same law and Bonferroni's inequality no limit need be stretched by more than
    (comparisons / (D + 1) / chance of a window)^(1/4):

    >>> round(stretch(10 * needed, np.repeat(np.arange(12), 7), 1 / 120, 90), 2)
    3.36

    Args:
        needed: of each block, the most that any comparison needs, shape (D,).
        folds: of each block, shape (D,).
        chance: of a false alarm of the model in a window.
        comparisons: that share it.
    """
    weeks = np.zeros(int(folds.max()) + 1)
    np.maximum.at(weeks, folds, needed)
    count, blocks = len(weeks), len(needed)
    upper = np.arange(1, min(max(_FEWEST_UPPER, count // 3), count) + 1)
    missed = upper / (count + 1) / (chance * blocks / count)
    largest = np.sort(weeks)[::-1][: len(upper)]
    # A week without an alarm tells an upper bound only, and a single one with it may be a fault.
    estimates = np.sort((largest * missed ** (1 / TAIL))[largest > 0])
    if len(estimates) < _FEWEST_SEEN:
        return 1.0
    most = max(comparisons / (blocks + 1) / chance, 1.0) ** (1 / TAIL)
    # The lower one of two middle ones: a storm and a fault of the data are two mad weeks.
    middle = estimates[(len(estimates) - 1) // 2]
    return float(np.clip(middle, 1.0, most))
