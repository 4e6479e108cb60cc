"""How one statistic varies from window to window: a baseline, its weekdays, its spread, its worst.

Rows of a day share weather, timetable and campaigns, so a day differs from the rest by more than
sampling. The model is that of random effects,

    value = baseline + weekday + day effect + sampling noise

with the variance of the day effect estimated by the method of moments from the blocks of the
reference (R. DerSimonian, N. Laird, *Meta-analysis in clinical trials*, 1986, do the same for
studies). Days are not normal either: see `held_out`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from monitors.thresholds.statistics import Measured

FEWEST_BLOCKS: Final = 14
"""Fewer blocks than these say too little of how much a day varies."""

_FEWEST_A_PHASE: Final = 3
_LEAST_DEVIATION: Final = 1e-3
"""Of what never varied; far below any shift that matters."""


@dataclass(frozen=True, slots=True, eq=False)
class DayModel:
    """What a statistic of an unchanged world does.

    Attributes:
        mean: baseline.
        phases: what is added in each phase of the cycle (weekday), shape (P,); shrunk towards 0 by
            how little the reference knows of it.
        day_variance: of the day effect.
        blocks: that it was learned from.
        worst: largest deviation of a block of the reference from the others, in deviations.
        memory: correlation of neighbouring blocks' deviations, 0 to 0.95.
    """

    mean: float
    phases: NDArray[np.float64]
    day_variance: float
    blocks: int
    worst: float
    memory: float

    @classmethod
    def learn(
        cls, measured: Measured, phase: NDArray[np.int64], phases: int, fewest: int = FEWEST_BLOCKS
    ) -> Self | None:
        """Return the model of the blocks, or None when fewer than `fewest` have a value.

        Args:
            measured: the blocks' values, in the order of time.
            phase: of each block, 0 to `phases` - 1.
            phases: of the cycle; 1 for none.
            fewest: blocks, 2 or more.
        """
        ok = np.isfinite(measured.values)
        values, sampling, at = measured.values[ok], measured.sampling[ok], phase[ok]
        if len(values) < fewest:
            return None
        mean = float(values.mean())
        effects, used = _phase_effects(values - mean, at, phases)
        left = values - mean - effects[at]
        total = float(left @ left) / max(len(values) - 1 - used, 1)
        noise = float(sampling.mean())
        # Where sampling hides the days' own variation (few rows a block), it may be larger than it
        # looks: by one standard error of the variance, as far as sampling is what is seen.
        unsure = min(noise / total, 1.0) * np.sqrt(2 / len(values)) * total if total else 0.0
        days = max(total - noise, 0.0) + float(unsure)
        model = cls(mean, effects, days, len(values), 0.0, 0.0)
        apart = left / model._deviations(sampling) * _leverage(at, effects)
        worst = float(np.abs(apart).max())
        return cls(mean, effects, days, len(values), worst, _memory(apart))

    def deviation(self, value: float, sampling: float, phase: int) -> float:
        """Return how far a window's value lies from what was expected, in standard deviations."""
        return (value - self.expected(phase)) / float(self._deviations(np.array(sampling)))

    def deviations(self, measured: Measured, phase: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same of some windows, NaN for those without a value."""
        far: NDArray[np.float64] = measured.values - self.mean - self.phases[phase]
        return far / self._deviations(measured.sampling)

    def expected(self, phase: int) -> float:
        """Return the value that is expected in a phase."""
        return self.mean + float(self.phases[phase])

    def limit(self, chance: float, sides: int) -> float:
        """Return the deviation that a window of normal days exceeds with this chance.

        Student's t with the blocks' degrees of freedom, for a window that was not among them. Days
        have heavier tails than that: see `held_out`.
        """
        from scipy.special import stdtrit

        return float(-stdtrit(self.blocks - 1, chance / sides))

    def chance(self, deviation: float, sides: int) -> float:
        """Return the chance that a window of normal days deviates as far; the inverse of `limit`.

        Args:
            deviation: in standard deviations; its size, where both sides count.
            sides: 1 or 2.
        """
        from scipy.special import stdtr

        return min(sides * float(stdtr(self.blocks - 1, -deviation)), 1.0)

    def _deviations(self, sampling: NDArray[np.float64]) -> NDArray[np.float64]:
        # 1 + 1/D: the baseline is an estimate too.
        total = self.day_variance * (1 + 1 / self.blocks) + sampling
        deviations: NDArray[np.float64] = np.maximum(np.sqrt(total), _LEAST_DEVIATION)
        return deviations


def _phase_effects(
    left: NDArray[np.float64], phase: NDArray[np.int64], phases: int
) -> tuple[NDArray[np.float64], float]:
    """Return each phase's effect, shrunk, and how many parameters that cost.

    The shrinkage is that of Efron and Morris: an effect keeps the share of its variance that is not
    explained by the scatter within the phase.
    """
    rows = np.bincount(phase, minlength=phases)
    if phases < 2 or rows.min() < _FEWEST_A_PHASE:
        return np.zeros(max(phases, 1)), 0.0
    effects = np.bincount(phase, left, minlength=phases) / rows
    within = left - effects[phase]
    scatter = float(within @ within) / (len(left) - phases)
    between = max(float(np.mean(effects**2)) - scatter * float(np.mean(1 / rows)), 0.0)
    kept = between / (between + scatter / rows) if between else np.zeros(phases)
    return effects * kept, float(kept.sum()) * (phases - 1) / phases


def _leverage(phase: NDArray[np.int64], effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much a block's own part in its baseline hides its deviation."""
    rows = np.bincount(phase, minlength=len(effects))[phase] if effects.any() else len(phase)
    grown: NDArray[np.float64] = rows / np.maximum(rows - 1, 1) * np.ones(len(phase))
    return grown


def _memory(deviations: NDArray[np.float64]) -> float:
    """Return the correlation of neighbours, corrected for what a short series underestimates of it.

    M. G. Kendall, *Note on bias in the estimation of autocorrelation* (Biometrika 41, 1954): of D
    values with the correlation r, (1 + 3r)/D on average.
    """
    power = float(deviations @ deviations)
    if not power:
        return 0.0
    seen = float(deviations[1:] @ deviations[:-1]) / power
    return float(np.clip(seen + (1 + 3 * seen) / len(deviations), 0.0, 0.95))
