"""Feature rows: what a pipeline makes and a backend scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType


class FeatureStatus(IntEnum):
    """Why a feature value is what it is; kept beside the value, since NaN alone cannot tell."""

    OK = 0
    NULL = 1
    """The raw field was null."""
    ABSENT = 2
    """The raw field (or libsvm index) was not there."""
    UNSEEN = 3
    """A category that training never saw."""
    NO_MATCH = 4
    """A lookup that found no row."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What a column function may return: values with a status beside each.

    Attributes:
        values: shape (N,) or (N, k).
        status: `FeatureStatus` codes, uint8, shape (N,) (k columns then share it), or None: all OK.
    """

    values: Column
    status: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """N feature rows.

    Attributes:
        schema: names, dtypes, order.
        rows: N.
        numeric: the float64 features side by side, shape (N, k) with k = number of FLOAT64 features
            in schema order; Fortran order, so that each column is contiguous.
        others: every other feature by name: shape (N,) or (N, ...), its dtype as declared.
        status: `FeatureStatus` codes by feature name (uint8, shape (N,)); a feature that is not
            there is OK in every row.
        snapshots: lookup name to the snapshot id that was read.
    """

    schema: FeatureSchema
    rows: int
    numeric: NDArray[np.float64]
    others: Mapping[str, Column] = field(default_factory=dict)
    status: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    snapshots: Mapping[str, str] = field(default_factory=dict)

    def matrix(self) -> NDArray[np.float64]:
        """Return all features as one float64 matrix, shape (N, F), C order.

        Raises:
            ConfigError: a feature is a string or a token list; such a model takes named tensors.
        """
        if self.numeric.shape[1] == len(self.schema):
            return np.ascontiguousarray(self.numeric)
        out = np.empty((self.rows, len(self.schema)))
        for j, (name, kind) in enumerate(zip(self.schema.names, self.schema.types, strict=True)):
            if kind in (FeatureType.STRING, FeatureType.TOKENS):
                raise ConfigError(f"feature {name!r} is a {kind}: it has no place in a matrix")
            out[:, j] = self.column(name)
        return out

    def column(self, name: str) -> Column:
        """Return one feature's values, shape (N,) (or (N, ...) for a tensor feature)."""
        if name in self.others:
            return self.others[name]
        return self.numeric[:, self.schema.numeric_names.index(name)]

    def columns(self) -> dict[str, Column]:
        """Return every feature by name, in schema order."""
        numeric = dict(zip(self.schema.numeric_names, self.numeric.T, strict=True))
        return {n: numeric[n] if n in numeric else self.others[n] for n in self.schema.names}


def declared_column(name: str, values: object, kind: FeatureType, rows: int) -> Column:
    """Return what a pipeline's function made as a column of the declared dtype, shape (N, ...).

    Args:
        name: of the feature, for messages.
        values: an array, or a list of N entries.
        kind: the declared dtype. Numbers become it only when no digit can be cut off: float64 is
            rounded to float32, but never truncated to int64.
        rows: N.

    Raises:
        ConfigError: another number of rows, or a dtype that would have to be guessed.
    """
    column = _token_lists(values) if kind is FeatureType.TOKENS else np.asarray(values)
    target = np.dtype(kind.numpy)
    if column.shape[:1] != (rows,):
        raise ConfigError(f"feature {name!r} has shape {column.shape} for {rows} rows")
    objects_to_floats = column.dtype == object and target.kind == "f"
    if not objects_to_floats and not np.can_cast(column.dtype, target, "same_kind"):
        raise ConfigError(
            f"feature {name!r} is declared {kind}, but its function made {column.dtype}; convert "
            f"it there, or declare what it makes"
        )
    return column.astype(target, copy=False)


def _token_lists(values: object) -> Column:
    if isinstance(values, np.ndarray):
        return values
    entries = list(values) if isinstance(values, Iterable) else [values]
    column = np.empty(len(entries), object)
    column[:] = entries  # np.array would make lists of the same length a matrix
    return column


def feature_batch(
    schema: FeatureSchema, columns: Mapping[str, Column], status: Mapping[str, NDArray[np.uint8]]
) -> FeatureBatch:
    """Build a batch from one array a feature (shape (N,), dtype as declared)."""
    floats = schema.numeric_names
    rows = len(next(iter(columns.values())))
    numeric = np.empty((rows, len(floats)), order="F")
    for j, name in enumerate(floats):
        numeric[:, j] = columns[name]
    others = {n: columns[n] for n in schema.names if n not in set(floats)}
    return FeatureBatch(schema, rows, numeric, others, status)


def take_rows(batch: FeatureBatch, rows: slice | NDArray[np.intp]) -> FeatureBatch:
    """Return the chosen rows of a batch, in the order given; a row may be taken more than once.

    Args:
        batch: the rows to choose from.
        rows: a slice (then the answer shares memory with `batch`), or row indices of shape (M,).

    Raises:
        IndexError: an index is outside the batch.
    """
    count = len(range(*rows.indices(batch.rows))) if isinstance(rows, slice) else len(rows)
    # Each feature's values stay side by side in memory, as `numeric` promises.
    columns = batch.numeric.T
    chosen = columns[:, rows] if isinstance(rows, slice) else np.take(columns, rows, axis=1)
    return FeatureBatch(
        schema=batch.schema,
        rows=count,
        numeric=chosen.T,
        others={name: column[rows] for name, column in batch.others.items()},
        status={name: codes[rows] for name, codes in batch.status.items()},
        snapshots=batch.snapshots,
    )
