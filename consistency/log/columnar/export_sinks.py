"""The files that an export writes: Parquet, JSON Lines, CSV."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import numpy as np
import orjson

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ExportFormat(StrEnum):
    """What a table is written as, and what it can hold.

    parquet: everything: types, NaN, infinities, null.
    jsonl: all but NaN and infinities, which become null.
    csv: no types; NaN and infinities as `nan`, `inf`, `-inf`, null as nothing, an empty text as
        `""`; lists as JSON texts, in which NaN and infinities become null.
    """

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


class Sink(Protocol):
    """Takes rows.

    Attributes:
        nulled: values that the format cannot hold and has as null, by column.
    """

    nulled: Counter[str]

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows; a column that a row lacks is null."""
        ...


@contextmanager
def open_sink(path: Path, form: ExportFormat, schema: pa.Schema) -> Iterator[Sink]:
    """Write a new file.

    Raises:
        OSError: it cannot be written.
    """
    if form is ExportFormat.JSONL:
        with path.open("xb") as stream:
            yield _JsonLines(stream, schema)
    elif form is ExportFormat.CSV:
        import pyarrow.csv as pc

        flat = _without_lists(schema)
        with path.open("xb") as stream, pc.CSVWriter(stream, flat) as writer:
            yield _Csv(writer, flat, schema)
    else:
        import pyarrow.parquet as pq

        with (
            path.open("xb") as stream,
            pq.ParquetWriter(stream, schema, compression="zstd") as parquet,
        ):
            yield _Parquet(parquet, schema)


class _Parquet:
    def __init__(self, writer: ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self.nulled: Counter[str] = Counter()

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._writer.write_table(_table(rows, self._schema))


class _JsonLines:
    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        self._stream, self._names = stream, schema.names
        self._times = _time_columns(schema)
        self.nulled: Counter[str] = Counter()

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            for name, value in row.items():
                if count := _not_finite(value):
                    self.nulled[name] += count
            whole = {name: row.get(name) for name in self._names}
            whole |= {name: _time_text(whole[name]) for name in self._times}
            self._stream.write(orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE))


class _Csv:
    def __init__(self, writer: CSVWriter, flat: pa.Schema, schema: pa.Schema) -> None:
        self._writer, self._flat = writer, flat
        pairs = zip(flat, schema, strict=True)
        self._lists = [a.name for a, b in pairs if a.type != b.type]
        self.nulled: Counter[str] = Counter()

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._writer.write_table(_table([self._texts(row) for row in rows], self._flat))

    def _texts(self, row: dict[str, Any]) -> dict[str, Any]:
        texts = {}
        for name in self._lists:
            if (value := row.get(name)) is not None:
                if count := _not_finite(value):
                    self.nulled[name] += count
                texts[name] = orjson.dumps(value).decode()
        return {**row, **texts}


def _table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        [pa.array([row.get(f.name) for row in rows], f.type) for f in schema], schema=schema
    )


def _without_lists(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    nested = [pa.types.is_list(f.type) for f in schema]
    fields = zip(schema, nested, strict=True)
    return pa.schema([f.with_type(pa.string()) if is_list else f for f, is_list in fields])


def _not_finite(value: object) -> int:
    """Return how many values JSON has no number for."""
    if isinstance(value, list):
        return sum(map(_not_finite, value))
    return int(isinstance(value, float) and not math.isfinite(value))


def _time_columns(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [f.name for f in schema if pa.types.is_timestamp(f.type)]


def _time_text(us: int | None) -> str | None:
    """Return microseconds since the epoch as ISO 8601, also outside of the years 1 to 9999."""
    if us is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat()
    except OverflowError:
        return f"{np.datetime64(us, 'us')}+00:00"
