"""The population stability index of counts in frozen buckets."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitors.errors import MonitorError

SMOOTHING_ROWS: Final = 0.5
"""What is added to every bucket, in rows of the smaller sample: half a row, as Jeffreys' prior."""


def population_stability_index(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Return how far the current window has moved from the reference; 0 is not at all.

    With p the reference's and q the current window's share of each bucket:

        PSI = sum over buckets of (q - p) * ln(q / p)

    Sources: N. Siddiqi, *Credit Risk Scorecards* (2006), ch. 9; B. Yurdakul, *Statistical
    Properties of Population Stability Index* (Western Michigan University, 2018), which shows that
    it is the symmetrised Kullback-Leibler divergence and, without drift, about
    (1/N + 1/M) * chi2(B - 1) for samples of N and M rows in B buckets.

    Empty buckets: to each share is added the share that half a row has in the *smaller* sample
    (`SMOOTHING_ROWS`), the same on both sides, and the shares are scaled to 1 again. So the index
    is always finite and symmetric, buckets with equal shares add exactly nothing whatever the
    sample sizes, and a bucket that one side lacks weighs more the more rows say so. Buckets that
    both sides lack say nothing and are left out: adding some changes no bit.

    The index of a window of few rows is large without any drift (see the law above): compare it
    with what windows of that size of the reference show, not with a constant.

    Example, shares 50%, 30%, 20% against 40%, 30%, 30% (by hand: 0.02231 + 0 + 0.04055):

    >>> round(population_stability_index([500_000, 300_000, 200_000], [40_000, 30_000, 30_000]), 4)
    0.0629
    >>> population_stability_index([500, 300, 200], [50, 30, 20])
    0.0

    Args:
        reference_counts: rows in each bucket, shape (B,), integers >= 0, at least one row.
        current_counts: the same of the current window, in the same buckets.

    Returns:
        The index in nats, >= 0, never NaN.

    Raises:
        MonitorError: shapes differ, a count is negative or not whole, or a side holds no row: an
            empty comparison is no agreement.
    """
    reference, current = _checked(reference_counts, current_counts)
    held = (reference + current) > 0
    smoothing = SMOOTHING_ROWS / min(int(reference.sum()), int(current.sum()))
    p, q = _shares(reference[held], smoothing), _shares(current[held], smoothing)
    return float(np.sum((q - p) * np.log(q / p)))


def _shares(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum()
    return (shares + smoothing) / (1.0 + smoothing * counts.size)


def _checked(
    reference_counts: ArrayLike, current_counts: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    reference, current = np.asarray(reference_counts), np.asarray(current_counts)
    if reference.ndim != 1 or reference.shape != current.shape:
        raise MonitorError(
            f"the counts have shapes {reference.shape} and {current.shape}; give both one entry "
            f"for each bucket of the same reference"
        )
    for side, counts in (("reference", reference), ("current window", current)):
        if counts.dtype.kind not in "iu" or (counts < 0).any():
            raise MonitorError(f"the counts of the {side} must be whole numbers from 0 up")
        if not counts.any():
            raise MonitorError(f"the {side} holds no row; an empty comparison proves nothing")
    return reference.astype(np.int64), current.astype(np.int64)
