"""Logged requests as flat rows, and the columns that they need. Pure.

A feature's column is `feature_<name>`, so that no name can meet a column of the request. Floats are
float64 (a float32 is widened, which is exact); a tensor feature is a list, flat. Times are
microseconds since the epoch: a client's event time may lie outside of the years of a `datetime`.
The log says of a rule which rows break it; a flat row says which rules it breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consistency.errors import ConfigError
from consistency.log.columnar.typed import float_features, scores_of
from consistency.log.lines.entry import LoggedRequest
from consistency.schema import FeatureType

if TYPE_CHECKING:
    import pyarrow as pa

FEATURE_PREFIX: Final = "feature_"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a feature's column holds."""

    type: FeatureType
    tensor: bool


@dataclass(slots=True)
class FlatColumns:
    """The columns of the requests seen so far."""

    features: dict[str, _Kind] = field(default_factory=dict)
    widest: int = 0
    """Scores a row, at most."""

    def see(self, request: LoggedRequest) -> None:
        """Make room for a request.

        Raises:
            ConfigError: it has a feature of another type than a request before it.
        """
        self.widest = max(self.widest, _score_width(request))
        for name, kind in _kinds(request).items():
            if self.features.setdefault(name, kind) != kind:
                raise ConfigError(
                    f"feature {name!r} is {self.features[name].type} in one request and "
                    f"{kind.type} in {request.request_id}; choose one --model and --version"
                )

    def knows(self, request: LoggedRequest) -> bool:
        """Return whether there is a column for all that a request has."""
        kinds = _kinds(request).items()
        return _score_width(request) <= self.widest and all(
            self.features.get(name) == kind for name, kind in kinds
        )

    def names(self) -> list[str]:
        """Return the columns' names, in order."""
        return [field.name for field in self.schema()]

    def schema(self) -> pa.Schema:
        """Return the columns, in order."""
        import pyarrow as pa

        text, time = pa.string(), pa.timestamp("us", tz="UTC")
        scores = [score_name(i, self.widest) for i in range(self.widest)]
        return pa.schema(
            [
                ("request_id", text), ("row", pa.int64()), ("ingest_time", time),
                ("event_time", time), ("model", text), ("version", pa.int64()), ("label", text),
                ("outcome", text), ("message", text), ("key", text),
                ("sample_ratio", pa.float64()), ("flags", pa.list_(text)),
                *((name, pa.float64()) for name in scores),
                *((f"{FEATURE_PREFIX}{n}", _arrow(k)) for n, k in self.features.items()),
            ]
        )  # fmt: skip

    def rows_of(self, request: LoggedRequest) -> Iterator[dict[str, Any]]:
        """Yield a request's rows, as values by column; what is not there is null."""
        scores, width = scores_of(request.fields), _score_width(request)
        names = [score_name(i, self.widest) for i in range(width)]
        features = _feature_rows(request)
        facts, flags = _facts(request), _flags(request)
        for row in range(request.rows):
            values = () if scores is None else scores[row * width : (row + 1) * width]
            yield {
                **facts,
                "row": row,
                "flags": flags[row],
                **dict(zip(names, values, strict=True)),
                **{name: column[row] for name, column in features.items()},
            }


def score_name(index: int, width: int) -> str:
    """Return the name of a score's column.

    >>> score_name(0, 1), score_name(2, 3)
    ('score', 'score_2')
    """
    return "score" if width == 1 else f"score_{index}"


def _score_width(request: LoggedRequest) -> int:
    scores = scores_of(request.fields)
    return 0 if scores is None or not request.rows else len(scores) // request.rows


def _facts(request: LoggedRequest) -> dict[str, Any]:
    fields = request.fields
    return {
        "request_id": fields["request_id"],
        "ingest_time": fields["ingest_time_us"],
        "event_time": fields["event_time_us"],
        "model": fields["model"],
        "version": fields["version"],
        "label": fields["label"],
        "outcome": fields["outcome"],
        "message": fields["message"],
        "key": fields.get("key"),
        "sample_ratio": fields.get("sample_ratio"),
    }


def _flags(request: LoggedRequest) -> list[list[str]]:
    """Return, for each row, the rules that it breaks and a guard flagged, in the guard's order."""
    by_row: list[list[str]] = [[] for _ in range(request.rows)]
    for rule, rows in request.flags.items():
        for row in rows:
            by_row[row].append(rule)
    return by_row


def _kinds(request: LoggedRequest) -> dict[str, _Kind]:
    types = request.fields.get("feature_types", {})
    return {
        name: _Kind(kind, _is_tensor(values, kind))
        for name, values in (request.fields["features"] or {}).items()
        for kind in (FeatureType(types.get(name, "float64")),)
    }


def _is_tensor(values: list[Any], kind: FeatureType) -> bool:
    return kind is not FeatureType.TOKENS and bool(values) and isinstance(values[0], list)


def _feature_rows(request: LoggedRequest) -> dict[str, list[Any]]:
    """Return each feature's values by row."""
    floats = float_features(request.fields) or {}
    held = request.fields["features"] or {}
    out = {}
    for name, kind in _kinds(request).items():
        values = floats.get(name, held[name])
        if kind.tensor and name in floats:
            width = len(values) // request.rows
            values = [values[i * width : (i + 1) * width] for i in range(request.rows)]
        elif kind.tensor:
            values = [list(_flat(value)) for value in values]
        out[f"{FEATURE_PREFIX}{name}"] = values
    return out


def _flat(value: Any) -> Iterator[Any]:  # noqa: ANN401 - nested lists of any depth
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _arrow(kind: _Kind) -> pa.DataType:
    import pyarrow as pa

    types = {
        FeatureType.FLOAT64: pa.float64(),
        FeatureType.FLOAT32: pa.float64(),
        FeatureType.INT64: pa.int64(),
        FeatureType.BOOL: pa.bool_(),
        FeatureType.STRING: pa.string(),
        FeatureType.TOKENS: pa.list_(pa.string()),
    }
    held = types[kind.type]
    return pa.list_(held) if kind.tensor else held
