"""Puts a frozen distribution of a feature back into the rows of a window.

The rows stay what they were, but for one feature: its values are moved, as few and as little as
possible, until they are distributed over the buckets as in the reference. Numbers keep the order of
their buckets (those in the lowest go to the lowest: the transport of least cost in one dimension),
so what goes together in the window still does. Categories change in as few rows as can be. A
feature whose shares are as they should be is left as it is, exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.records import Column
from monitors.buckets import CategoryReference, NumericReference, Reference

_FEWEST_DONORS: Final = 3
"""With fewer known values in a bucket, numbers are spread over it as its neighbours suggest."""

_MOST_LEFT: Final = 0.1
"""Where more of a bucket's rows leave it, those that stay are no fair sample of what belongs there:
of a feature that went up, the highest bucket keeps the very highest. They get new values too."""

_REPEATS: Final = 5
"""Numbers that each occur so often on average are discrete: new ones are chosen among them."""

_GRID: Final = 65

Rows = NDArray[np.intp]


def put_back(
    values: Column, reference: Reference, shares: NDArray[np.float64], donors: Column
) -> Column:
    """Return the values of a feature, distributed as they should be.

    >>> light = NumericReference.build(np.arange(100.0))
    >>> heavy = np.arange(50.0, 150.0)
    >>> found = put_back(heavy, light, light.training_counts / 100, np.empty(0))
    >>> bool((light.counts(found) == light.training_counts).all())
    True

    Args:
        values: of the window, shape (N,), N >= 1; numbers, booleans or strings.
        reference: its buckets.
        shares: of each bucket, shape (B,); they add up to 1.
        donors: values of the training sample, of any number, 0 too: what is moved into a bucket
            is distributed as they are in it, where there are enough.

    Returns:
        A new array of the same shape and dtype.
    """
    held = reference.buckets(values)
    wanted = apportioned(shares, len(values))
    if isinstance(reference, CategoryReference):
        target = _fewest_changes(held, wanted)
        new: Column = np.array(values, object)
    else:
        target = _in_order(np.asarray(values, np.float64), held, wanted)
        new = np.array(values, np.float64)
    pool = reference.buckets(donors)
    for bucket in np.flatnonzero(wanted).tolist():
        moved = _to_change(held, target, bucket)
        if not moved.size:
            continue
        ranks, known = _ranks(new, moved, reference), donors[pool == bucket]
        if isinstance(reference, CategoryReference):
            new[moved] = _categories_in(reference, bucket, ranks, known)
        else:
            spread = _Spread(reference, shares, np.concatenate([donors, values]))
            new[moved] = _numbers_in(reference, bucket, ranks, known, spread)
    return new.astype(values.dtype)


def apportioned(shares: NDArray[np.float64], rows: int) -> NDArray[np.int64]:
    """Return whole rows in the given proportion, by the largest remainders.

    >>> apportioned(np.array([0.5, 0.25, 0.25]), 3).tolist()
    [1, 1, 1]
    """
    exact = shares * rows
    whole = np.floor(exact).astype(np.int64)
    left = rows - int(whole.sum())
    order = np.argsort(whole - exact, kind="stable")
    whole[order[:left]] += 1
    return whole


def _in_order(values: NDArray[np.float64], held: Rows, wanted: NDArray[np.int64]) -> Rows:
    """Return each row's new bucket; numbers keep their order.

    As few rows as can be become missing, or stop to be.
    """
    target = held.copy()
    missing = len(wanted) - 1
    absent, present = np.flatnonzero(held == missing), np.flatnonzero(held != missing)
    ordered = present[np.argsort(values[present], kind="stable")]
    surplus = len(absent) - int(wanted[missing])
    if surplus > 0:
        filled = _evenly(absent, surplus)
        at = np.linspace(0, len(ordered), surplus + 2)[1:-1].astype(np.intp)
        ordered = np.insert(ordered, at, filled)
    elif surplus < 0:
        emptied = _evenly(ordered, -surplus)
        target[emptied] = missing
        ordered = ordered[~np.isin(ordered, emptied)]
    target[ordered] = np.repeat(np.arange(missing), wanted[:missing])
    return target


def _to_change(held: Rows, target: Rows, bucket: int) -> Rows:
    """Return the rows of a bucket that need another value."""
    belongs = target == bucket
    before = held == bucket
    left = np.count_nonzero(before & ~belongs)
    if left > _MOST_LEFT * np.count_nonzero(before):
        return np.flatnonzero(belongs)
    return np.flatnonzero(belongs & ~before)


def _fewest_changes(held: Rows, wanted: NDArray[np.int64]) -> Rows:
    """Return each row's new bucket; what is too many of one goes where too few are."""
    target = held.copy()
    surplus = np.bincount(held, minlength=len(wanted)) - wanted
    given = [
        _evenly(np.flatnonzero(held == b), int(surplus[b])) for b in np.flatnonzero(surplus > 0)
    ]
    if given:
        lacking = np.flatnonzero(surplus < 0)
        # Dealt out like cards, so that no bucket is filled from one other alone.
        places = np.repeat(lacking, -surplus[lacking])
        rows = np.concatenate(given)
        target[rows] = places[np.argsort(np.arange(len(rows)) * 0.618_033_988_75 % 1.0)]
    return target


def _evenly(rows: Rows, number: int) -> Rows:
    """Return so many of some rows, evenly spread."""
    return rows[(np.arange(number) * len(rows)) // max(number, 1)]


def _ranks(values: Column, moved: Rows, reference: Reference) -> NDArray[np.float64]:
    """Return where in their new bucket the rows go, 0 to 1, those with smaller values first."""
    places = (np.arange(len(moved)) + 0.5) / len(moved)
    if isinstance(reference, CategoryReference):
        return places
    ranks = np.empty(len(moved))
    ranks[np.argsort(values[moved].astype(np.float64), kind="stable")] = places
    return ranks


def _numbers_in(
    reference: NumericReference,
    bucket: int,
    ranks: NDArray[np.float64],
    known: Column,
    spread: _Spread,
) -> NDArray[np.float64]:
    """Return numbers that lie in a bucket, distributed as the known ones if there are enough."""
    last = len(reference.edges)
    special = {0: -np.inf, last + 2: np.inf, last + 3: np.nan}
    if bucket in special:
        return np.full(len(ranks), special[bucket])
    numbers = np.sort(known.astype(np.float64))
    alike = len(numbers) > 0 and numbers[0] == numbers[-1]
    if not alike and len(numbers) < _FEWEST_DONORS:
        return spread.numbers(bucket, ranks)
    places = (np.arange(len(numbers)) + 0.5) / len(numbers)
    return spread.known(np.interp(ranks, places, numbers), float(numbers[0]), float(numbers[-1]))


class _Spread:
    """How numbers lie within a bucket, as far as the buckets beside it tell.

    A bucket at the end is long and holds most of its numbers near its inner edge. The shares that
    were asked for, added up over the edges, are points of a distribution function; a monotone cubic
    through them (F. N. Fritsch, R. E. Carlson, 1980) says how it bends between.
    """

    def __init__(
        self, reference: NumericReference, shares: NDArray[np.float64], known: Column
    ) -> None:
        self._edges, self._shares = reference.edges, shares
        finite = known.astype(np.float64)
        finite = finite[np.isfinite(finite)]
        self._whole = len(finite) > 0 and bool((finite == np.round(finite)).all())
        distinct = np.unique(finite)
        self._discrete = distinct if len(distinct) * _REPEATS <= len(finite) else np.empty(0)

    def numbers(self, bucket: int, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return numbers in a bucket between two edges, or next to the outermost one."""
        edges = self._edges
        if not len(edges):
            return np.zeros(len(ranks))
        if bucket == 1:
            return np.full(len(ranks), np.nextafter(edges[0], -np.inf))
        if bucket == len(edges) + 1:
            return np.full(len(ranks), edges[-1])
        low, high = float(edges[bucket - 2]), float(edges[bucket - 1])
        spread = self._between(low, high, ranks)
        # An edge belongs to the bucket above it.
        spread = np.clip(spread, low, np.nextafter(high, -np.inf))
        return self.known(spread, low, float(np.nextafter(high, -np.inf)))

    def known(self, numbers: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
        """Return numbers from low to high as ones that the feature can have, as far as is known."""
        inside = self._discrete[(self._discrete >= low) & (self._discrete <= high)]
        if inside.size:
            found: NDArray[np.float64] = inside[
                np.abs(inside[None, :] - numbers[:, None]).argmin(axis=1)
            ]
            return found
        rounded = np.round(numbers)
        fits = self._whole & (rounded >= low) & (rounded <= high)
        return np.where(fits, rounded, numbers)

    def _between(self, low: float, high: float, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        straight = low + ranks * (high - low)
        edges, at = np.unique(self._edges, return_index=True)
        inside = self._shares[2 : len(self._edges) + 1]
        below = np.concatenate([[0.0], np.cumsum(inside)])[at]
        if len(edges) < 3 or not np.isfinite(edges[-1] - edges[0]):
            return straight
        from scipy.interpolate import PchipInterpolator

        grid = np.linspace(low, high, _GRID)
        heights = PchipInterpolator(edges, below)(grid)
        if not heights[-1] > heights[0]:
            return straight
        wanted = heights[0] + ranks * (heights[-1] - heights[0])
        found: NDArray[np.float64] = np.interp(wanted, np.maximum.accumulate(heights), grid)
        return found


def _categories_in(
    reference: CategoryReference, bucket: int, ranks: NDArray[np.float64], known: Column
) -> Column:
    names = sorted(v for v in known.tolist() if isinstance(v, str))
    top = len(reference.top)
    if bucket < top:
        names = [reference.top[bucket]]
    elif bucket == top and not names:
        names = sorted(reference.others)
    picked = np.full(len(ranks), None, object)
    if bucket <= top + 1 and names:
        picked[:] = [names[int(rank * len(names))] for rank in ranks]
    return picked
