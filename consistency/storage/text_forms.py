"""Text: JSON Lines and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any, Final

import orjson

from consistency.schema import FeatureSchema, FeatureType
from consistency.storage.form import SCALARS, StorageForm
from consistency.storage.table import Cells, StorageTable, is_gap, table_from_objects

_FLOATS: Final = (FeatureType.FLOAT64, FeatureType.FLOAT32)


def _write_orjson(table: StorageTable) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in table.row_objects())


def _read_orjson(data: bytes, schema: FeatureSchema) -> StorageTable:
    return table_from_objects(schema, [orjson.loads(line) for line in data.splitlines()])


def _write_json(table: StorageTable) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in table.row_objects()).encode()


def _read_json(data: bytes, schema: FeatureSchema) -> StorageTable:
    return table_from_objects(schema, [json.loads(line) for line in data.splitlines()])


def csv_writer(number: Callable[[float], str]) -> Callable[[StorageTable], bytes]:
    """Return a CSV writer that prints floats so; a row number comes first, a gap is empty.

    Without the row number, a row of one empty cell would be a blank line, which readers skip.
    """

    def write(table: StorageTable) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerow(["", *table.cells])
        columns = [_texts(cells, number) for cells in table.cells.values()]
        writer.writerows([i, *row] for i, row in enumerate(zip(*columns, strict=True)))
        return out.getvalue().encode()

    return write


def _texts(cells: Cells, number: Callable[[float], str]) -> list[str]:
    return ["" if is_gap(c) else number(c) if isinstance(c, float) else str(c) for c in cells]


def read_csv(data: bytes, schema: FeatureSchema) -> StorageTable:
    """Read what `csv_writer` wrote: each text becomes its feature's declared type."""
    rows = csv.reader(io.StringIO(data.decode(), newline=""))
    names = next(rows)[1:]
    columns = zip(*(row[1:] for row in rows), strict=True)
    return StorageTable(schema, {n: cells_of_texts(c, schema, n) for n, c in zip(names, columns)})  # noqa: B905 - a file without rows has no columns


def cells_of_texts(texts: Any, schema: FeatureSchema, name: str) -> Cells:  # noqa: ANN401 - any iterable of texts and gaps
    """Return texts as cells of a feature's type; an empty or missing text is null."""
    kind = schema.types[schema.names.index(name)]
    return [None if text in ("", None) else _CONVERT[kind](text) for text in texts]


_CONVERT: Final[dict[FeatureType, Callable[[str], Any]]] = {  # Any: Python values by type
    FeatureType.FLOAT64: float,
    FeatureType.FLOAT32: float,
    FeatureType.INT64: int,
    FeatureType.BOOL: lambda text: text in ("True", "true", "1"),
    FeatureType.STRING: str,
}

_GAPS: Final = "a gap is an empty cell, so null, absent and the empty text are one"

TEXT_FORMS: Final = (
    StorageForm(
        "json.orjson",
        "JSON, orjson",
        "prints every digit; JSON has no NaN or infinity: orjson writes null",
        _write_orjson,
        _read_orjson,
    ),
    StorageForm(
        "json.python",
        "JSON, Python's json",
        "prints every digit; NaN and Infinity are written as such, which other readers refuse",
        _write_json,
        _read_json,
    ),
    StorageForm(
        "csv.repr",
        "CSV, shortest digits that read back (repr, %.17g)",
        _GAPS,
        csv_writer(repr),
        read_csv,
        SCALARS,
    ),
    StorageForm(
        "csv.15g",
        "CSV, %.15g",
        f"15 digits move most doubles by a unit in the last place; {_GAPS}",
        csv_writer(lambda value: f"{value:.15g}"),
        read_csv,
        SCALARS,
    ),
    StorageForm(
        "csv.6f",
        "CSV, %.6f",
        f"six decimals: small values lose all their digits; {_GAPS}",
        csv_writer(lambda value: f"{value:.6f}"),
        read_csv,
        SCALARS,
    ),
)
