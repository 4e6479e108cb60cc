"""Logged requests as typed Arrow columns: what SQL readers see of a compacted log.

Exact: floats are float64 with NaN and infinities in their places (null means that the request had
none), integers beyond 2**53, booleans, texts and token lists are JSON texts of their own. A tensor
feature is one flat list, row after row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import orjson

from consistency.jsontype import Json
from consistency.log.columnar.parquet import INGEST_TIME, LINE
from consistency.log.lines.entry import LoggedRequest
from consistency.schema import FeatureType
from consistency.scored import STAGES

if TYPE_CHECKING:
    import pyarrow as pa

_FLOATS: Final = (FeatureType.FLOAT64, FeatureType.FLOAT32)
_TEXTS: Final = ("request_id", "model", "label", "outcome", "message", "refused_by", "key", "codec")
_INTEGERS: Final = ("version", "rows", "batch_rows", "batch_position")
_SERVABLE_TEXTS: Final = (
    "gate", "bundle_digest", "pipeline_digest", "backend", "device", "dtype", "execution",
    "cpu_digest",
)  # fmt: skip
_LATENCIES: Final = tuple(f"{stage}_ns" for stage in STAGES)

REPEATING: Final = ("model", "label", "outcome", "refused_by", "codec", *_SERVABLE_TEXTS)
"""Columns of few values, worth a dictionary."""

BOUNDED: Final = (INGEST_TIME, "event_time", "request_id", "model", "version", "outcome", "key")
"""Columns whose row-group statistics let a reader skip what it does not want."""


@lru_cache(maxsize=1)
def schema() -> pa.Schema:
    """Return the columns of a compacted segment, the same for every model and every log."""
    import pyarrow as pa

    time = pa.timestamp("us", tz="UTC")
    types = {
        LINE: pa.binary(),
        "request_id": pa.string(),
        INGEST_TIME: time,
        "event_time": time,
        **{name: pa.string() for name in _TEXTS[1:]},
        **{name: pa.int64() for name in _INTEGERS},
        "sample_ratio": pa.float64(),
        "scores": pa.list_(pa.float64()),
        "scores_per_row": pa.int64(),
        "features": pa.map_(pa.string(), pa.list_(pa.float64())),
        "features_json": pa.map_(pa.string(), pa.list_(pa.string())),
        "snapshots": pa.map_(pa.string(), pa.string()),
        "flags": pa.map_(pa.string(), pa.list_(pa.int64())),
        **{f"latency_{name}": pa.int64() for name in _LATENCIES},
        **{name: pa.string() for name in _SERVABLE_TEXTS},
        "threads": pa.int64(),
        "gate_decimals": pa.int64(),
    }
    return pa.schema(list(types.items()))


def typed_batch(lines: Sequence[bytes], requests: Sequence[LoggedRequest]) -> pa.RecordBatch:
    """Return requests as columns.

    Args:
        lines: without their newlines, N of them.
        requests: what they say, N.

    Raises:
        KeyError, TypeError, ValueError: a line lacks a field, or has one of another type.
    """
    import pyarrow as pa

    fields = [request.fields for request in requests]
    columns: dict[str, Any] = {LINE: pa.array(lines, pa.binary())}
    for name in ("ingest_time", "event_time"):
        columns[name] = _times([f[f"{name}_us"] for f in fields])
    for name in (*_TEXTS, *_INTEGERS, "sample_ratio"):
        columns[name] = [f.get(name) for f in fields]
    for name in _LATENCIES:
        columns[f"latency_{name}"] = [f["latency"][name] for f in fields]
    for name in (*_SERVABLE_TEXTS, "threads", "gate_decimals"):
        columns[name] = [f["servable"].get(name) for f in fields]
    scores = [scores_of(f) for f in fields]
    columns["scores"] = _Lists(scores).array(pa.float64())
    columns["scores_per_row"] = [
        None if s is None else len(s) // max(1, f["rows"])
        for s, f in zip(scores, fields, strict=True)
    ]
    columns["features"] = _maps([float_features(f) for f in fields], pa.float64())
    columns["features_json"] = _maps([_other_features(f) for f in fields], pa.string())
    columns["flags"] = _maps([f.get("flags", {}) for f in fields], pa.int64())
    columns["snapshots"] = pa.array([list(f["snapshots"].items()) for f in fields], _text_map())
    arrays = [
        columns[f.name]
        if isinstance(columns[f.name], pa.Array)
        else pa.array(columns[f.name], f.type)
        for f in schema()
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema())


def scores_of(fields: Mapping[str, Json]) -> list[float] | None:
    """Return a line's scores, flat, row after row, NaN and infinities in their places."""
    held = fields["scores"]
    return None if held is None else _floats(held, fields.get("scores_inf"))


def float_features(fields: Mapping[str, Json]) -> dict[str, list[float]] | None:
    """Return a line's float features, flat, by name; None when there was no feature stage."""
    held = fields["features"]
    if held is None:
        return None
    types, marks = fields.get("feature_types", {}), fields.get("feature_inf", {})
    return {
        name: _floats(values, marks.get(name))
        for name, values in held.items()
        if types.get(name, "float64") in _FLOATS
    }


def _other_features(fields: Mapping[str, Json]) -> dict[str, list[str | None]] | None:
    """Return a line's other features, one JSON text a row; null stays null."""
    held = fields["features"]
    if held is None:
        return None
    others = [n for n, t in fields.get("feature_types", {}).items() if t not in _FLOATS]
    return {n: [None if v is None else orjson.dumps(v).decode() for v in held[n]] for n in others}


def _floats(values: Sequence[Any], infinities: Sequence[Sequence[int]] | None) -> list[float]:
    while values and isinstance(values[0], list):
        values = list(chain.from_iterable(values))
    flat = [math.nan if v is None else v for v in values]
    for index, sign in infinities or ():
        flat[index] = sign * math.inf
    return flat


@dataclass(slots=True)
class _Lists:
    """Lists of a column, flattened; None: a null in the column."""

    lists: Iterable[Sequence[Any] | None]
    flat: list[Any] = field(default_factory=list)
    ends: list[int | None] = field(default_factory=list)

    def array(self, kind: pa.DataType) -> pa.ListArray:
        import pyarrow as pa

        for one in self.lists:
            self.ends.append(None if one is None else len(self.flat))
            self.flat.extend(one or ())
        offsets = pa.array([*self.ends, len(self.flat)], pa.int32())
        return pa.ListArray.from_arrays(offsets, pa.array(self.flat, kind))


def _maps(rows: Sequence[Mapping[str, Sequence[Any]] | None], kind: pa.DataType) -> pa.MapArray:
    import pyarrow as pa

    names: list[str] = []
    ends: list[int | None] = []
    for row in rows:
        ends.append(None if row is None else len(names))
        names.extend(row or ())
    values = chain.from_iterable(row.values() for row in rows if row)
    offsets = pa.array([*ends, len(names)], pa.int32())
    return pa.MapArray.from_arrays(
        offsets, pa.array(names, pa.string()), _Lists(values).array(kind)
    )


def _times(values: Sequence[int | None]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _text_map() -> pa.MapType:
    import pyarrow as pa

    return pa.map_(pa.string(), pa.string())
