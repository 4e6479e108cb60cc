"""Columns: Parquet, Arrow and Feather by pyarrow, and numpy's own files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from consistency.arrow_bytes import arrow_stream
from consistency.parquet_bytes import parquet_table
from consistency.schema import FeatureSchema, FeatureType
from consistency.storage.form import NUMBERS, StorageForm
from consistency.storage.table import StorageTable

ArrowTable: TypeAlias = Any  # pyarrow has no types

_FLOATS: Final = (FeatureType.FLOAT64, FeatureType.FLOAT32)


def _arrow_table(table: StorageTable, *, narrow: bool = False, pandas: bool = False) -> ArrowTable:
    import pyarrow as pa

    kinds = {
        FeatureType.FLOAT64: pa.float32() if narrow else pa.float64(),
        FeatureType.FLOAT32: pa.float32(),
        FeatureType.INT64: pa.int64(),
        FeatureType.BOOL: pa.bool_(),
        FeatureType.STRING: pa.string(),
        FeatureType.TOKENS: pa.list_(pa.string()),
    }
    arrays = {
        n: pa.array(table.nulls(n), kinds[table.of_type(n)], from_pandas=pandas)
        for n in table.cells
    }
    return pa.table(arrays)


def _cells(read: ArrowTable, schema: FeatureSchema) -> StorageTable:
    return StorageTable(schema, {n: read.column(n).to_pylist() for n in schema.names})


def _write_parquet(table: StorageTable) -> bytes:
    return _parquet(_arrow_table(table))


def _write_parquet32(table: StorageTable) -> bytes:
    return _parquet(_arrow_table(table, narrow=True))


def _parquet(table: ArrowTable) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _read_parquet(data: bytes, schema: FeatureSchema) -> StorageTable:
    return _cells(parquet_table(data), schema)


def _ipc_writer(*, pandas: bool) -> Callable[[StorageTable], bytes]:
    def write(table: StorageTable) -> bytes:
        import pyarrow as pa

        held = _arrow_table(table, pandas=pandas)
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, held.schema) as writer:
            writer.write_table(held)
        return sink.getvalue()

    return write


def _read_ipc(data: bytes, schema: FeatureSchema) -> StorageTable:
    with arrow_stream(data) as reader:
        return _cells(reader.read_all(), schema)


def _write_feather(table: StorageTable) -> bytes:
    from pyarrow import feather

    sink = io.BytesIO()
    feather.write_feather(_arrow_table(table), sink, compression="uncompressed")
    return sink.getvalue()


def _read_feather(data: bytes, schema: FeatureSchema) -> StorageTable:
    from pyarrow import feather

    return _cells(feather.read_table(io.BytesIO(data), use_threads=False), schema)


def _write_npz(table: StorageTable) -> bytes:
    sink = io.BytesIO()
    columns = {f"column{i}": _array(table, n) for i, n in enumerate(table.cells)}
    np.savez(sink, **columns)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle for one
    return sink.getvalue()


def _array(table: StorageTable, name: str) -> np.ndarray[Any, Any]:  # Any: dtype by feature
    kind = table.of_type(name)
    if kind in _FLOATS:
        return table.numbers(name).astype(kind.numpy)
    return np.array(table.nulls(name), kind.numpy)


def _read_npz(data: bytes, schema: FeatureSchema) -> StorageTable:
    with np.load(io.BytesIO(data), allow_pickle=False) as held:
        cells = {n: held[f"column{i}"].tolist() for i, n in enumerate(schema.names)}
    return StorageTable(schema, cells)


def _matrix_writer(dtype: type[np.floating[Any]]) -> Callable[[StorageTable], bytes]:
    def write(table: StorageTable) -> bytes:
        sink = io.BytesIO()
        with np.errstate(over="ignore"):
            matrix = np.column_stack([table.numbers(n) for n in table.cells]).astype(dtype)
        np.save(sink, matrix)
        return sink.getvalue()

    return write


def _read_matrix(data: bytes, schema: FeatureSchema) -> StorageTable:
    matrix = np.load(io.BytesIO(data), allow_pickle=False)
    cells = {}
    for name, kind, column in zip(schema.names, schema.types, matrix.T, strict=True):
        whole = kind not in _FLOATS
        cells[name] = [int(v) for v in column.tolist()] if whole else column.tolist()
    return StorageTable(schema, cells)


_ONE_GAP: Final = "absent becomes null"
_NO_GAPS: Final = "has no gaps: null and absent become NaN"

COLUMNAR_FORMS: Final = (
    StorageForm("parquet", "Parquet, pyarrow", _ONE_GAP, _write_parquet, _read_parquet),
    StorageForm(
        "parquet.float32",
        "Parquet, float columns",
        f"float32 keeps 24 of 53 bits; {_ONE_GAP}",
        _write_parquet32,
        _read_parquet,
    ),
    StorageForm("arrow", "Arrow IPC", _ONE_GAP, _ipc_writer(pandas=False), _read_ipc),
    StorageForm(
        "arrow.from_pandas",
        "Arrow IPC, from_pandas=True",
        f"turns NaN into null; {_ONE_GAP}",
        _ipc_writer(pandas=True),
        _read_ipc,
    ),
    StorageForm("feather", "Feather, pyarrow", _ONE_GAP, _write_feather, _read_feather),
    StorageForm(
        "numpy.npz", "numpy npz, an array a feature", _NO_GAPS, _write_npz, _read_npz, NUMBERS
    ),
    StorageForm(
        "numpy.npy",
        "numpy npy, one float64 matrix",
        f"{_NO_GAPS}; integers beyond 2**53 are rounded",
        _matrix_writer(np.float64),
        _read_matrix,
        NUMBERS,
    ),
    StorageForm(
        "numpy.npy32",
        "numpy npy, one float32 matrix",
        f"float32 keeps 24 of 53 bits; {_NO_GAPS}",
        _matrix_writer(np.float32),
        _read_matrix,
        NUMBERS,
    ),
)
