"""The frozen training distribution, and counts of later windows in its buckets.

Buckets are fixed once, from the training sample, so that no later outlier can move them. Counts are
plain integers: those of two windows add up to those of both together, exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias

import numpy as np
import orjson
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

_FORMAT: Final = 1
_LARGEST: Final = float(np.finfo(np.float64).max)
# Comparing a cache-sized block with each edge is SIMD work: 10 times faster than a binary search
# for each value, but it costs a numpy call an edge, so small arrays are searched.
_BLOCK_ROWS: Final = 16_384
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
        found = np.searchsorted(self._cuts, numbers.astype(np.float64), side="right")
        return np.bincount(found, minlength=len(self._cuts) + 1).astype(np.int64, copy=False)

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
    _bucket_of: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        buckets = dict.fromkeys(self.others, len(self.top))
        buckets |= {category: i for i, category in enumerate(self.top)}
        object.__setattr__(self, "_bucket_of", buckets)

    @classmethod
    def build(cls, values: Column, *, top: int = DEFAULT_TOP) -> Self:
        """Freeze the categories of a training sample.

        Args:
            values: strings and None, shape (N,).
            top: how many categories get a bucket of their own; ties go by name.
        """
        tally = Counter(v for v in values.tolist() if isinstance(v, str))
        ranked = sorted(tally, key=lambda category: (-tally[category], category))
        known = ranked[:MAX_KNOWN_CATEGORIES]
        own, others = tuple(known[:top]), frozenset(known[top:])
        empty = cls(own, others, np.zeros(len(own) + 3, np.int64))
        return cls(own, others, empty.counts(values))

    def counts(self, values: Column) -> Counts:
        """Return how many values lie in each bucket, int64, shape (T + 3,).

        Args:
            values: strings, shape (N,); None and NaN count as missing.
        """
        other = len(self.top)
        out = np.zeros(other + 3, np.int64)
        for value, rows in Counter(values.tolist()).items():
            # NaN is the only value that differs from itself.
            missing = value is None or value != value  # noqa: PLR0124
            out[other + 2 if missing else self._bucket_of.get(value, other + 1)] += rows
        return out

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


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """The references of one model version: each feature, and each output of the score.

    Attributes:
        features: feature name to its reference, in schema order.
        scores: one reference for each column of the scores; one when they are of shape (N,).
    """

    features: Mapping[str, Reference]
    scores: tuple[NumericReference, ...]

    @classmethod
    def build(
        cls, columns: Mapping[str, Column], scores: NDArray[np.float64], *, bins: int = DEFAULT_BINS
    ) -> Self:
        """Freeze the distributions of a training sample.

        Args:
            columns: feature name to its values, first axis the rows; string columns (object) become
                categories, everything else numeric references.
            scores: the model's scores of those rows, shape (N,) or (N, k).
            bins: see `NumericReference.build`.
        """
        features: dict[str, Reference] = {
            name: CategoryReference.build(values)
            if _is_category(values)
            else NumericReference.build(values, bins=bins)
            for name, values in columns.items()
        }
        outputs = (NumericReference.build(s, bins=bins) for s in _outputs(scores))
        return cls(features, tuple(outputs))

    def counts(self, columns: Mapping[str, Column]) -> dict[str, Counts]:
        """Return the counts of a window's features, by name; see each reference's `counts`.

        Raises:
            MonitorError: a column that the reference does not know.
        """
        unknown = sorted(columns.keys() - self.features.keys())
        if unknown:
            raise MonitorError(
                f"feature {unknown[0]!r} is not in the reference; compare with that of the bundle "
                f"that served"
            )
        return {name: self.features[name].counts(values) for name, values in columns.items()}

    def score_counts(self, scores: NDArray[np.float64]) -> tuple[Counts, ...]:
        """Return the counts of a window's scores, one array for each output.

        Raises:
            MonitorError: another number of outputs than in training.
        """
        outputs = _outputs(scores)
        if len(outputs) != len(self.scores):
            raise MonitorError(
                f"the scores have {len(outputs)} outputs, the reference {len(self.scores)}"
            )
        return tuple(r.counts(s) for r, s in zip(self.scores, outputs, strict=True))

    def to_bytes(self) -> bytes:
        """Return the references as JSON text; equal references give equal bytes."""
        features = {name: reference.to_json() for name, reference in self.features.items()}
        scores = [reference.to_json() for reference in self.scores]
        return orjson.dumps({"format": _FORMAT, "features": features, "scores": scores})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            MonitorError: it is something else, or damaged.
        """
        try:
            value = orjson.loads(data)
            if value["format"] != _FORMAT:
                raise MonitorError(f"reference format {value['format']!r}; this reads {_FORMAT}")
            features = {name: _from_json(each) for name, each in value["features"].items()}
            scores = tuple(NumericReference.from_json(each) for each in value["scores"])
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise MonitorError(f"not a reference: {e!r}; build the bundle anew") from e
        return cls(features, scores)


def _from_json(value: Mapping[str, Json]) -> Reference:
    if value["kind"] == "numeric":
        return NumericReference.from_json(value)
    return CategoryReference.from_json(value)


def _stored_counts(value: object, buckets: int) -> Counts:
    counts = np.array(value)
    if counts.dtype.kind != "i" or counts.shape != (buckets,) or (counts < 0).any():
        raise MonitorError(f"a reference with {buckets} buckets must have as many counts >= 0")
    return counts.astype(np.int64)


def _is_category(values: Column) -> bool:
    if values.dtype.kind != "O":
        return values.dtype.kind in "UT"
    held = next((v for v in values.flat if v is not None), "")
    return isinstance(held, str)


def _numbers(values: Column) -> Column:
    """Return numbers of any dtype, shape (N,); of a token list its length, of None NaN."""
    if values.dtype.kind != "O":
        return values.reshape(-1)
    lengths = (len(v) if isinstance(v, list) else v for v in values.flat)
    return np.array([np.nan if v is None else v for v in lengths], np.float64)


def _outputs(scores: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [scores] if scores.ndim == 1 else list(scores.T)


def _count_blocks(numbers: Column, cuts: NDArray[np.float64]) -> Counts:
    """Count by comparing blocks with each cut: the same integers as a search."""
    below = np.zeros(len(cuts) + 1, np.int64)
    below[-1] = len(numbers)
    mask = np.empty(_BLOCK_ROWS, np.bool_)
    finite_and_inf = list(enumerate(cuts[:-1].tolist()))
    for start in range(0, len(numbers), _BLOCK_ROWS):
        block = np.ascontiguousarray(numbers[start : start + _BLOCK_ROWS], np.float64)
        out = mask[: len(block)]
        for i, cut in finite_and_inf:
            below[i] += np.count_nonzero(np.less(block, cut, out=out))
        below[-2] += np.count_nonzero(np.equal(block, block, out=out))
    return np.diff(below, prepend=0)
