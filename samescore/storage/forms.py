"""Every form of storage, and those that need pandas.

The light ones stand in `consistency.storage`, TensorFlow's records in `storage_protobuf`. Each is
used as a reader who knows the declared types uses it, and otherwise with the library's defaults:
those are what moves values.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from consistency.schema import FeatureSchema, FeatureType
from consistency.storage import LIGHT_FORMS, StorageForm, StorageTable
from consistency.storage.form import NUMBERS, SCALARS
from consistency.storage.table import Cells
from samescore.storage.protobuf import PROTOBUF_FORMS

if TYPE_CHECKING:
    import pandas as pd

_DEFAULT_DECIMALS: Final = 10  # what to_json writes unless told otherwise
_FLOATS: Final = (FeatureType.FLOAT64, FeatureType.FLOAT32)


def all_forms() -> tuple[StorageForm, ...]:
    """Return every form that samescore knows, the light ones first."""
    return (*LIGHT_FORMS, *PANDAS_FORMS, *PROTOBUF_FORMS)


def _frame(table: StorageTable) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}  # Any: arrays and lists
    for name in table.cells:
        kind = table.of_type(name)
        if kind in _FLOATS:
            columns[name] = table.numbers(name).astype(kind.numpy)
        else:
            columns[name] = pd.Series(table.nulls(name), dtype=_dtype(kind))
    return pd.DataFrame(columns)


def _dtype(kind: FeatureType) -> Any:  # noqa: ANN401 - pandas' own names of dtypes
    return {FeatureType.INT64: "int64", FeatureType.BOOL: "bool"}.get(kind, "object")


def _cells(frame: pd.DataFrame, schema: FeatureSchema) -> StorageTable:
    cells: dict[str, Cells] = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        values: Cells = frame[name].tolist()
        if kind is FeatureType.STRING:
            values = [v if isinstance(v, str) else None for v in values]
        elif kind in _FLOATS:
            values = [float(v) for v in values]
        cells[name] = values
    return StorageTable(schema, cells)


def _json_writer(decimals: int) -> Callable[[StorageTable], bytes]:
    def write(table: StorageTable) -> bytes:
        frame = _frame(table)
        return frame.to_json(orient="records", lines=True, double_precision=decimals).encode()

    return write


def _json_reader(*, precise: bool) -> Callable[[bytes, FeatureSchema], StorageTable]:
    def read(data: bytes, schema: FeatureSchema) -> StorageTable:
        import pandas as pd

        frame = pd.read_json(
            io.BytesIO(data),
            orient="records",
            lines=True,
            dtype=_texts(schema),
            convert_dates=False,
            precise_float=precise,
        )
        return _cells(frame, schema)

    return read


def _texts(schema: FeatureSchema) -> dict[str, Any]:  # Any: pandas' own names of dtypes
    pairs = zip(schema.names, schema.types, strict=True)
    return {n: "object" if t is FeatureType.STRING else t.value for n, t in pairs}


def _write_csv(table: StorageTable) -> bytes:
    return _frame(table).to_csv().encode()


def _csv_reader(precision: str | None) -> Callable[[bytes, FeatureSchema], StorageTable]:
    def read(data: bytes, schema: FeatureSchema) -> StorageTable:
        import pandas as pd

        options: Any = {"float_precision": precision, "dtype": _texts(schema)}  # Any: literals
        return _cells(pd.read_csv(io.BytesIO(data), index_col=0, **options), schema)

    return read


def _write_parquet(table: StorageTable) -> bytes:
    sink = io.BytesIO()
    _frame(table).to_parquet(sink)
    return sink.getvalue()


def _read_parquet(data: bytes, schema: FeatureSchema) -> StorageTable:
    import pandas as pd

    return _cells(pd.read_parquet(io.BytesIO(data)), schema)


_GAPS: Final = "a data frame has one gap: null and absent become NaN"

PANDAS_FORMS: Final = (
    StorageForm(
        "pandas.to_json",
        "pandas to_json, read_json(precise_float=True)",
        f"to_json writes ten decimals unless double_precision says otherwise; {_GAPS}",
        _json_writer(_DEFAULT_DECIMALS),
        _json_reader(precise=True),
        NUMBERS,
        "pandas",
    ),
    StorageForm(
        "pandas.read_json",
        "pandas to_json(double_precision=15), read_json",
        f"15 decimals, and without precise_float=True read_json is inexact; {_GAPS}",
        _json_writer(15),
        _json_reader(precise=False),
        NUMBERS,
        "pandas",
    ),
    StorageForm(
        "pandas.csv",
        "pandas to_csv, read_csv",
        f"read_csv of pandas below 3.1 is inexact without float_precision='round_trip'; {_GAPS}",
        _write_csv,
        _csv_reader(None),
        SCALARS,
        "pandas",
    ),
    StorageForm(
        "pandas.csv.round_trip",
        "pandas to_csv, read_csv(float_precision='round_trip')",
        f"texts such as NA become gaps; {_GAPS}",
        _write_csv,
        _csv_reader("round_trip"),
        SCALARS,
        "pandas",
    ),
    StorageForm(
        "pandas.parquet",
        "pandas to_parquet, read_parquet",
        _GAPS,
        _write_parquet,
        _read_parquet,
        SCALARS,
        "pandas",
    ),
)
