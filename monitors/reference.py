"""The frozen training distribution of a model version, and counts of later windows in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.jsontype import Json
from consistency.records import Column
from monitors.buckets import (
    DEFAULT_BINS,
    MAX_KNOWN_CATEGORIES,
    CategoryReference,
    Counts,
    NumericReference,
    Reference,
    held_out_counts,
)
from monitors.derived import derived_parts, derived_values
from monitors.errors import MonitorError
from monitors.reference_blocks import BLOCK_SECONDS, MOST_BLOCKS, ReferenceBlocks

__all__ = [
    "DEFAULT_BINS",
    "MAX_KNOWN_CATEGORIES",
    "CategoryReference",
    "Counts",
    "NumericReference",
    "Reference",
    "ReferenceSet",
]

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """The references of one model version: each feature, and each output of the score.

    Attributes:
        features: feature name to its reference, in schema order.
        scores: one reference for each column of the scores; one when they are of shape (N,).
        derived: `name[tokens]` of each token list, `name[length]` of each text; see `derived.py`.
        score_means: feature name to the mean of each output in each of its buckets, float64, shape
            (outputs, B); a bucket without training rows has the overall mean. For `ranking`.
        blocks: what each day of the training sample held; None when its times are not known, as in
            bundles of earlier releases.
    """

    features: Mapping[str, Reference]
    scores: tuple[NumericReference, ...]
    derived: Mapping[str, Reference] = field(default_factory=dict)
    score_means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    blocks: ReferenceBlocks | None = None

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
        features = {name: _built(values, bins) for name, values in columns.items()}
        derived = {
            f"{name}[{part}]": _built(derived_values(values, part), bins)
            for name, values in columns.items()
            for part in derived_parts(values)
        }
        outputs = _outputs(scores)
        means = {
            name: _bucket_means(features[name], values, outputs)
            for name, values in columns.items()
            if values.ndim == 1 and len(values) == len(scores)
        }
        built = tuple(NumericReference.build(s, bins=bins) for s in outputs)
        return cls(features, built, derived, means)

    def with_blocks(
        self, columns: Mapping[str, Column], scores: NDArray[np.float64],
        times_us: NDArray[np.int64], length_s: int = BLOCK_SECONDS,
    ) -> Self:  # fmt: skip
        """Return it with what each block of time of the sample held.

        Args:
            columns: as for `build`.
            scores: likewise.
            times_us: when each row happened, microseconds since the epoch, shape (N,), any order.
            length_s: of a block, seconds. Of more than `MOST_BLOCKS`, the latest are kept. A
                category that one block alone holds is unseen in it, as it would be in a later one.

        Raises:
            MonitorError: there are not as many times as rows.
        """
        if times_us.shape != (len(scores),):
            raise MonitorError(f"{len(times_us)} times for {len(scores)} rows; give one for each")
        number = times_us // (length_s * 1_000_000)
        order = np.argsort(number, kind="stable")
        starts, first = np.unique(number[order], return_index=True)
        rows = np.split(order, first[1:])[-MOST_BLOCKS:]
        counted = [self.counts({n: v[each] for n, v in columns.items()}) for each in rows]
        for name, reference in self.measures.items():
            if isinstance(reference, CategoryReference) and len(rows) > 1:
                values = [self._values(columns, name, each) for each in rows]
                pairs = zip(counted, held_out_counts(reference, values), strict=True)
                for block, counts in pairs:
                    block[name] = counts
        held = [self.score_counts(scores[each]) for each in rows]
        blocks = ReferenceBlocks(
            length_s,
            starts[-MOST_BLOCKS:] * length_s,
            {name: np.stack([c[name] for c in counted]) for name in counted[0]},
            tuple(np.stack(each) for each in zip(*held, strict=True)),
        )
        return replace(self, blocks=blocks)

    def _values(self, columns: Mapping[str, Column], name: str, rows: NDArray[np.intp]) -> Column:
        if name in columns:
            return columns[name][rows]
        base, _, part = name.removesuffix("]").rpartition("[")
        return derived_values(columns[base][rows], part)

    def distributions(self) -> Self:
        """Return it without the blocks: all that is needed to count."""
        return replace(self, score_means={}, blocks=None)

    @property
    def measures(self) -> dict[str, Reference]:
        """The references of all that is counted: features, then what is derived from them."""
        return {**self.features, **self.derived}

    def counts(self, columns: Mapping[str, Column]) -> dict[str, Counts]:
        """Return the counts of a window's features and of what is derived from them, by name.

        Raises:
            MonitorError: a column that the reference does not know.
        """
        unknown = sorted(columns.keys() - self.features.keys())
        if unknown:
            raise MonitorError(
                f"feature {unknown[0]!r} is not in the reference; compare with that of the bundle "
                f"that served"
            )
        found = {name: self.features[name].counts(values) for name, values in columns.items()}
        for name, reference in self.derived.items():
            base, _, part = name.removesuffix("]").rpartition("[")
            if base in columns:
                found[name] = reference.counts(derived_values(columns[base], part))
        return found

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
        value: dict[str, Json] = {
            "format": _FORMAT,
            "features": {name: reference.to_json() for name, reference in self.features.items()},
            "scores": [reference.to_json() for reference in self.scores],
        }
        if self.derived:
            value["derived"] = {name: each.to_json() for name, each in self.derived.items()}
        if self.score_means:
            value["score_means"] = {n: means.tolist() for n, means in self.score_means.items()}
        if self.blocks is not None:
            value["blocks"] = self.blocks.to_json()
        return orjson.dumps(value)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote, now or in an earlier release.

        Raises:
            MonitorError: it is something else, or damaged.
        """
        try:
            value = orjson.loads(data)
            if value["format"] != _FORMAT:
                raise MonitorError(f"reference format {value['format']!r}; this reads {_FORMAT}")
            features = {name: _from_json(each) for name, each in value["features"].items()}
            scores = tuple(NumericReference.from_json(each) for each in value["scores"])
            derived = {name: _from_json(each) for name, each in value.get("derived", {}).items()}
            means = {
                name: _stored_means(each, (len(scores), len(features[name].training_counts)))
                for name, each in value.get("score_means", {}).items()
            }
            read = cls(features, scores, derived, means)
            return replace(read, blocks=read._stored_blocks(value.get("blocks")))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise MonitorError(f"not a reference: {e!r}; build the bundle anew") from e

    def _stored_blocks(self, value: Mapping[str, Json] | None) -> ReferenceBlocks | None:
        if value is None:
            return None
        buckets = {name: len(each.training_counts) for name, each in self.measures.items()}
        outputs = [len(each.training_counts) for each in self.scores]
        return ReferenceBlocks.from_json(value, buckets, outputs)


def _built(values: Column, bins: int) -> Reference:
    if _is_category(values):
        return CategoryReference.build(values)
    return NumericReference.build(values, bins=bins)


def _bucket_means(
    reference: Reference, values: Column, outputs: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the mean of each output in each bucket, shape (outputs, B)."""
    buckets, size = reference.buckets(values), len(reference.training_counts)
    rows = np.bincount(buckets, minlength=size)
    means = np.empty((len(outputs), size))
    for mean, scores in zip(means, outputs, strict=True):
        known = np.where(np.isfinite(scores), scores, 0.0)
        # Divided before they are added: the sum of the largest floats is none.
        inside = np.bincount(buckets, known / rows[buckets], minlength=size)
        mean[:] = np.where(rows > 0, inside, np.sum(known / max(len(known), 1)))
    return means


def _stored_means(value: object, shape: tuple[int, int]) -> NDArray[np.float64]:
    means = np.array(value, np.float64)
    if means.shape != shape or not np.isfinite(means).all():
        raise MonitorError(f"the mean scores of a feature must be {shape[0]} times {shape[1]}")
    return means


def _from_json(value: Mapping[str, Json]) -> Reference:
    if value["kind"] == "numeric":
        return NumericReference.from_json(value)
    return CategoryReference.from_json(value)


def _is_category(values: Column) -> bool:
    if values.dtype.kind != "O":
        return values.dtype.kind in "UT"
    held = next((v for v in values.flat if v is not None), "")
    return isinstance(held, str)


def _outputs(scores: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [scores] if scores.ndim == 1 else list(scores.T)
