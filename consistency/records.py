"""Raw records become typed columns, or a `DataError` that names the row and the field.

None, NaN, absent and 0 are four different things: a column keeps a presence code beside each value.

A record that came as JSON text and the same record as Python objects get one verdict and one value.
Readers of JSON make a float64 of an integer beyond 64 bits, so a Python integer of that size is one
here, too: nobody could tell it from 1.8e19 online. An infinity is none of a client's: no JSON says
it, and Python alone reads 1e400 as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.errors import DataError
from consistency.schema import Field, FieldType, RecordSchema

Record: TypeAlias = Mapping[str, Any]  # Any: the JSON value types; each field is checked below
Column: TypeAlias = NDArray[Any]  # Any: dtype by field; object for strings, nulls and token lists

MAX_EXACT_INT_IN_FLOAT64: Final = 2**53
_FLOAT_ONLY: Final = frozenset([float])
_INT_ONLY: Final = frozenset([int])
_INFINITE: Final = "and no JSON number is infinite; send a finite one, or null where it is missing"
_TOO_LARGE: Final = "beyond the largest float64; send a smaller number or declare the field string"


class Presence(IntEnum):
    """Whether a record held a field."""

    PRESENT = 0
    NULL = 1
    ABSENT = 2


class _Absent:
    """The type of the marker for a key that is not there (JSON has no such value)."""


_ABSENT: Final = _Absent()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """N raw records as columns.

    Attributes:
        rows: N.
        columns: field name to an array of shape (N,). A missing float is NaN, a missing string or
            token list None; other types with gaps fall back to object columns holding None.
        presence: field name to `Presence` codes (uint8, shape (N,)), only for fields with gaps.
    """

    rows: int
    columns: dict[str, Column]
    presence: dict[str, NDArray[np.uint8]]

    def presence_of(self, name: str) -> NDArray[np.uint8]:
        """Return `Presence` codes of a field, shape (N,), zeros when every record holds it."""
        codes = self.presence.get(name)
        return np.zeros(self.rows, np.uint8) if codes is None else codes


def read_records(schema: RecordSchema, records: Sequence[Record]) -> RecordBatch:
    """Check records against a schema and turn them into columns.

    Args:
        schema: what each record must hold.
        records: N >= 1 JSON objects.

    Raises:
        DataError: naming the first offending row and field.
    """
    _check_keys(schema, records)
    columns: dict[str, Column] = {}
    presence: dict[str, NDArray[np.uint8]] = {}
    only = records[0] if len(records) == 1 else None  # a loop over one record costs more than it
    for spec in schema.fields:
        name = spec.name
        if only is not None:
            values = [only.get(name, _ABSENT)]
        else:
            values = [record.get(name, _ABSENT) for record in records]
        kinds = set(map(type, values))
        if type(None) in kinds or _Absent in kinds:
            values, codes = _gaps(spec, values)
            presence[name] = codes
            columns[name] = _convert_with_gaps(spec, values, codes)
        else:
            columns[name] = _CONVERTERS[spec.type](spec, values, kinds)
    return RecordBatch(len(records), columns, presence)


def _check_keys(schema: RecordSchema, records: Sequence[Record]) -> None:
    if not records:
        raise DataError("the request holds no record; send at least one")
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(f"is a JSON {_json_type(record)}; send an object", row=row)
        if not schema.allow_extra and not schema.names.issuperset(record):
            extra = min(record.keys() - schema.names)
            raise DataError(
                f"is not in the schema; remove it (known: {', '.join(sorted(schema.names))})",
                row=row,
                field=extra,
            )


def _gaps(spec: Field, values: list[Any]) -> tuple[list[Any], NDArray[np.uint8]]:
    """Return values with None in every gap, and the presence codes."""
    codes = np.zeros(len(values), np.uint8)
    filled = list(values)
    for row, value in enumerate(values):
        if value is _ABSENT:
            if spec.required:
                raise DataError(f"is missing; send a {spec.type}", row=row, field=spec.name)
            codes[row], filled[row] = Presence.ABSENT, None
        elif value is None:
            if not spec.nullable:
                raise DataError(f"is null; send a {spec.type}", row=row, field=spec.name)
            codes[row] = Presence.NULL
    return filled, codes


def _convert_with_gaps(spec: Field, values: list[Any], codes: NDArray[np.uint8]) -> Column:
    held = np.flatnonzero(codes == Presence.PRESENT)
    out: Column
    if spec.type is FieldType.FLOAT64:
        out = np.full(len(values), np.nan)
    else:
        out = np.full(len(values), None, object)
    if held.size:
        present = [values[i] for i in held]
        try:
            out[held] = _CONVERTERS[spec.type](spec, present, set(map(type, present)))
        except DataError as e:
            row = None if e.row is None else int(held[e.row])
            raise DataError(e.problem, row=row, field=e.field) from None
    return out


def _floats(spec: Field, values: list[Any], kinds: set[type]) -> Column:
    if kinds != _FLOAT_ONLY:
        for row, value in enumerate(values):
            _check_number(spec, row, value)
        return np.array(values, np.float64)
    column = np.fromiter(values, np.float64, len(values))  # quicker than np.array
    # A sum is finite only if every value is; numpy's own test takes ten times as long for one row.
    if not math.isfinite(sum(values)) and (infinite := np.isinf(column)).any():
        row = int(infinite.argmax())
        _check_number(spec, row, values[row])
    return column


def _check_number(spec: Field, row: int, value: object) -> None:
    if type(value) is int:
        problem = _changed_by_float64(value) if abs(value) > MAX_EXACT_INT_IN_FLOAT64 else None
    elif type(value) is float:
        problem = _INFINITE if math.isinf(value) else None
    else:
        raise _wrong_type(spec, row, value)
    if problem is not None:
        raise DataError(f"is {_shown(value)}, {problem}", row=row, field=spec.name)


def _changed_by_float64(value: int) -> str | None:
    if -(2**63) <= value < 2**64:
        return (
            "an integer that float64 cannot hold exactly; send a number within ±2**53 or declare "
            "the field int64 or string"
        )
    try:
        float(value)
    except OverflowError:
        return _TOO_LARGE
    return None  # where it comes as text, it is a float by now


def _integers(spec: Field, values: list[Any], kinds: set[type]) -> Column:
    try:
        if kinds == _INT_ONLY:
            return np.array(values, np.int64)
    except OverflowError:
        pass
    for row, value in enumerate(values):
        if type(value) is not int:
            raise _wrong_type(spec, row, value)
        if not -(2**63) <= value < 2**63:
            raise DataError(
                f"is {_shown(value)}, outside int64; send it as a string", row=row, field=spec.name
            )
    raise AssertionError("some value is no int64")


def _booleans(spec: Field, values: list[Any], kinds: set[type]) -> Column:
    if kinds != {bool}:
        row = next(i for i, v in enumerate(values) if type(v) is not bool)
        raise _wrong_type(spec, row, values[row])
    return np.array(values, np.bool_)


def _strings(spec: Field, values: list[Any], kinds: set[type]) -> Column:
    if kinds != {str}:
        row = next(i for i, v in enumerate(values) if type(v) is not str)
        raise _wrong_type(spec, row, values[row])
    return np.array(values, object)


def _timestamps(spec: Field, values: list[Any], _kinds: set[type]) -> Column:
    out = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        if type(value) is not str:
            raise _wrong_type(spec, row, value)
        out[row] = parse_timestamp(value, row=row, field=spec.name)
    return out


def parse_timestamp(text: str, *, row: int | None = None, field: str | None = None) -> int:
    """Return microseconds since the epoch (UTC) of an ISO 8601 text that carries an offset.

    Digits beyond the microsecond are cut off.

    >>> parse_timestamp("2026-01-01T01:00:00+01:00") == parse_timestamp("2026-01-01T00:00:00Z")
    True

    Raises:
        DataError: not ISO 8601, or without an offset (a naive time means another instant on a
            machine in another time zone).
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"is {text!r}; send an ISO 8601 time such as 2026-01-01T10:00:00Z", row=row, field=field
        ) from None
    if moment.utcoffset() is None:
        raise DataError(
            f"is {text!r}, a time without an offset; add Z or +08:00", row=row, field=field
        )
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _tokens(spec: Field, values: list[Any], _kinds: set[type]) -> Column:
    out = np.empty(len(values), object)
    for row, value in enumerate(values):
        if type(value) is not list or any(type(t) is not str for t in value):
            raise _wrong_type(spec, row, value)
        out[row] = value
    return out


_CONVERTERS: Final[dict[FieldType, Callable[[Field, list[Any], set[type]], Column]]] = {
    FieldType.FLOAT64: _floats,
    FieldType.INT64: _integers,
    FieldType.BOOL: _booleans,
    FieldType.STRING: _strings,
    FieldType.TIMESTAMP: _timestamps,
    FieldType.TOKENS: _tokens,
}

_JSON_TYPES: Final = {
    dict: "object",
    list: "list",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), type(value).__name__)


def _wrong_type(spec: Field, row: int, value: object) -> DataError:
    return DataError(
        f"is the {_json_type(value)} {_shown(value)}; send a {spec.type}", row=row, field=spec.name
    )


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # Python prints no integer of more than 4300 digits
        shown = f"of {value.bit_length()} bits" if isinstance(value, int) else "nested too deeply"
    return shown if len(shown) <= 60 else shown[:57] + "..."
