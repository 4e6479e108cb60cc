"""Reads a team's raw records: JSON, JSON Lines, Parquet, a bundle's golden rows, a request log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from consistency.bundle import Bundle
from consistency.codecs import codec_named
from consistency.errors import ConfigError, SamescoreError
from consistency.jsontype import Json
from consistency.log import RequestLogReader
from consistency.log.lines.entry import LoggedRequest, PayloadForm
from consistency.records import Record
from consistency.schema import FeatureSchema
from consistency.scored import Outcome
from samescore.pytest_plugin.configuring.settings import GOLDEN

_MOST_READ: Final = 100_000
"""Records taken from one file or log, so that a large one cannot fill the memory."""


def read_own_records(
    sources: Sequence[str], folder: Path, bundle: Bundle | None, limit: int
) -> list[Record]:
    """Return raw records of every source, at most `limit` evenly spaced ones in all.

    Args:
        sources: paths, relative ones below the folder; `GOLDEN` for the bundle's golden records.
        folder: of the configuration.
        bundle: whose golden records and logged requests are meant, if any.
        limit: 2 or more.

    Raises:
        ConfigError: a source cannot be read, or holds no raw record.
    """
    records: list[Record] = []
    for source in sources:
        found = _golden(bundle) if source == GOLDEN else _from_path(folder / source, bundle)
        if not found:
            raise ConfigError(f"records {source!r}: holds no raw record; name another source")
        records += found
    if len(records) <= limit:
        return records
    return [records[i * (len(records) - 1) // (limit - 1)] for i in range(limit)]


def _golden(bundle: Bundle | None) -> Sequence[Record]:
    return () if bundle is None else bundle.golden().records or ()


def _from_path(path: Path, bundle: Bundle | None) -> Sequence[Record]:
    if path.is_dir():
        return list(islice(_from_log(path, bundle), _MOST_READ))
    read = _READERS.get(path.suffix)
    if read is None:
        raise ConfigError(
            f"records {path}: is neither a folder of a request log nor a file that ends in "
            f"{', '.join(_READERS)}"
        )
    try:
        return read(path)
    except OSError as e:
        raise ConfigError(f"records {path}: cannot be read ({e.strerror or e})") from e


def _from_log(folder: Path, bundle: Bundle | None) -> Iterator[Record]:
    """Yield the raw records of answered requests, of the bundle's model when there is one."""
    wanted = None if bundle is None else bundle.manifest.name
    for item in RequestLogReader(folder):
        if not isinstance(item, LoggedRequest) or item.outcome is not Outcome.OK:
            continue
        if wanted is None or item.model[0] == wanted:
            yield from _logged(item)


def logged_record(item: LoggedRequest, row: int) -> Record | None:
    """Return one raw record of a logged request, None when the log does not hold it."""
    records = _logged(item)
    return records[row] if 0 <= row < len(records) else None


def _logged(item: LoggedRequest) -> Sequence[Record]:
    if item.payload_form is not PayloadForm.RECEIVED:
        return ()  # hashes stand for its values: no client has sent that
    nothing = FeatureSchema((), ())
    try:
        payload = item.payload
        return codec_named(payload.codec).decode(payload, nothing).records or ()
    except SamescoreError:  # feature rows: no raw record in it
        return ()


def _json(path: Path) -> list[Record]:
    value = _parsed(path, path.read_bytes(), "")
    return _objects(path, value if isinstance(value, list) else [value])


def _json_lines(path: Path) -> list[Record]:
    with path.open("rb") as stream:
        lines = [
            _parsed(path, line, f" line {number}")
            for number, line in enumerate(islice(stream, _MOST_READ), start=1)
            if line.strip()
        ]
    return _objects(path, lines)


def _parquet(path: Path) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowException as e:
        raise ConfigError(f"records {path}: is no Parquet file that can be read: {e}") from e
    if table.column_names == ["record"]:  # JSON texts, in which absent and null stay apart
        texts = enumerate(table.column("record").to_pylist()[:_MOST_READ])
        return _objects(path, [_parsed(path, (t or "").encode(), f" row {i}") for i, t in texts])
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if pa.types.is_temporal(kind) or pa.types.is_decimal(kind) or pa.types.is_binary(kind):
            raise ConfigError(
                f"records {path}: column {name!r} is {kind}, which no JSON record holds; write it "
                "as the text or number that a client sends"
            )
    return _objects(path, table.slice(0, _MOST_READ).to_pylist())


def _parsed(path: Path, text: bytes, where: str) -> Json:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise ConfigError(f"records {path}{where}: is no JSON ({e.msg}); mend or remove it") from e


def _objects(path: Path, values: Sequence[Json]) -> list[Record]:
    for i, value in enumerate(values):
        if not isinstance(value, dict):
            raise ConfigError(f"records {path}: record {i} is no JSON object")
    return list(values)


_READERS: Final[Mapping[str, Callable[[Path], list[Record]]]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
