"""SQLite: numbers as REAL, or as text."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from consistency.schema import FeatureSchema, FeatureType
from consistency.storage.form import SCALARS, StorageForm
from consistency.storage.table import Cells, StorageTable
from consistency.storage.text_forms import cells_of_texts

_REAL: Final = {
    FeatureType.FLOAT64: "REAL",
    FeatureType.FLOAT32: "REAL",
    FeatureType.INT64: "INTEGER",
    FeatureType.BOOL: "INTEGER",
    FeatureType.STRING: "TEXT",
}


def _writer(*, text: bool) -> Callable[[StorageTable], bytes]:
    def write(table: StorageTable) -> bytes:
        kinds = ["TEXT" if text else _REAL[t] for t in table.schema.types]
        columns = [_texts(table.nulls(n)) if text else table.nulls(n) for n in table.cells]
        with contextlib.closing(sqlite3.connect(":memory:")) as base:
            # positions, not names: a feature's name never becomes part of a statement
            declared = ", ".join(f"c{i} {kind}" for i, kind in enumerate(kinds))
            base.execute(f"CREATE TABLE features (id INTEGER PRIMARY KEY, {declared})")
            marks = ", ".join("?" * (len(kinds) + 1))
            rows = zip(range(table.rows), *columns, strict=True)
            base.executemany(f"INSERT INTO features VALUES ({marks})", rows)  # noqa: S608 - question marks alone
            base.commit()
            return base.serialize()

    return write


def _texts(cells: Cells) -> Cells:
    return [None if c is None else c if isinstance(c, str) else repr(c) for c in cells]


def _read(data: bytes, schema: FeatureSchema) -> StorageTable:
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(data)
        rows = base.execute("SELECT * FROM features ORDER BY id").fetchall()
    columns: list[list[Any]] = [list(c) for c in zip(*rows, strict=True)][1:]
    cells = {}
    for name, kind, column in zip(schema.names, schema.types, columns, strict=True):
        whole = kind is FeatureType.BOOL
        cells[name] = [bool(c) if whole and c is not None else c for c in column]
    return StorageTable(schema, cells)


def _read_texts(data: bytes, schema: FeatureSchema) -> StorageTable:
    strings = FeatureSchema(schema.names, (FeatureType.STRING,) * len(schema))
    held = _read(data, strings).cells
    kinds = dict(zip(schema.names, schema.types, strict=True))
    cells = {
        n: c if kinds[n] is FeatureType.STRING else cells_of_texts(c, schema, n)
        for n, c in held.items()
    }
    return StorageTable(schema, cells)


SQLITE_FORMS: Final = (
    StorageForm(
        "sqlite.real",
        "SQLite, REAL columns",
        "stores NaN as NULL, and -0.0 as the integer 0; absent becomes null",
        _writer(text=False),
        _read,
        SCALARS,
    ),
    StorageForm(
        "sqlite.text",
        "SQLite, TEXT columns of all digits",
        "absent becomes null",
        _writer(text=True),
        _read_texts,
        SCALARS,
    ),
)
