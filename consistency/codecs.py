"""Payload codecs: what a face received, decoded the same way online and in a replay.

`tione/1` is the JSON body of TI-ONE's model service, `{"type": ..., "data": {"insts": ...}}`, where
type is

- `record`: raw records (ours): one JSON object or a list of them; they go through the pipeline;
- `libsvm`: feature rows as `label index:value ...` texts, 1-based; an index that is left out is an
  absent value (NaN), as XGBoost and LightGBM read such files, and not 0;
- `dense`: feature rows as number lists or as texts of numbers; null is a missing value (NaN).

Feature rows skip the pipeline. `opaque/1` hands a JSON body over as a whole; the `tfs-…` codecs of
TensorFlow Serving's protocol stand in `consistency.tensor_calls`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.errors import ConfigError, DataError
from consistency.features import FeatureBatch, FeatureStatus
from consistency.jsontype import Json
from consistency.protocols import Decoded, PayloadCodec
from consistency.records import Record, parse_timestamp
from consistency.schema import FeatureSchema
from consistency.scored import Payload
from consistency.tensor_calls import TENSOR_CALLS

_SEPARATOR: Final = re.compile(r"\s*,\s*|\s+")
"""Between the numbers of a dense text; an empty cell between two commas stays one."""
_BEYOND_FLOAT64: Final = "number is infinity"
"""orjson says so of the first number that no float64 holds."""
_MOST_DIGITS: Final = len(str(-(2**63)))
"""And sign; of an integer within 64 bits."""


class TioneCodec:
    """TI-ONE's JSON body; see the module's text."""

    id: Final = "tione/1"

    def decode(self, payload: Payload, schema: FeatureSchema) -> Decoded:
        """Decode a body; see `PayloadCodec.decode`."""
        body = parse_json(payload.body, beyond_float64=True)
        if type(body) is not dict:
            raise DataError(
                'the body is no JSON object; send {"type": ..., "data": {"insts": ...}}'
            )
        kind = body.get("type")
        decode = _INSTS.get(kind) if isinstance(kind, str) else None
        if decode is None:
            raise DataError(f"is {kind!r:.60}; send one of {', '.join(_INSTS)}", field="type")
        data = body.get("data")
        if type(data) is not dict or "insts" not in data:
            raise DataError("is missing; send the rows in data.insts", field="data.insts")
        event_time = body.get("event_time")
        if event_time is not None:
            event_time = _event_time(event_time)
        return decode(data["insts"], body.get("feature_num"), schema, event_time)


def plain_records(body: str) -> list[Record] | None:
    """Return the raw records of a body, None for one that only its codec can judge.

    The short way for a replay, which reads bodies that were good once: what it returns is what
    `TioneCodec.decode` would, errors and all other kinds of bodies are left to that.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(parsed) is not dict or parsed.get("type") != "record" or "event_time" in parsed:
        return None
    data = parsed.get("data")
    insts = data.get("insts") if type(data) is dict else None
    if type(insts) is dict:
        return [insts]
    return insts if type(insts) is list and insts else None


class OpaqueCodec:
    """Any JSON body, handed over as a whole."""

    id: Final = "opaque/1"

    def decode(self, payload: Payload, schema: FeatureSchema) -> Decoded:
        """Decode a body; see `PayloadCodec.decode`."""
        body = parse_json(payload.body)
        if body is None:
            raise DataError("the body is null; send a JSON value that says something")
        return Decoded(opaque=body)


CODECS: Final[Mapping[str, PayloadCodec]] = {
    **{c.id: c for c in (TioneCodec(), OpaqueCodec())},
    **TENSOR_CALLS,
}
"""Every codec by the id that the log names."""


def codec_named(codec_id: str) -> PayloadCodec:
    """Return a codec by its id.

    Raises:
        ConfigError: this version of samescore does not know it.
    """
    if codec_id not in CODECS:
        raise ConfigError(f"payload codec {codec_id!r} is unknown; known: {', '.join(CODECS)}")
    return CODECS[codec_id]


def parse_json(body: bytes, *, beyond_float64: bool = False) -> Json:
    """Parse strict JSON (RFC 8259). An integer beyond 64 bits becomes the nearest float64.

    Args:
        body: UTF-8.
        beyond_float64: a number such as 1e400 becomes an infinity, as Python's own reader makes it,
            for a caller who refuses it by the name of its field, or ignores the field; else it
            spoils the body.

    Raises:
        DataError: malformed; NaN and Infinity are not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as e:
        if beyond_float64 and _BEYOND_FLOAT64 in e.msg:
            return _parse_beyond_float64(body, e)
        tokens = any(token in body for token in (b"NaN", b"Infinity"))
        hint = "NaN and Infinity are not JSON, send null" if tokens else "send one JSON object"
        raise _malformed(e, hint) from None


def _parse_beyond_float64(body: bytes, error: orjson.JSONDecodeError) -> Json:
    """Parse what orjson refuses for the size of a number alone."""
    try:
        # `float` of an integer's digits takes linear time, and there is no limit to their number.
        value = json.loads(body.decode(), parse_int=_integer, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        raise _malformed(error, "send numbers within ±1.8e308") from None
    return value


def _integer(digits: str) -> float:
    within = len(digits) <= _MOST_DIGITS and -(2**63) <= int(digits) < 2**64
    return int(digits) if within else float(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _malformed(error: orjson.JSONDecodeError, hint: str) -> DataError:
    where = f"line {error.lineno} column {error.colno}"
    return DataError(f"malformed JSON ({error.msg} at {where}); {hint}")


def _event_time(value: Json) -> int:
    if type(value) is not str:
        raise DataError("is no text; send an ISO 8601 time", field="event_time")
    return parse_timestamp(value, field="event_time")


def _records(insts: Json, _num: Json, _schema: FeatureSchema, event: int | None) -> Decoded:
    records = insts if type(insts) is list else [insts]
    if not records:
        raise DataError("is empty; send at least one record", field="data.insts")
    return Decoded(records=records, event_time_us=event)


def _libsvm(insts: Json, feature_num: Json, schema: FeatureSchema, event: int | None) -> Decoded:
    texts = _rows(insts, feature_num, schema)
    values = np.full((len(texts), len(schema)), np.nan, order="F")
    held = np.zeros(values.shape, np.bool_)
    for row, text in enumerate(texts):
        if type(text) is not str:
            raise DataError("is no text; send 'label index:value ...'", row=row)
        _libsvm_row(text, row, values, held)
    return Decoded(features=_rows_of(schema, values, ~held), event_time_us=event)


def _libsvm_row(text: str, row: int, values: NDArray[Any], held: NDArray[np.bool_]) -> None:
    tokens = text.split()
    if tokens and ":" not in tokens[0]:
        tokens = tokens[1:]  # the label
    for token in tokens:
        index_text, colon, value_text = token.partition(":")
        # Python refuses to read integers of thousands of digits; no index is that long.
        if not (colon and index_text.isascii() and index_text.isdigit() and len(index_text) < 19):
            raise DataError(f"holds {token!r:.60}; send index:value pairs", row=row)
        index = int(index_text)
        if not 1 <= index <= values.shape[1]:
            raise DataError(f"has index {index}; indices run from 1 to {values.shape[1]}", row=row)
        if held[row, index - 1]:
            raise DataError(f"has index {index} twice; send it once", row=row)
        values[row, index - 1] = _number(value_text, row, f"index {index}")
        held[row, index - 1] = True


def _dense(insts: Json, feature_num: Json, schema: FeatureSchema, event: int | None) -> Decoded:
    if type(insts) is list and insts and not isinstance(insts[0], (list, str)):
        insts = [insts]
    rows = [_dense_row(r, i, len(schema)) for i, r in enumerate(_rows(insts, feature_num, schema))]
    values = np.array([[np.nan if v is None else v for v in r] for r in rows], np.float64)
    missing = np.array([[v is None for v in r] for r in rows])
    return Decoded(
        features=_rows_of(schema, np.asfortranarray(values), missing, FeatureStatus.NULL),
        event_time_us=event,
    )


def _dense_row(given: Json, row: int, width: int) -> list[float | None]:
    values = _SEPARATOR.split(given.strip()) if type(given) is str else given
    if type(values) is not list:
        raise DataError("is no list of numbers; send one list (or text) a row", row=row)
    if len(values) != width:
        raise DataError(f"has {len(values)} values; the model takes {width} features", row=row)
    return [None if v is None else _number(v, row, f"value {j + 1}") for j, v in enumerate(values)]


def _number(value: Json, row: int, where: str) -> float:
    # Python alone takes 1_000 and the digits of other scripts: other readers of the text would not.
    plain = type(value) is str and value.isascii() and "_" not in value
    if plain or type(value) in (float, int):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and (type(value) is not int or number == value):
            return number
    problem = f"is {value!r:.60}; send a finite number, or leave it out"
    raise DataError(problem, row=row, field=where)


def _rows(insts: Json, feature_num: Json, schema: FeatureSchema) -> list[Json]:
    if feature_num is not None and str(feature_num) != str(len(schema)):
        raise DataError(
            f"is {feature_num!r:.60}; the model takes {len(schema)} features", field="feature_num"
        )
    rows = insts if type(insts) is list else [insts]
    if not rows:
        raise DataError("is empty; send at least one row", field="data.insts")
    return rows


def _rows_of(
    schema: FeatureSchema,
    values: NDArray[np.float64],
    missing: NDArray[np.bool_],
    code: FeatureStatus = FeatureStatus.ABSENT,
) -> FeatureBatch:
    if not schema.all_float64:
        raise DataError("this model takes features that are no numbers; send type record")
    status = {
        schema.names[j]: (missing[:, j] * np.uint8(code)).astype(np.uint8)
        for j in np.flatnonzero(missing.any(axis=0))
    }
    return FeatureBatch(schema, len(values), values, status=status)


_INSTS: Final[dict[str, Callable[[Json, Json, FeatureSchema, int | None], Decoded]]] = {
    "record": _records,
    "libsvm": _libsvm,
    "dense": _dense,
}
