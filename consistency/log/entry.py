"""One line of the log: a scored request as JSON, exact, with a CRC.

What JSON cannot say is said beside the values: a NaN is written as null (a float column has no
other null), infinities are null too and named in `*_inf`, the dtypes that are not float64 in
`*_types`, and why a feature is missing in `feature_status`. Floats are shortest round-trip texts.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from math import inf, isfinite
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.errors import ReplayError
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import (
    Outcome,
    Payload,
    ScoredRequest,
    ServableInfo,
    StageLatency,
)

FORMAT: Final = 1
"""Version of the line's layout, its field `v`."""

_CRC_FIELD: Final = b',"crc":"'
_CRC_TAIL_BYTES: Final = len(_CRC_FIELD) + 8 + 2  # eight hex digits, a quote and a brace


REDACTED: Final = "redacted-json"
"""The encoding of canonical JSON in which keyed hashes stand for the redacted values."""
HASHED: Final = "hmac-sha256"
"""The encoding of a payload of which a keyed hash and the length are left: `<hex>:<bytes>`."""


class PayloadForm(StrEnum):
    """How much of a payload the log holds.

    received: every byte. redacted: canonical JSON with hashes in place of some values. hashed: a
    hash and the length.
    """

    RECEIVED = "received"
    REDACTED = "redacted"
    HASHED = "hashed"


_FORMS: Final = {
    "utf-8": PayloadForm.RECEIVED,
    "base64": PayloadForm.RECEIVED,
    REDACTED: PayloadForm.REDACTED,
    HASHED: PayloadForm.HASHED,
}


class LineError(Exception):
    """A line is not what was written; the text says how."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A scored request as the log holds it.

    Attributes:
        fields: the line's JSON, as in `docs/request-log.md`.
    """

    fields: Mapping[str, Json]

    @property
    def request_id(self) -> str:
        """Unique across processes."""
        return str(self.fields["request_id"])

    @property
    def model(self) -> tuple[str, int]:
        """Name and version."""
        return self.fields["model"], self.fields["version"]

    @property
    def rows(self) -> int:
        """Rows in the request; 0 when its payload could not be decoded."""
        return int(self.fields["rows"])

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return Outcome(self.fields["outcome"])

    @property
    def key(self) -> str | None:
        """The value of the operator's key field in the first raw record, if there is one.

        Its keyed hash when that field is redacted.
        """
        held = self.fields.get("key")
        return None if held is None else str(held)

    @property
    def sample_ratio(self) -> float:
        """Share of all keys that the log kept when this was written; 1 weighs a request as one."""
        return float(self.fields.get("sample_ratio", 1.0))

    @property
    def payload_form(self) -> PayloadForm:
        """How much of the payload is there."""
        return _FORMS[self.fields["payload_encoding"]]

    @property
    def redacted(self) -> tuple[str, ...]:
        """The record fields whose values the payload holds as keyed hashes only."""
        return tuple(self.fields.get("redacted", ()))

    @property
    def redacted_features(self) -> tuple[str, ...]:
        """The features that were scored and are not in the log."""
        return tuple(self.fields.get("redacted_features", ()))

    @property
    def payload(self) -> Payload:
        """The bytes as received, or what redaction left of them; see `payload_form`.

        Raises:
            ReplayError: only a keyed hash and the length are left.
        """
        text, encoding = self.fields["payload"], self.fields["payload_encoding"]
        if encoding == HASHED:
            raise ReplayError(
                f"request {self.request_id}: of its payload the log holds a hash only, since it "
                f"was redacted; start from its features"
            )
        body = base64.b64decode(text) if encoding == "base64" else text.encode()
        return Payload(body, self.fields["codec"], self.fields["content_type"])

    @property
    def features(self) -> FeatureBatch | None:
        """The feature rows that were scored, or None when there was no feature stage."""
        return _features_from(self.fields)

    @property
    def outputs(self) -> dict[str, Column] | None:
        """Raw model outputs, dtypes restored."""
        held = self.fields["outputs"]
        if held is None:
            return None
        types = self.fields.get("output_types", {})
        marks = self.fields.get("output_inf", {})
        return {n: _array(v, types.get(n, "float64"), marks.get(n)) for n, v in held.items()}

    @property
    def scores(self) -> NDArray[np.float64] | None:
        """Post-processed scores, shape (N,) or (N, k)."""
        held = self.fields["scores"]
        return None if held is None else _array(held, "float64", self.fields.get("scores_inf"))

    @property
    def servable(self) -> Mapping[str, Any]:
        """What answered: see `ServableInfo`; name and version are `model`."""
        held: Mapping[str, Any] = self.fields["servable"]
        return held

    @property
    def snapshots(self) -> Mapping[str, str]:
        """Lookup name to the snapshot id that was read."""
        held: Mapping[str, str] = self.fields["snapshots"]
        return held


def encode_line(request: ScoredRequest) -> bytes:
    """Return a request's line, CRC and newline included."""
    return close_line(line_entry(request))


def close_line(entry: Mapping[str, Json]) -> bytes:
    """Return an entry as its line, CRC and newline included."""
    body = orjson.dumps(entry)
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def decode_line(line: bytes) -> LoggedRequest:
    """Read a line (without its newline) back.

    Raises:
        LineError: the CRC does not fit, or the line is no JSON.
    """
    head, tail = memoryview(line)[:-_CRC_TAIL_BYTES], line[-_CRC_TAIL_BYTES:]
    if not tail.startswith(_CRC_FIELD):
        raise LineError("no crc field")
    crc = tail[len(_CRC_FIELD) : -2]
    if b"%08x" % zlib.crc32(b"}", zlib.crc32(head)) != crc:
        raise LineError("crc mismatch")
    entry = orjson.loads(line)
    if entry.get("v") != FORMAT:
        raise LineError(f"line format {entry.get('v')}, this version reads {FORMAT}")
    return LoggedRequest(entry)


def line_entry(request: ScoredRequest) -> dict[str, Any]:
    """Return a request as the JSON of its line, without the CRC."""
    entry: dict[str, Any] = {
        "v": FORMAT,
        "request_id": request.request_id,
        "ingest_time_us": request.ingest_time_us,
        "event_time_us": request.event_time_us,
        "model": request.servable.name,
        "version": request.servable.version,
        "label": request.label,
        "outcome": request.outcome,
        "message": request.message,
        "refused_by": request.refused_by,
        "rows": request.rows,
        "scores": None,
        "outputs": None,
        "features": None,
        "snapshots": request.snapshots,
        "batch_rows": request.batch_rows,
        "batch_position": request.batch_position,
        "latency": _latency(request.latency),
    }
    if request.scores is not None:
        _put_scores(entry, request.scores)
    if request.outputs is not None:
        _put_outputs(entry, request.outputs)
    if request.features is not None:
        _put_features(entry, request.features)
    _put_payload(entry, request.payload)
    if request.signature:
        entry["signature"] = request.signature
    entry["servable"] = servable_fragment(request.servable, request.instance)
    return entry


def _latency(latency: StageLatency) -> dict[str, int]:
    return {
        "decode_ns": latency.decode_ns,
        "guards_ns": latency.guards_ns,
        "features_ns": latency.features_ns,
        "queue_ns": latency.queue_ns,
        "backend_ns": latency.backend_ns,
        "postprocess_ns": latency.postprocess_ns,
        "total_ns": latency.total_ns,
    }


@lru_cache(maxsize=64)
def servable_fragment(info: ServableInfo, instance: str = "") -> orjson.Fragment:
    """Return the facts of a servable as ready-made JSON; they are the same in each of its lines.

    With several instances of a backend, `backend` is the one that answered.
    """
    facts = {k: v for k, v in asdict(info).items() if k not in ("name", "version")}
    if instance:
        facts["backend"] = instance
    return orjson.Fragment(orjson.dumps(facts))


def _put_payload(entry: dict[str, Any], payload: Payload) -> None:
    entry["codec"], entry["content_type"] = payload.codec, payload.content_type
    try:
        entry["payload"], entry["payload_encoding"] = payload.body.decode(), "utf-8"
    except UnicodeDecodeError:
        text = base64.b64encode(payload.body).decode()
        entry["payload"], entry["payload_encoding"] = text, "base64"


def _put_scores(entry: dict[str, Any], scores: Column) -> None:
    entry["scores"] = listed = scores.tolist()
    if not _is_one_finite(listed) and (marks := _infinities(scores)):
        entry["scores_inf"] = marks


def _put_outputs(entry: dict[str, Any], outputs: Mapping[str, Column]) -> None:
    entry["outputs"] = held = {}
    for name, values in outputs.items():
        held[name] = listed = values.tolist()
        if values.dtype.char != "d":
            entry.setdefault("output_types", {})[name] = _dtype_name(values.dtype)
        if not _is_one_finite(listed) and (marks := _infinities(values)):
            entry.setdefault("output_inf", {})[name] = marks


def _is_one_finite(listed: list[Any]) -> bool:
    """Return whether an array is one finite number: the most frequent one, seen without numpy."""
    return len(listed) == 1 and type(listed[0]) is float and isfinite(listed[0])


def _put_features(entry: dict[str, Any], batch: FeatureBatch) -> None:
    names = batch.schema.numeric_names
    if batch.rows == 1:  # the most frequent form, at half the price
        (row,) = batch.numeric.tolist()
        entry["features"] = {name: (value,) for name, value in zip(names, row, strict=True)}
        # a sum that is finite has no infinity in it; one that is not may have a NaN
        holds_infinity = not isfinite(sum(row)) and (inf in row or -inf in row)
    else:
        entry["features"] = dict(zip(names, batch.numeric.T.tolist(), strict=True))
        holds_infinity = bool(np.isinf(batch.numeric).any())
    if len(names) != len(batch.schema):
        for name, kind in zip(batch.schema.names, batch.schema.types, strict=True):
            if name in batch.others:
                entry["features"][name] = batch.others[name].tolist()
                entry.setdefault("feature_types", {})[name] = kind.value
    if holds_infinity:
        pairs = zip(names, batch.numeric.T, strict=True)
        entry["feature_inf"] = {n: m for n, c in pairs if (m := _infinities(c))}
    for name, values in batch.others.items():
        if marks := _infinities(values):
            entry.setdefault("feature_inf", {})[name] = marks
    if batch.status:
        entry["feature_status"] = {n: codes.tolist() for n, codes in batch.status.items()}


def _infinities(values: Column) -> list[list[int]]:
    """Return [flat index, sign] of each infinite value."""
    if values.dtype.kind != "f":
        return []
    flat = values.ravel()
    return [[int(i), 1 if flat[i] > 0 else -1] for i in np.flatnonzero(np.isinf(flat))]


@lru_cache(maxsize=32)
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "str" if dtype.kind == "U" else dtype.name


def _array(values: list[Any], dtype: str, infinities: list[list[int]] | None) -> Column:
    """Rebuild an array: null is NaN in a float array, None in an object array."""
    out = np.array(values, np.dtype(dtype))
    for index, sign in infinities or ():
        out.flat[index] = sign * np.inf
    return out


def _features_from(entry: Mapping[str, Any]) -> FeatureBatch | None:
    held = entry["features"]
    if held is None:
        return None
    types = entry.get("feature_types", {})
    schema = _schema(tuple(held), tuple(types.get(n, "float64") for n in held))
    names = schema.numeric_names
    numeric = np.empty((entry["rows"], len(names)), order="F")
    for j, name in enumerate(names):
        numeric[:, j] = held[name]
    others = {n: column_of(held[n], FeatureType(t)) for n, t in types.items()}
    for name, marks in entry.get("feature_inf", {}).items():
        column = others[name] if name in others else numeric[:, names.index(name)]
        for index, sign in marks:
            column.flat[index] = sign * np.inf
    status = {n: np.array(c, np.uint8) for n, c in entry.get("feature_status", {}).items()}
    return FeatureBatch(schema, entry["rows"], numeric, others, status, entry["snapshots"])


def column_of(values: list[Any], kind: FeatureType) -> Column:
    """Rebuild a feature column that is not float64: null is None."""
    if kind is FeatureType.TOKENS:
        out = np.empty(len(values), object)
        out[:] = values
        return out
    return np.array(values, kind.numpy)


@lru_cache(maxsize=256)
def _schema(names: tuple[str, ...], types: tuple[str, ...]) -> FeatureSchema:
    return FeatureSchema(names, tuple(FeatureType(t) for t in types))
