"""How scored rows lie side by side as numbers, and which buckets of the reference judge them.

A row is a line of float64 columns: the features, a category as the number of its bucket and a token
list as its length, then the scores. The layout can be written down as JSON, reference included, so
that whoever finds a worker's rows can count them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.schema import FeatureType
from monitors.reference import CategoryReference, NumericReference, Reference, ReferenceSet

_LARGEST: Final = float(np.finfo(np.float64).max)
_NOTHING_KNOWN: Final = NumericReference(np.empty(0), np.zeros(4, np.int64))


@dataclass(frozen=True, slots=True)
class FeatureColumns:
    """One feature's place in a row.

    Attributes:
        name: of the feature.
        type: its dtype.
        width: entries a row; 1 unless it is a tensor.
    """

    name: str
    type: FeatureType
    width: int = 1

    @property
    def is_category(self) -> bool:
        """Whether its column holds bucket numbers."""
        return self.type is FeatureType.STRING


@dataclass(frozen=True, eq=False)
class RowLayout:
    """The columns of a row, float64 scalars first, scores last.

    Attributes:
        features: in the order of their columns.
        outputs: scores a row.
        references: what the model was trained on; None: nothing is known, so that nothing is
            unseen or out of range, and there is no stability index.
    """

    features: tuple[FeatureColumns, ...]
    outputs: int
    references: ReferenceSet | None
    place: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", {f.name: i for i, f in enumerate(self.features)})

    @classmethod
    def of(cls, batch: FeatureBatch | None, outputs: int, references: ReferenceSet | None) -> Self:
        """Return the layout of batches such as this one; no feature without a batch."""
        if batch is None:
            return cls((), outputs, references)
        schema = batch.schema
        types = dict(zip(schema.names, schema.types, strict=True))
        others = [n for n in schema.names if n not in set(schema.numeric_names)]
        wide = (FeatureColumns(n, types[n], _width(batch, n)) for n in others)
        scalars = (FeatureColumns(n, FeatureType.FLOAT64) for n in schema.numeric_names)
        return cls((*scalars, *wide), outputs, references)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first column of each feature."""
        ends = np.cumsum([f.width for f in self.features], dtype=np.int64)
        return tuple((ends - [f.width for f in self.features]).tolist())

    @cached_property
    def columns(self) -> int:
        """Columns of a row, scores included."""
        return sum(f.width for f in self.features) + self.outputs

    @cached_property
    def judged(self) -> tuple[Reference | None, ...]:
        """The reference of each feature, None without one of its kind, then that of each score."""
        if self.references is None:
            return (None,) * (len(self.features) + self.outputs)
        kinds = {True: CategoryReference, False: NumericReference}
        found = (self.references.features.get(f.name) for f in self.features)
        pairs = zip(found, self.features, strict=True)
        features = (r if isinstance(r, kinds[f.is_category]) else None for r, f in pairs)
        scores = self.references.scores
        fit = len(scores) == self.outputs
        return (*features, *(scores if fit else (None,) * self.outputs))

    @cached_property
    def bucket_slices(self) -> tuple[slice | None, ...]:
        """Where each feature's and each score's buckets are in a window's counts."""
        slices: list[slice | None] = []
        end = 0
        for reference in self.judged:
            size = 0 if reference is None else len(reference.training_counts)
            slices.append(slice(end, end + size) if reference is not None else None)
            end += size
        return tuple(slices)

    @cached_property
    def buckets(self) -> int:
        """Buckets of all features and scores together."""
        return sum(len(r.training_counts) for r in self.judged if r is not None)

    def to_json(self) -> dict[str, Json]:
        """Return the layout as JSON types, the inverse of `from_json`."""
        # What the alarms of drift jobs need besides would fill the file for nothing.
        references = None if self.references is None else self.references.distributions()
        return {
            "features": [[f.name, f.type, f.width] for f in self.features],
            "outputs": self.outputs,
            "reference": "" if references is None else references.to_bytes().decode(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build the layout that `to_json` described."""
        features = (FeatureColumns(n, FeatureType(t), w) for n, t, w in value["features"])
        text = value["reference"]
        references = ReferenceSet.from_bytes(text.encode()) if text else None
        return cls(tuple(features), value["outputs"], references)


def number_cuts(reference: Reference | None) -> NDArray[np.float64]:
    """Return the cuts between the buckets of a number: the lowest finite one, the edges, +inf."""
    numeric = reference if isinstance(reference, NumericReference) else _NOTHING_KNOWN
    return np.concatenate(([-_LARGEST], numeric.edges, [np.inf]))


def outside_buckets(reference: Reference | None) -> NDArray[np.bool_]:
    """Return for each bucket of a number whether it lies below or above all of training."""
    if not isinstance(reference, NumericReference):
        return np.zeros(len(_NOTHING_KNOWN.training_counts), np.bool_)
    outside = np.zeros(len(reference.training_counts), np.bool_)
    outside[[0, 1, -3, -2]] = True
    # an infinity that training held is no news
    outside[[0, -2]] = reference.training_counts[[0, -2]] == 0
    return outside


class CategoryCodes:
    """Turns categories into the numbers of their buckets.

    Args:
        reference: knows the categories; without one all are alike.
    """

    def __init__(self, reference: Reference | None) -> None:
        self._codes: dict[object, int] = {}
        self._other, self._missing = 0, 2
        if isinstance(reference, CategoryReference):
            own = len(reference.top)
            self._codes.update(dict.fromkeys(reference.others, own))
            self._codes.update((category, i) for i, category in enumerate(reference.top))
            self._other, self._missing = own + 1, own + 2

    def code(self, value: object) -> int:
        """Return the bucket of a category; None and NaN are missing."""
        if value is None or value != value:  # noqa: PLR0124 - NaN alone differs from itself
            return self._missing
        return self._codes.get(value, self._other)


def _width(batch: FeatureBatch, name: str) -> int:
    column = batch.others[name]
    return column.size // batch.rows if column.dtype.kind != "O" else 1
