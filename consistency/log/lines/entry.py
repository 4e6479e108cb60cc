"""A logged request: what one line of the log says.

What JSON cannot say is said beside the values: a NaN is written as null (a float column has no
other null), infinities are null too and named in `*_inf`, the dtypes that are not float64 in
`*_types`, and why a feature is missing in `feature_status`. Floats are shortest round-trip texts.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.errors import ReplayError
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome, Payload

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


def form_of(encoding: str) -> PayloadForm:
    """Return how much of a payload with this encoding the log holds."""
    return _FORMS[encoding]


@dataclass(frozen=True, slots=True, eq=False)
class LineContext:
    """Facts that many requests share: one object for all lines that begin with the same bytes.

    Attributes:
        facts: as in `docs/request-log.md`; `outcome` is among them unless there is more to say of
            it than that the request was scored.
    """

    facts: Mapping[str, Json]

    @property
    def feature_names(self) -> list[str] | None:
        """The float64 features, in the order of a row; None where there was no feature stage."""
        names: list[str] | None = self.facts["feature_names"]
        return names

    @property
    def feature_types(self) -> Mapping[str, str]:
        """The other features and their types, in the order of the schema."""
        types: Mapping[str, str] = self.facts.get("feature_types", {})
        return types


class LoggedRequest:
    """A scored request as the log holds it.

    Args:
        own: the request's own facts, or, without a context, a whole line of version 1.
        context: the facts that it shares.
    """

    __slots__ = ("_fields", "_parts")

    def __init__(self, own: Mapping[str, Json], context: LineContext | None = None) -> None:
        self._fields: Mapping[str, Json] | None
        self._parts: tuple[Mapping[str, Json], LineContext] | None
        if context is None:
            self._fields, self._parts = own, None
        else:
            self._fields, self._parts = None, (own, context)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoggedRequest) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.request_id)

    def __repr__(self) -> str:
        return f"LoggedRequest({self.request_id!r})"

    @property
    def fields(self) -> Mapping[str, Json]:
        """All facts by name, whatever the line's version: features and latencies by name too.

        Named as in `docs/request-log.md`, but for `features` (values by feature name) and `latency`
        (nanoseconds by `<stage>_ns`), which are put together when they are first asked for.
        """
        if self._fields is None:
            assert self._parts is not None
            self._fields = _by_name(*self._parts)
        return self._fields

    @property
    def parts(self) -> tuple[Mapping[str, Json], LineContext]:
        """The request's own facts, and those that it shares, as version 2 writes them."""
        if self._parts is None:
            assert self._fields is not None
            self._parts = _apart(self._fields)
        return self._parts

    def _fact(self, name: str, default: Json = None) -> Json:
        if self._parts is None:
            assert self._fields is not None
            return self._fields.get(name, default)
        own, context = self._parts
        return own[name] if name in own else context.facts.get(name, default)

    @property
    def request_id(self) -> str:
        """Unique across processes."""
        return str(self._fact("request_id"))

    @property
    def ingest_time_us(self) -> int:
        """When its body had arrived, microseconds since the epoch."""
        return int(self._fact("ingest_time_us"))

    @property
    def model(self) -> tuple[str, int]:
        """Name and version."""
        return self._fact("model"), self._fact("version")

    @property
    def rows(self) -> int:
        """Rows in the request; 0 when its payload could not be decoded."""
        return int(self._fact("rows"))

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return Outcome(self._fact("outcome"))

    @property
    def key(self) -> str | None:
        """The value of the operator's key field in the first raw record, if there is one.

        Its keyed hash when that field is redacted.
        """
        held = self._fact("key")
        return None if held is None else str(held)

    @property
    def sample_ratio(self) -> float:
        """Share of all keys that the log kept when this was written; 1 weighs a request as one."""
        return float(self._fact("sample_ratio", 1.0))

    @property
    def payload_form(self) -> PayloadForm:
        """How much of the payload is there."""
        return form_of(self._fact("payload_encoding"))

    @property
    def redacted(self) -> tuple[str, ...]:
        """The record fields whose values the payload holds as keyed hashes only."""
        return tuple(self._fact("redacted", ()))

    @property
    def redacted_features(self) -> tuple[str, ...]:
        """The features that were scored and are not in the log."""
        return tuple(self._fact("redacted_features", ()))

    @property
    def payload(self) -> Payload:
        """The bytes as received, or what redaction left of them; see `payload_form`.

        Raises:
            ReplayError: only a keyed hash and the length are left.
        """
        text, encoding = self._fact("payload"), self._fact("payload_encoding")
        if encoding == HASHED:
            raise ReplayError(
                f"request {self.request_id}: of its payload the log holds a hash only, since it "
                f"was redacted; start from its features"
            )
        body = base64.b64decode(text) if encoding == "base64" else text.encode()
        return Payload(body, self._fact("codec"), self._fact("content_type"))

    @property
    def features(self) -> FeatureBatch | None:
        """The feature rows that were scored, or None when there was no feature stage."""
        return _features_of(*self.parts)

    @property
    def outputs(self) -> dict[str, Column] | None:
        """Raw model outputs, dtypes restored."""
        held = self._fact("outputs")
        if held is None:
            return None
        types, marks = self._fact("output_types", {}), self._fact("output_inf", {})
        return {n: _array(v, types.get(n, "float64"), marks.get(n)) for n, v in held.items()}

    @property
    def scores(self) -> NDArray[np.float64] | None:
        """Post-processed scores, shape (N,) or (N, k)."""
        held = self._fact("scores")
        return None if held is None else _array(held, "float64", self._fact("scores_inf"))

    @property
    def servable(self) -> Mapping[str, Any]:
        """What answered: see `ServableInfo`; name and version are `model`."""
        held: Mapping[str, Any] = self._fact("servable")
        return held

    @property
    def flags(self) -> Mapping[str, list[int]]:
        """Rules that a guard flagged, each with the rows that break it, ascending."""
        held: Mapping[str, list[int]] = self._fact("flags", {})
        return held

    @property
    def snapshots(self) -> Mapping[str, str]:
        """Lookup name to the snapshot id that was read."""
        held: Mapping[str, str] = self._fact("snapshots")
        return held


def _by_name(own: Mapping[str, Json], context: LineContext) -> dict[str, Json]:
    """Return the facts of both parts, features and latencies by name."""
    fields = {**context.facts, **own}
    names, rows = fields.pop("feature_names"), fields.pop("feature_rows")
    others = fields.pop("other_features", {})
    fields["features"] = None if rows is None else {**_columns(names, rows), **others}
    stages, times = fields.pop("latency_stages"), fields.pop("latency_ns")
    fields["latency"] = {f"{s}_ns": t for s, t in zip(stages, times, strict=True)}
    return fields


def _columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    if len(rows) == 1:  # the most frequent form, at half the price
        return {name: [value] for name, value in zip(names, rows[0], strict=True)}
    return {name: [row[j] for row in rows] for j, name in enumerate(names)}


_REQUEST_FACTS: Final = (
    "request_id", "ingest_time_us", "event_time_us", "rows", "batch_rows", "batch_position",
    "scores", "scores_inf", "outputs", "output_inf", "feature_inf", "feature_status", "payload",
    "key",
)  # fmt: skip
"""What no other request shares; `crc` is of the line, not of the request."""
_OUTCOME_FACTS: Final = ("outcome", "message", "refused_by")


def is_plain(outcome: str, message: str, refused_by: str) -> bool:
    """Return whether a request was scored, and nothing more is said of that."""
    return outcome == Outcome.OK and not message and not refused_by


def _apart(fields: Mapping[str, Json]) -> tuple[dict[str, Json], LineContext]:
    """Return a line of version 1 as version 2 would write it."""
    plain = is_plain(*(fields[name] for name in _OUTCOME_FACTS))
    own_names = _REQUEST_FACTS if plain else (*_REQUEST_FACTS, *_OUTCOME_FACTS)
    own = {name: fields[name] for name in own_names if name in fields}
    skipped = {*own, "crc", "features", "latency"}
    shared = {name: value for name, value in fields.items() if name not in skipped}
    own["latency_ns"] = list(fields["latency"].values())
    shared["latency_stages"] = [name.removesuffix("_ns") for name in fields["latency"]]
    held, types = fields["features"], fields.get("feature_types", {})
    names = None if held is None else [name for name in held if name not in types]
    shared["feature_names"], own["feature_rows"] = names, None
    if names is not None:
        columns = [held[name] for name in names]
        own["feature_rows"] = list(zip(*columns, strict=True)) or [()] * fields["rows"]
    if types:
        own["other_features"] = {name: held[name] for name in types}
    return own, _context(orjson.dumps(shared))


@lru_cache(maxsize=256)
def _context(shared: bytes) -> LineContext:
    return LineContext(orjson.loads(shared))


def _array(values: list[Any], dtype: str, infinities: list[list[int]] | None) -> Column:
    """Rebuild an array: null is NaN in a float array, None in an object array."""
    out = np.array(values, np.dtype(dtype))
    for index, sign in infinities or ():
        out.flat[index] = sign * np.inf
    return out


def _features_of(own: Mapping[str, Any], context: LineContext) -> FeatureBatch | None:
    rows = own["feature_rows"]
    if rows is None:
        return None
    schema, count = _schema_of(context), len(rows)
    numeric = np.array(rows, np.float64).reshape(count, len(schema.numeric_names))
    numeric = np.asfortranarray(numeric)
    held = own.get("other_features", {})
    others = {n: column_of(held[n], FeatureType(t)) for n, t in context.feature_types.items()}
    for name, marks in own.get("feature_inf", {}).items():
        column = others[name] if name in others else numeric[:, schema.numeric_names.index(name)]
        for index, sign in marks:
            column.flat[index] = sign * np.inf
    status = {n: np.array(c, np.uint8) for n, c in own.get("feature_status", {}).items()}
    return FeatureBatch(schema, count, numeric, others, status, context.facts["snapshots"])


def column_of(values: list[Any], kind: FeatureType) -> Column:
    """Rebuild a feature column that is not float64: null is None."""
    if kind is FeatureType.TOKENS:
        out = np.empty(len(values), object)
        out[:] = values
        return out
    return np.array(values, kind.numpy)


@lru_cache(maxsize=256)
def _schema_of(context: LineContext) -> FeatureSchema:
    """Return the features' schema: the float64 ones first."""
    numeric, others = context.feature_names or [], context.feature_types
    floats = (FeatureType.FLOAT64,) * len(numeric)
    return FeatureSchema((*numeric, *others), (*floats, *map(FeatureType, others.values())))
