"""One alarm rate for a model, divided among its comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consistency.errors import ConfigError
from monitors.thresholds.statistics import Statistic

SHARES: Final = {Statistic.LOCATION: 0.5, Statistic.SHAPE: 0.25, Statistic.GAPS: 0.25}
"""How a comparison's chance is divided among its statistics; the shares add up to 1."""

_SINGLE_WINDOWS: Final = 2 / 3
"""Share of the false alarms that single windows may raise."""


@dataclass(frozen=True, slots=True)
class AlarmRate:
    """How rarely a model whose world has not changed may raise an alarm.

    Two thirds of the alarms are granted to single windows, one third to the sequential detector,
    which loses little by it: its delay grows with the logarithm of its run length.

    Attributes:
        windows: that lie between two false alarms on average, at least.
    """

    windows: float = 60.0

    def __post_init__(self) -> None:
        if not 2 <= self.windows < np.inf:
            raise ConfigError(
                f"false-alarm-windows {self.windows}: give how many windows lie between two false "
                f"alarms of a model, 2 or more; 60 days are one in two months"
            )

    @property
    def chance_of_a_window(self) -> float:
        """Chance of a false alarm of the model in a window, all single comparisons together."""
        return _SINGLE_WINDOWS / self.windows

    def chance(self, statistic: Statistic, comparisons: int) -> float:
        """Return the chance of one statistic of one comparison in one window.

        Bonferroni: the chances of all comparisons add up to that of the model, so the chance that
        any of them raises an alarm is at most that, however they depend on each other (features
        derived from one another do).

        >>> round(1 / (AlarmRate(60).chance(Statistic.LOCATION, 30) * 2 * 30), 12)
        90.0
        """
        return SHARES[statistic] * self.chance_of_a_window / max(comparisons, 1)

    def run_length(self, comparisons: int) -> float:
        """Return the expected run length without drift of each comparison's sequential detector.

        Rates of alarms add up, whatever their dependence.

        >>> round(AlarmRate(60).run_length(30), 9)
        5400.0
        """
        return self.windows / (1 - _SINGLE_WINDOWS) * max(comparisons, 1)


def discoveries(chances: Sequence[float], rate: float) -> tuple[bool, ...]:
    """Return which comparisons have drifted, once the model has an alarm: a list to look into.

    Y. Benjamini, D. Yekutieli, *The control of the false discovery rate in multiple testing under
    dependency* (2001): of the comparisons in the list, at most the share `rate` is expected not to
    have drifted, however they depend on each other. It raises no alarm by itself: controlling the
    share of false discoveries does not bound how often a model without drift wakes somebody up.

    Example with four comparisons; the sum of 1/i is 25/12, so the i-th smallest chance is compared
    with i / 4 * 0.1 / (25/12) = 0.012, 0.024, 0.036, 0.048:

    >>> discoveries([0.03, 0.001, 0.9, 0.02], 0.1)
    (True, True, False, True)

    Args:
        chances: of each comparison, to be as far off as it is without drift; 0 to 1.
        rate: 0 to 1.
    """
    count = len(chances)
    if not count:
        return ()
    ranked = np.sort(np.array(chances))
    harmonic = float(np.sum(1 / np.arange(1, count + 1)))
    fits = np.flatnonzero(ranked <= np.arange(1, count + 1) / count * rate / harmonic)
    largest = float(ranked[fits[-1]]) if fits.size else -1.0
    return tuple(chance <= largest for chance in chances)
