"""Feature values on their way through storage: cells that are there, null, or absent.

What a form of storage confuses first is not a digit but a missing value, so null, absent, NaN,
±inf, -0.0 and the empty text are kept apart here, cell by cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureBatch, FeatureStatus
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType

Cells: TypeAlias = list[Any]  # Any: Python values of a feature, None for null, ABSENT for absent


class _Absent:
    """The type of the marker for a cell that is not there at all."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class StorageTable:
    """N feature rows as storage sees them.

    Attributes:
        schema: names and types, in order.
        cells: feature name to N cells: Python values, None for null, `ABSENT` for absent.
    """

    schema: FeatureSchema
    cells: Mapping[str, Cells]

    @property
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.cells.values()), []))

    def of_type(self, name: str) -> FeatureType:
        """Return the declared type of a feature."""
        return self.schema.types[self.schema.names.index(name)]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a feature as float64, shape (N,): null and absent are NaN."""
        return np.array([math.nan if is_gap(c) else c for c in self.cells[name]], np.float64)

    def nulls(self, name: str) -> Cells:
        """Return the cells with null in place of absent, for forms that have one kind of gap."""
        return [None if c is ABSENT else c for c in self.cells[name]]

    def row_objects(self) -> list[dict[str, Any]]:
        """Return one object a row, an absent cell left out."""
        names = list(self.cells)
        rows = zip(*self.cells.values(), strict=True)
        return [{n: c for n, c in zip(names, row, strict=True) if c is not ABSENT} for row in rows]


def table_from_objects(schema: FeatureSchema, rows: Sequence[Mapping[str, Any]]) -> StorageTable:
    """Return the table that objects, one a row, make; a key that is not there is absent."""
    cells = {n: [row.get(n, ABSENT) for row in rows] for n in schema.names}
    return StorageTable(schema, cells)


def table_from_batch(batch: FeatureBatch) -> StorageTable:
    """Return the cells of feature rows.

    A missing value (NaN or None) is null or absent where its status says so; a NaN of any other
    status is a NaN, and a filled value is a value.
    """
    cells: dict[str, Cells] = {}
    for name, column in batch.columns().items():
        codes = batch.status.get(name)
        values: Cells = column.tolist()
        if codes is not None:
            values = [_marked(v, int(c)) for v, c in zip(values, codes, strict=True)]
        cells[name] = values
    return StorageTable(batch.schema, cells)


def batch_from_table(table: StorageTable, like: FeatureBatch) -> FeatureBatch:
    """Return feature rows of what came back; a gap is NaN (or None) with the status of its kind.

    Args:
        table: what came back.
        like: the rows that were stored; statuses other than null and absent are taken from there.

    Raises:
        ValueError, OverflowError, TypeError: a cell cannot become the feature's declared type.
    """
    columns = {n: _column(table.cells[n], t) for n, t in _pairs(table.schema)}
    status = {n: _codes(table.cells[n], like.status.get(n)) for n in table.schema.names}
    floats = table.schema.numeric_names
    numeric = np.empty((like.rows, len(floats)), order="F")
    for j, name in enumerate(floats):
        numeric[:, j] = columns[name]
    others = {n: columns[n] for n in table.schema.names if n not in set(floats)}
    held = {n: c for n, c in status.items() if c.any()}
    return FeatureBatch(table.schema, like.rows, numeric, others, held, like.snapshots)


def kind_of(cell: object) -> str:
    """Say what a cell is, for the account of what turned into what.

    >>> kind_of(-0.0), kind_of(float("nan")), kind_of(None), kind_of(ABSENT), kind_of(1.5)
    ('-0.0', 'NaN', 'null', 'absent', 'value')
    """
    if cell is None:
        return "null"
    if cell is ABSENT:
        return "absent"
    if isinstance(cell, str):
        return "value" if cell else "empty text"
    if isinstance(cell, list):
        return "value" if cell else "empty list"
    if not isinstance(cell, float):
        return "value"
    if math.isnan(cell):
        return "NaN"
    if math.isinf(cell):
        return "inf" if cell > 0 else "-inf"
    return "-0.0" if cell == 0 and math.copysign(1.0, cell) < 0 else "value"


def is_gap(cell: object) -> bool:
    """Whether a cell is null or absent."""
    return cell is None or cell is ABSENT


def _marked(value: object, code: int) -> object:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing and code == FeatureStatus.ABSENT:
        return ABSENT
    return None if missing and code == FeatureStatus.NULL else value


def _pairs(schema: FeatureSchema) -> list[tuple[str, FeatureType]]:
    return list(zip(schema.names, schema.types, strict=True))


def _column(cells: Cells, kind: FeatureType) -> Column:
    if kind in (FeatureType.FLOAT64, FeatureType.FLOAT32):
        return np.array([math.nan if is_gap(c) else c for c in cells], kind.numpy)
    if kind in (FeatureType.STRING, FeatureType.TOKENS):
        out = np.empty(len(cells), object)
        out[:] = [None if is_gap(c) else c for c in cells]
        return out
    return np.array([0 if is_gap(c) else c for c in cells], kind.numpy)


def _codes(cells: Cells, before: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    gaps = (FeatureStatus.NULL, FeatureStatus.ABSENT)
    kept = np.zeros(len(cells), np.uint8) if before is None else before.copy()
    kept[np.isin(kept, gaps)] = FeatureStatus.OK
    for row, cell in enumerate(cells):
        if is_gap(cell):
            kept[row] = FeatureStatus.ABSENT if cell is ABSENT else FeatureStatus.NULL
    return kept
