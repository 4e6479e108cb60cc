"""Raw records in files: JSON lines, or Parquet with a column a field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from consistency.errors import ConfigError, DataError
from consistency.jsontype import Json
from consistency.records import Record

_BATCH_ROWS: Final = 10_000


def read_record_file(path: Path) -> Iterator[Record]:
    """Yield a file's records, in order: of `*.parquet` rows, of any other file JSON lines.

    Null in a Parquet column is null, NaN stays NaN; JSON says neither of an absent field there.

    Raises:
        ConfigError: the file cannot be read, or a column holds what JSON cannot say.
        DataError: a line is no JSON.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _line(path, number, line)
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}; name a file of records") from e


def _line(path: Path, number: int, line: bytes) -> Json:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as e:
        problem = f"{path} line {number}: no JSON ({e.msg}); write one object a line"
        raise DataError(problem) from None


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for field in file.schema_arrow:
                if not _is_json(field.type):
                    raise ConfigError(
                        f"{path}: column {field.name!r} is {field.type}, which no JSON record "
                        f"holds; write it as text, as clients send it"
                    )
            for batch in file.iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as e:
        text = " ".join(str(e).split())[:200]
        raise ConfigError(f"{path}: no readable Parquet file ({text})") from e


def _is_json(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    """Tell whether the values of an Arrow type come out as JSON's own types."""
    import pyarrow as pa

    of = pa.types
    if of.is_dictionary(kind) or of.is_list(kind) or of.is_large_list(kind):
        return _is_json(kind.value_type)
    if of.is_struct(kind):
        return all(_is_json(field.type) for field in kind)
    plain = (of.is_null, of.is_boolean, of.is_integer, of.is_floating, of.is_string,
             of.is_large_string)  # fmt: skip
    return any(test(kind) for test in plain)
