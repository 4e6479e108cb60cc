"""Counts blocks of rows: buckets, missing, unseen, out of range, anomalous scores. Pure.

All counts are integers and the extremes are exact, so the counts of two blocks merge to those of
both together, bit for bit, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureStatus
from monitors.online.number_columns import Floats, NumberColumns
from monitors.online.row_layout import RowLayout, number_cuts, outside_buckets
from monitors.reference import CategoryReference, Counts

Status = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class RowCounts:
    """What is counted in N scored rows.

    Attributes:
        rows: N.
        anomalies: scores that are NaN, infinite, out of range, shape (3,).
        flags: rows in which each feature was missing, unseen, out of range, shape (3, F).
        buckets: values in each bucket of each reference, shape (B,), as the layout orders them.
        low: the smallest score of each output, shape (K,); +inf when there is none, -inf when one
            is NaN.
        high: the largest; -inf when there is none, +inf when one is NaN.
    """

    rows: int
    anomalies: Counts
    flags: Counts
    buckets: Counts
    low: Floats
    high: Floats

    @classmethod
    def zeros(cls, layout: RowLayout) -> RowCounts:
        """Return the counts of no row."""
        features, outputs = len(layout.features), layout.outputs
        return cls(
            0,
            np.zeros(3, np.int64),
            np.zeros((3, features), np.int64),
            np.zeros(layout.buckets, np.int64),
            np.full(outputs, np.inf),
            np.full(outputs, -np.inf),
        )

    def __add__(self, other: RowCounts) -> RowCounts:
        return RowCounts(
            self.rows + other.rows,
            self.anomalies + other.anomalies,
            self.flags + other.flags,
            self.buckets + other.buckets,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def constant(self) -> bool:
        """Whether there are scores, and those of each output are one and the same number."""
        return bool(self.rows and self.low.size and (self.low == self.high).all())


class RowCounter:
    """Counts rows of one layout.

    Args:
        layout: the columns and what judges them.
    """

    def __init__(self, layout: RowLayout) -> None:
        self.layout = layout
        self._first_score = layout.columns - layout.outputs
        ends = [*layout.starts, *range(self._first_score, layout.columns), layout.columns]
        self._spans = [range(begin, end) for begin, end in pairwise(ends)]
        self._categories = [i for i, f in enumerate(layout.features) if f.is_category]
        self._wide = [i for i, span in enumerate(self._spans) if len(span) > 1]
        self._cuts = [number_cuts(r) for r in layout.judged]
        numbers = [i for i in range(len(self._spans)) if i not in set(self._categories)]
        entries = [(i, column) for i in numbers for column in self._spans[i]]
        self._numbers = NumberColumns.of(
            [c for _, c in entries], [self._cuts[i] for i, _ in entries]
        )
        self._places = self._bucket_places([i for i, _ in entries])
        self._marks = _Marks.of(layout, [places[0] for places in self._places])

    def _bucket_places(self, owners: list[int]) -> list[list[range]]:
        """Return for each feature and score where the counts of each of its entries are."""
        places: list[list[range]] = [[] for _ in self._spans]
        end = 0
        for i in [*owners, *self._categories]:
            is_number = i not in self._categories
            size = len(self._cuts[i]) + 2 if is_number else _category_buckets(self.layout, i)
            places[i].append(range(end, end + size))
            end += size
        return places

    def count(self, values: Floats, status: Status) -> RowCounts:
        """Count rows.

        Args:
            values: shape (N, C), columns as the layout says; NaN is a missing number.
            status: `FeatureStatus` codes, shape (N, F).
        """
        held = self._bucket_counts(values)
        scores = values[:, self._first_score :]
        is_nan = np.isnan(scores)
        return RowCounts(
            len(values),
            held[self._marks.anomalies].sum(axis=(1, 2)),
            self._flags(held, values, status),
            self._judged(held),
            np.where(is_nan, -np.inf, scores).min(axis=0, initial=np.inf),
            np.where(is_nan, np.inf, scores).max(axis=0, initial=-np.inf),
        )

    def _bucket_counts(self, values: Floats) -> Counts:
        """Return the counts of all number entries, then of all categories, then a 0."""
        parts = [self._numbers.counts(values)]
        for i in self._categories:
            codes = values[:, self._spans[i].start].astype(np.intp)
            parts.append(np.bincount(codes, minlength=_category_buckets(self.layout, i)))
        return np.concatenate([*parts, [0]]).astype(np.int64, copy=False)

    def _judged(self, held: Counts) -> Counts:
        """Return the buckets of the references; a tensor's are those of all its entries."""
        buckets = held[self._marks.judged]
        for i in self._wide:
            where = self.layout.bucket_slices[i]
            if where is not None:
                buckets[where] = sum(held[p.start : p.stop] for p in self._places[i])
        return buckets

    def _flags(self, held: Counts, values: Floats, status: Status) -> Counts:
        """Return missing, unseen and out of range; buckets tell unless there is a status."""
        flags: Counts = held[self._marks.flags].sum(axis=2)
        marked = np.flatnonzero(status.any(axis=0)).tolist() if status.any() else []
        for i in {*self._wide, *marked}:
            flags[:, i] = self._flags_of_rows(i, values, status[:, i])
        return flags

    def _flags_of_rows(self, i: int, values: Floats, status: Status) -> tuple[int, int, int]:
        """Return the same where a status says more than the value: each row counts at most once."""
        block = values[:, self._spans[i].start : self._spans[i].stop]
        unset = status == FeatureStatus.OK
        is_unseen = status == FeatureStatus.UNSEEN
        is_missing = ~unset & ~is_unseen
        outside = np.zeros_like(unset)
        if i in self._categories:
            last = _category_buckets(self.layout, i) - 1
            is_missing |= unset & (block == last).any(axis=1)
            if self.layout.judged[i] is not None:
                is_unseen |= unset & (block == last - 1).any(axis=1)
        else:
            is_missing |= unset & np.isnan(block).any(axis=1)
            found = np.searchsorted(self._cuts[i], block, side="right")
            found = np.where(np.isnan(block), len(self._cuts[i]) + 1, found)
            is_outside = outside_buckets(self.layout.judged[i])
            outside = unset & ~is_missing & is_outside[found].any(axis=1)
        return int(is_missing.sum()), int(is_unseen.sum()), int(outside.sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """Which counts say what; -1 is the 0 at their end.

    Attributes:
        judged: the buckets of all references, shape (B,).
        flags: the buckets that are missing, unseen, out of range, shape (3, F, 4).
        anomalies: the buckets of NaN, infinite, out of range, shape (3, K, 2).
    """

    judged: NDArray[np.intp]
    flags: NDArray[np.intp]
    anomalies: NDArray[np.intp]

    @classmethod
    def of(cls, layout: RowLayout, places: list[range]) -> _Marks:
        features = len(layout.features)
        flags = np.full((3, features, 4), -1, np.intp)
        anomalies = np.full((3, layout.outputs, 2), -1, np.intp)
        pairs = list(zip(places, layout.judged, strict=True))
        for i, (place, reference) in enumerate(pairs[:features]):
            flags[0, i, 0] = place[-1]
            if isinstance(reference, CategoryReference):
                flags[1, i, 0] = place[-2]
            outside = [place[b] for b in np.flatnonzero(outside_buckets(reference)).tolist()]
            flags[2, i, : len(outside)] = outside if not layout.features[i].is_category else []
        for k, (place, reference) in enumerate(pairs[features:]):
            anomalies[0, k, 0] = place[-1]
            anomalies[1, k] = place[0], place[-2]
            if reference is not None and len(place) > 4:
                anomalies[2, k] = place[1], place[-3]
        known = [np.array(p, np.intp) for p, reference in pairs if reference is not None]
        return cls(np.concatenate([np.empty(0, np.intp), *known]), flags, anomalies)


def _category_buckets(layout: RowLayout, i: int) -> int:
    reference = layout.judged[i]
    return len(reference.training_counts) if isinstance(reference, CategoryReference) else 3
