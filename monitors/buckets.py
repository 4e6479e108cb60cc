"""The frozen buckets of one feature or output, and counts of later values in them.

Buckets are fixed once, from the training sample, so that no later outlier can move them. Counts are
plain integers: those of two windows add up to those of both together, exactly, in 200 bytes at
most (25 buckets of int64 with the default ten bins, 23 with the twenty most frequent categories).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.jsontype import Json
from consistency.records import Column
from monitors.edges import frozen_edges
from monitors.errors import MonitorError

Counts: TypeAlias = NDArray[np.int64]

DEFAULT_BINS: Final = 10
DEFAULT_TOP: Final = 20
MAX_KNOWN_CATEGORIES: Final = 10_000
"""Rarer categories of the training sample than these count as unseen, then as now."""

_KNOWN_ROWS: Final = 2
_LARGEST: Final = float(np.finfo(np.float64).max)
# Comparing a cache-sized block with each edge is SIMD work: 10 times faster than a binary search
# for each value, but it costs a numpy call an edge, so small arrays are searched.
_BLOCK_ROWS: Final = 32_768
_SEARCH_BELOW_ROWS: Final = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class NumericReference:
    """Buckets of a numeric feature: -inf | below | bins and atoms ... | above | +inf | missing.

    Missing is NaN, whatever made it so. A token list counts by its length, a tensor feature by all
    its entries.

    Attributes:
        edges: ascending finite bucket edges, shape (E,); bucket i holds edges[i-1] <= x < edges[i].
            The first and the last lie just outside the training sample. Empty when the sample holds
            no finite value.
        training_counts: rows of the training sample in each bucket, int64, shape (E + 4,).
    """

    edges: NDArray[np.float64]
    training_counts: Counts
    _cuts: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # NaN sorts behind +inf: with these cuts one search separates every kind of value.
        cuts = np.concatenate(([-_LARGEST], self.edges, [np.inf, np.nan]))
        object.__setattr__(self, "_cuts", cuts)

    @classmethod
    def build(cls, values: Column, *, bins: int = DEFAULT_BINS) -> Self:
        """Freeze the buckets of a training sample.

        Args:
            values: any shape; numbers, booleans, or token lists in an object array.
            bins: quantile bins; a value that holds more than 1/bins of the finite mass is an atom.
        """
        numbers = _numbers(values).astype(np.float64)
        edges = frozen_edges(numbers[np.isfinite(numbers)], bins)
        empty = cls(edges, np.zeros(len(edges) + 4, np.int64))
        return cls(edges, empty.counts(numbers))

    def counts(self, values: Column) -> Counts:
        """Return how many values lie in each bucket, int64, shape (E + 4,).

        Args:
            values: any shape, dtype as in training; NaN counts as missing.
        """
        numbers = _numbers(values)
        if len(numbers) >= _SEARCH_BELOW_ROWS:
            return _count_blocks(numbers, self._cuts)
        found = self.buckets(numbers)
        return np.bincount(found, minlength=len(self._cuts) + 1).astype(np.int64, copy=False)

    def buckets(self, values: Column) -> NDArray[np.intp]:
        """Return the bucket of each value, shape (N,); see `counts`."""
        return np.searchsorted(self._cuts, _numbers(values).astype(np.float64), side="right")

    def to_json(self) -> dict[str, Json]:
        """Return the reference as JSON types, exactly; the inverse of `from_json`."""
        return {
            "kind": "numeric",
            "edges": self.edges.tolist(),
            "counts": self.training_counts.tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build the reference that `to_json` described."""
        edges = np.array(value["edges"], np.float64)
        if not (np.isfinite(edges).all() and (edges[1:] >= edges[:-1]).all()):
            raise MonitorError("the edges of a numeric reference must be finite and ascending")
        return cls(edges, _stored_counts(value["counts"], len(edges) + 4))


@dataclass(frozen=True, slots=True, eq=False)
class CategoryReference:
    """Buckets of a category: the most frequent ones | other known ones | unseen | missing.

    Attributes:
        top: the categories with a bucket of their own, most frequent first.
        others: known categories that share one bucket.
        training_counts: rows of the training sample in each bucket, int64, shape (T + 3,).
    """

    top: tuple[str, ...]
    others: frozenset[str]
    training_counts: Counts
    _bucket_of: dict[object, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        buckets: dict[object, int] = dict.fromkeys(self.others, len(self.top))
        buckets |= {category: i for i, category in enumerate(self.top)}
        object.__setattr__(self, "_bucket_of", buckets)

    @classmethod
    def build(cls, values: Column, *, top: int = DEFAULT_TOP) -> Self:
        """Freeze the categories of a training sample.

        One that the sample holds once is not known, then as now: the share of such rows is what is
        to be expected of new categories in later rows (I. J. Good, *The population frequencies of
        species*, 1953). So a free text, or an id, is no alarm for being new, as it always is.

        Args:
            values: strings and None, shape (N,).
            top: how many categories get a bucket of their own; ties go by name.
        """
        tally = Counter(v for v in values.tolist() if isinstance(v, str))
        ranked = sorted(tally, key=lambda category: (-tally[category], category))
        known = [category for category in ranked if tally[category] >= _KNOWN_ROWS][
            :MAX_KNOWN_CATEGORIES
        ]
        own, others = tuple(known[:top]), frozenset(known[top:])
        empty = cls(own, others, np.zeros(len(own) + 3, np.int64))
        return cls(own, others, empty.counts(values))

    def counts(self, values: Column) -> Counts:
        """Return how many values lie in each bucket, int64, shape (T + 3,).

        Args:
            values: strings, shape (N,); None and NaN count as missing.
        """
        return self.tally(Counter(values.tolist()).items())

    def tally(self, values: Iterable[tuple[object, int]]) -> Counts:
        """Return the counts of values of which it is known how often each is there."""
        out = np.zeros(len(self.top) + 3, np.int64)
        for value, rows in values:
            out[self._bucket(value)] += rows
        return out

    def buckets(self, values: Column) -> NDArray[np.intp]:
        """Return the bucket of each value, shape (N,); see `counts`."""
        return np.array([self._bucket(v) for v in values.tolist()], np.intp)

    def _bucket(self, value: object) -> int:
        # NaN is the only value that differs from itself.
        missing = value is None or value != value  # noqa: PLR0124
        other = len(self.top)
        return other + 2 if missing else self._bucket_of.get(value, other + 1)

    def to_json(self) -> dict[str, Json]:
        """Return the reference as JSON types, exactly; the inverse of `from_json`."""
        return {
            "kind": "category",
            "top": list(self.top),
            "others": sorted(self.others),
            "counts": self.training_counts.tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build the reference that `to_json` described."""
        top = tuple(value["top"])
        return cls(top, frozenset(value["others"]), _stored_counts(value["counts"], len(top) + 3))


Reference: TypeAlias = NumericReference | CategoryReference


def held_out_counts(reference: CategoryReference, blocks: Sequence[Column]) -> list[Counts]:
    """Return the counts of the blocks of the training sample, each as it would be if it came later.

    What the other blocks together do not hold twice is unseen: ids of a session are known in
    training, and never again.
    """
    tallies = [Counter(values.tolist()) for values in blocks]
    total: Counter[object] = Counter()
    for tally in tallies:
        total.update(tally)
    unseen = object()
    return [
        reference.tally(
            # Missing stays missing, in however many blocks it is.
            (unseen if isinstance(v, str) and total[v] - rows < _KNOWN_ROWS else v, rows)
            for v, rows in tally.items()
        )
        for tally in tallies
    ]


def _stored_counts(value: object, buckets: int) -> Counts:
    counts = np.array(value)
    if counts.dtype.kind != "i" or counts.shape != (buckets,) or (counts < 0).any():
        raise MonitorError(f"a reference with {buckets} buckets must have as many counts >= 0")
    return counts.astype(np.int64)


def _numbers(values: Column) -> Column:
    """Return numbers of any dtype, shape (N,); of a token list its length, of None NaN."""
    if values.dtype.kind != "O":
        return values.reshape(-1)
    lengths = (len(v) if isinstance(v, list) else v for v in values.flat)
    return np.array([np.nan if v is None else v for v in lengths], np.float64)


def _count_blocks(numbers: Column, cuts: NDArray[np.float64]) -> Counts:
    """Count by comparing blocks with each cut: the same integers as a search.

    A block that lies inside the training range, as most do, is compared with the inner cuts only.
    """
    below = np.zeros(len(cuts) + 1, np.int64)
    mask = np.empty(_BLOCK_ROWS, np.bool_)
    bounds = list(enumerate(cuts[:-1].tolist()))
    first, inner, last = (bounds[1][1], bounds[2:-2], bounds[-2][1])
    for start in range(0, len(numbers), _BLOCK_ROWS):
        block = np.ascontiguousarray(numbers[start : start + _BLOCK_ROWS], np.float64)
        out = mask[: len(block)]
        # NaN is neither: such a block takes the long way.
        inside = len(bounds) > 3 and block.min() >= first and block.max() < last
        for i, cut in inner if inside else bounds:
            below[i] += np.count_nonzero(np.less(block, cut, out=out))
        below[len(bounds) - 2 : -2] += len(block) * inside
        below[-2] += len(block) if inside else np.count_nonzero(np.equal(block, block, out=out))
    below[-1] = len(numbers)
    return np.diff(below, prepend=0)
