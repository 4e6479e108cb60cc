"""What others do on the same days: PSI > 0.1, chi2, Kolmogorov-Smirnov, and mean + 3 deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.alarm_days import Days, Floats
from monitors.psi import population_stability_index
from monitors.reference import Counts, NumericReference

RULES: Final = ("PSI > 0.1", "PSI > 0.25", "chi2 p < 0.05", "KS p < 0.05", "mean + 3 sd of JS")
"""The last one is how NannyML sets its thresholds: from the distances of the reference's chunks."""

_LIMITS: Final = {"PSI > 0.1": 0.1, "PSI > 0.25": 0.25}
_MOST_KS_ROWS: Final = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRules:
    """The rules of one feature against one reference.

    Attributes:
        reference: its buckets.
        sample: finite reference values, sorted; at most `_MOST_KS_ROWS`, evenly spaced in rank.
        js_limit: mean + 3 standard deviations of the Jensen-Shannon distances of its days.
    """

    reference: NumericReference
    sample: Floats
    js_limit: float

    @classmethod
    def of(cls, days: Days, name: str, reference: NumericReference) -> FeatureRules:
        """Return the rules of a feature for the days of a reference."""
        values = days.columns[name]
        finite = np.sort(values[np.isfinite(values)])
        step = max(1, len(finite) // _MOST_KS_ROWS)
        distances = [
            _jensen_shannon(reference.training_counts, reference.counts(days.of(name, int(day))))
            for day in days.days
        ]
        limit = float(np.mean(distances) + 3 * np.std(distances))
        return cls(reference, finite[::step], limit)

    def alarms(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of `RULES` raise an alarm for a day's values."""
        counts = self.reference.counts(values)
        training = self.reference.training_counts
        psi = population_stability_index(training, counts)
        return np.array(
            [
                psi > _LIMITS["PSI > 0.1"],
                psi > _LIMITS["PSI > 0.25"],
                _chi2(training, counts) < 0.05,
                self._ks(values) < 0.05,
                _jensen_shannon(training, counts) > self.js_limit,
            ]
        )

    def _ks(self, values: Floats) -> float:
        from scipy.stats import ks_2samp

        finite = values[np.isfinite(values)]
        if not len(finite) or not len(self.sample):
            return 1.0
        return float(ks_2samp(self.sample, finite, method="asymp").pvalue)


def _chi2(training: Counts, counts: Counts) -> float:
    from scipy.stats import chi2_contingency

    held = (training + counts) > 0
    if held.sum() < 2:
        return 1.0
    return float(chi2_contingency(np.stack([training[held], counts[held]]), correction=False)[1])


def _jensen_shannon(training: Counts, counts: Counts) -> float:
    from scipy.spatial.distance import jensenshannon

    if np.array_equal(training * int(counts.sum()), counts * int(training.sum())):
        return 0.0  # else a rounding error has no square root
    return float(np.nan_to_num(jensenshannon(training, counts, base=2)))
