"""What is measured of a window: where its values lie, how they are spread, how many are missing.

The population stability index has no direction and pays for each of its buckets with noise. So a
shift is looked for where it shows best, in a mean of rank scores, and everything else by the index.
Each is computed from the integers of the buckets alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from monitors.psi import population_stability_index
from monitors.reference import CategoryReference, Counts, Reference

_LEAST_PSI_SHARE: Final = 0.05
"""An index of 0 has no logarithm; one so far below what is expected says nothing more."""

_MANY_GAPS: Final = 30
"""From so many on, the transformed share of them has its mean where it should."""
_MOST_HELD: Final = 120
"""More than these, where 30 are expected, do not happen."""


class Statistic(StrEnum):
    """What is compared."""

    LOCATION = "location"
    """Mean of the van der Waerden (normal) scores of the finite values: in a normal reference a
    shift in standard deviations. Numbers only."""
    SHAPE = "shape"
    """Logarithm of the population stability index over its expectation."""
    GAPS = "gaps"
    """Share of missing, infinite and unseen values, as arcsin(sqrt(share)): its noise depends on
    the rows alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One statistic of some windows.

    Attributes:
        values: shape (D,); NaN where a window has no value for it.
        sampling: variance of each value by sampling alone, for independent rows, shape (D,).
    """

    values: NDArray[np.float64]
    sampling: NDArray[np.float64]

    def chosen(self, windows: NDArray[np.bool_]) -> Self:
        """Return some of the windows."""
        return type(self)(self.values[windows], self.sampling[windows])


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The buckets of one feature, ready to measure windows of it.

    Attributes:
        counts: of the baseline, shape (B,).
        scores: normal score of each bucket, NaN for those without finite values, shape (B,).
        gaps: the buckets of what is no known value, shape (B,).
        held: buckets that the baseline holds.
        psi_days: variation of the shares between windows beyond sampling, as a variance that adds
            to 1/N + 1/M in the law of the index; 0 until `with_days`.
    """

    counts: Counts
    scores: NDArray[np.float64]
    gaps: NDArray[np.bool_]
    held: int
    psi_days: float = 0.0

    @classmethod
    def of(cls, reference: Reference, counts: Counts, blocks: int) -> Self:
        """Return the frame of a feature.

        Args:
            reference: tells the kinds of the buckets.
            counts: of the baseline; the reference's own, or those of later windows.
            blocks: that the baseline is made of.
        """
        gaps = np.zeros(len(counts), np.bool_)
        scores = np.full(len(counts), np.nan)
        if isinstance(reference, CategoryReference):
            gaps[-2:] = True
        else:
            gaps[[0, -2, -1]] = True
            scores[~gaps] = normal_scores(counts[~gaps], blocks)
        return cls(counts, scores, gaps, max(int((counts > 0).sum()), 2))

    def with_days(self, psi: NDArray[np.float64], rows: NDArray[np.float64]) -> Frame:
        """Return it with the variation between windows, by the method of moments.

        Without drift the index has the mean (B - 1) * (days + 1/N + 1/M).

        Args:
            psi: index of each window against the others, shape (D,).
            rows: of each window.
        """
        noise = 1 / (self.counts.sum() - rows) + 1 / rows
        days = float(np.mean(psi)) / (self.held - 1) - float(np.mean(noise))
        return Frame(self.counts, self.scores, self.gaps, self.held, max(days, 0.0))

    def expected_psi(self, baseline_rows: float, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the index of windows of so many rows without drift."""
        noise: NDArray[np.float64] = 1 / baseline_rows + 1 / rows
        return (self.held - 1) * (self.psi_days + noise)

    def location(self, counts: Counts) -> Measured:
        """Return the mean normal score of windows, counts of shape (D, B)."""
        numbers = ~np.isnan(self.scores)
        held, scores = counts[:, numbers], self.scores[numbers]
        rows = held.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = held @ scores / rows
            variance = _variance(self.counts[numbers], scores) / rows
        return Measured(values, np.where(rows > 0, variance, np.nan))

    def share_of_gaps(self, counts: Counts) -> Measured:
        """Return the transformed share of gaps of windows; Anscombe's correction for few rows.

        Where gaps are rare, the correction makes that share the larger the fewer rows a window has.
        So each is taken off what a window of its rows is expected to have, and put onto the
        baseline's share: windows of any size can be compared.
        """
        rows, total = counts.sum(axis=1), int(self.counts.sum())
        base = (self.counts[self.gaps].sum() + 0.375) / (total + 0.75)
        far = _transformed(counts[:, self.gaps].sum(axis=1), rows) - usual_share(base, rows)
        # A share of 0 does not vary binomially: then its variance is no more than it can be. The
        # baseline's own matters to windows that hold more rows than it does.
        variance = np.minimum(1 / (4 * rows + 2), base) + min(1 / (4 * total + 2), base)
        return Measured(far + np.arcsin(np.sqrt(base)), variance)

    def shape(
        self, psi: NDArray[np.float64], baseline: float, rows: NDArray[np.float64]
    ) -> Measured:
        """Return the logarithm of indices over their expectation; sampling is in the law itself.

        Args:
            psi: of each window, shape (D,).
            baseline: rows that they were compared with.
            rows: of each window.
        """
        ratio = psi / self.expected_psi(baseline, rows)
        return Measured(np.log(ratio + _LEAST_PSI_SHARE), np.zeros(len(ratio)))


def normal_scores(counts: Counts, blocks: int) -> NDArray[np.float64]:
    """Return the standard normal quantile at the middle rank of each bucket.

    B. L. van der Waerden, *Order tests for the two-sample problem* (1952); in grouped data each
    value has the middle rank of its bucket. A bucket that holds nothing lies between its
    neighbours.

    The ranks end at 1/(2(D + 1)) and 1 less that. Rows of a block resemble each other, so that what
    D blocks say of a feature's range is what D independent values do: of those, the next one lies
    below all with the chance 1/(D + 1) (S. S. Wilks, *Determination of sample sizes for setting
    tolerance limits*, 1941), and so has the middle of that for its rank.

    >>> normal_scores(np.array([0, 25, 50, 25, 0]), 99).round(3).tolist()
    [-2.576, -1.15, 0.0, 1.15, 2.576]

    Args:
        counts: of the buckets, ascending, shape (B,).
        blocks: D, 1 or more.
    """
    total = int(counts.sum())
    if not total:
        return np.zeros(len(counts))
    from scipy.special import ndtri

    middle = (np.cumsum(counts) - counts / 2) / total
    least = 1 / (2 * (blocks + 1))
    scores: NDArray[np.float64] = ndtri(np.clip(middle, least, 1 - least))
    return scores


def usual_share(share: float, rows: Counts) -> NDArray[np.float64]:
    """Return the mean of the transformed share of gaps without drift, for windows of some rows.

    F. J. Anscombe, *The transformation of Poisson, binomial and negative-binomial data* (1948):
    arcsin(sqrt((k + 3/8) / (n + 3/4))) has the mean arcsin(sqrt(p)) where n * p is large. Elsewhere
    it is summed over the binomial law:

    >>> usual_share(0.0005, np.array([20, 400, 1_000_000])).round(3).tolist()
    [0.136, 0.036, 0.022]

    Args:
        share: p, above 0 and below 1.
        rows: n, shape (D,).
    """
    from scipy.special import gammaln

    rare, held = min(share, 1 - share), np.arange(_MOST_HELD + 1.0)
    n = rows.astype(np.float64)[:, None]
    ways = gammaln(n + 1) - gammaln(held + 1) - gammaln(n - held + 1)
    chance = np.exp(ways + held * np.log(rare) + (n - held) * np.log1p(-rare))
    few = (chance * _transformed(held, n)).sum(axis=1)
    mean = np.where(rows * rare > _MANY_GAPS, np.arcsin(np.sqrt(rare)), few)
    usual: NDArray[np.float64] = mean if share <= 0.5 else np.pi / 2 - mean
    return usual


def _transformed(
    held: NDArray[np.float64] | Counts, rows: NDArray[np.float64] | Counts
) -> NDArray[np.float64]:
    share = np.minimum((held + 0.375) / (rows + 0.75), 1.0)
    transformed: NDArray[np.float64] = np.arcsin(np.sqrt(share))
    return transformed


def indices(counts: Counts, baseline: Counts, *, inside: bool) -> NDArray[np.float64]:
    """Return the population stability index of each window, NaN for one without rows.

    Args:
        counts: shape (D, B).
        baseline: shape (B,).
        inside: whether the windows are part of the baseline; each is then compared with the rest.
    """
    out = np.full(len(counts), np.nan)
    for i, window in enumerate(counts):
        rest = baseline - window if inside else baseline
        if window.any() and rest.any():
            out[i] = population_stability_index(rest, window)
    return out


def _variance(counts: Counts, scores: NDArray[np.float64]) -> float:
    total = int(counts.sum())
    if not total:
        return 0.0
    mean = float(counts @ scores) / total
    return float(counts @ (scores - mean) ** 2) / total
