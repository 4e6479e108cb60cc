"""A number in JSON text and the same number from `json.loads`: one verdict, one value.

The online side decodes as the server does, through the codec; the offline side is a user's own
`json.loads`, whose integers have no end and whose 1e400 is an infinity.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consistency.codecs import TioneCodec, parse_json, plain_records
from consistency.errors import DataError
from consistency.graph import PipelineBuilder
from consistency.records import Column, read_records
from consistency.schema import FeatureSchema, Field, FieldType, RecordSchema
from consistency.scored import Payload
from consistency.state import FittedState

NO_FEATURES = FeatureSchema.float64(())
EDGES = (
    "0", "-0", "-0.0", "0e400", "1E5", "1e+5", "0.1e-400", "-1e-400", "1e400", "-1e400", "1E400",
    "9007199254740992", "9007199254740993", "-9007199254740993", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "18446744073709551617", "-18446744073709551616", "1.0", "1e0",
    "18446744073709551616.0", "5e-324", "2e-324", "3e-324", "1.7976931348623157e308",
    "1.7976931348623158e308", "1.7976931348623159e308", str(2**1024 - 2**970 - 1),
    str(2**1024 - 2**970), str(-(2**1024)), "1" + "0" * 308, "9" * 400, "-" + "1" * 309,
    "0." + "0" * 400 + "1e401", "1" * 400 + "e-390", "1" * 400 + ".5",
)  # fmt: skip
ASCII = st.characters(max_codepoint=127)
DIGITS = st.text("0123456789", min_size=1, max_size=400)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Any number that RFC 8259 allows, of up to 400 digits before the point and 400 behind it."""
    sign = draw(st.sampled_from(["", "-"]))
    whole = draw(DIGITS | st.integers(2**63 - 2, 2**64 + 2).map(str)).lstrip("0") or "0"
    point = draw(st.just("") | DIGITS.map(lambda d: "." + d))
    power = draw(
        st.just("") | st.from_regex(r"[eE][+-]?[0-9]{1,3}", fullmatch=True, alphabet=ASCII)
    )
    return sign + whole + point + power


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(numbers(), st.sampled_from(EDGES), FLOATS.map(repr))


def online(record: str) -> Any:
    body = b'{"type":"record","data":{"insts":%b}}' % record.encode()
    return TioneCodec().decode(Payload(body, "tione/1", "application/json"), NO_FEATURES).records


def columns(schema: RecordSchema, records: Any) -> Any:
    """Return what must be the same: every column's bits and gaps, or the refused row and field."""
    try:
        batch = read_records(schema, records)
    except DataError as e:
        return ("refused", e.row, e.field)
    held = {n: c.tolist() if c.dtype == object else c.tobytes() for n, c in batch.columns.items()}
    return held, {name: codes.tobytes() for name, codes in batch.presence.items()}


@pytest.mark.parametrize("kind", list(FieldType))
@pytest.mark.parametrize("nullable", [False, True])
@settings(max_examples=150)
@given(st.lists(NUMBERS | st.sampled_from(["null", '"1"', "true"]), min_size=1, max_size=4))
def test_text_and_python_objects_agree(kind: FieldType, nullable: bool, values: list[str]) -> None:
    schema = RecordSchema((Field("x", kind, nullable=nullable),))
    text = "[" + ",".join(f'{{"x":{value}}}' for value in values) + "]"
    assert columns(schema, online(text)) == columns(schema, json.loads(text))


@pytest.mark.parametrize("kind", list(FieldType))
@pytest.mark.parametrize("value", EDGES)
def test_every_edge_agrees(kind: FieldType, value: str) -> None:
    schema = RecordSchema((Field("x", kind),))
    text = f'[{{"x":{value}}}]'
    assert columns(schema, online(text)) == columns(schema, json.loads(text))


@given(NUMBERS, NUMBERS)
def test_a_field_that_nobody_reads_spoils_nothing(read: str, ignored: str) -> None:
    schema = RecordSchema((Field("x", FieldType.FLOAT64),), allow_extra=True)
    text = f'[{{"x":{read},"more":{{"y":[{ignored}]}}}}]'
    assert columns(schema, online(text)) == columns(schema, json.loads(text))


@given(st.integers() | st.integers(-(10**399), 10**399))
@example(2**64)
@example(-(2**63) - 1)
@example(10**308)
@example(10**309)
def test_any_python_integer_agrees(value: int) -> None:
    schema = RecordSchema(tuple(Field(kind, kind) for kind in FieldType))
    good = {"float64": 1, "int64": 1, "bool": True, "string": "", "tokens": [],
            "timestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
    for kind in FieldType:
        record = {**good, kind: value}
        found = columns(schema, online(json.dumps(record)))
        assert found == columns(schema, [record])


@given(st.lists(NUMBERS, min_size=1, max_size=3))
def test_features_have_the_same_bits(values: list[str]) -> None:
    flow = PipelineBuilder(RecordSchema((Field("x", FieldType.FLOAT64),)))

    @flow.feature
    def half(x: Column) -> Column:
        return x / 2

    pipeline = flow.build().bind(FittedState({}), {})
    text = "[" + ",".join(f'{{"x":{value}}}' for value in values) + "]"

    def made(records: Any) -> Any:
        try:
            return pipeline(records).numeric.tobytes()
        except DataError as e:
            return (e.row, e.field)

    assert made(online(text)) == made(json.loads(text))


# ---------------------------------------------------------------------------- what is refused, how


def test_a_number_beyond_float64_is_refused_by_row_and_field_not_as_a_malformed_body() -> None:
    schema = RecordSchema((Field("x", FieldType.FLOAT64),))
    for value, shown in (("1e400", "inf"), ("-1e400", "-inf"), ("9" * 400, "inf")):
        records = online(f'[{{"x":1}},{{"x":{value}}}]')
        with pytest.raises(DataError, match=f"row 1 field 'x' is {shown}, and no JSON number"):
            read_records(schema, records)


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":1e400,"y":NaN}', b'{"x":1e400,"y":-Infinity}', b'{"x":1e400', b'{"x":1e400} 1',
        b'{"x":1e400,"y":"\\ud800"}', b'{"x":1e400,"\\ud800":1}',
        b'{"x":1e400,"y":01}', b'{"x":1e400,"y":"\n"}', b'{"x":1e400,"y":' + b"[" * 100_000,
        b'{"x":1e400,"y":' + b"[" * 900 + b"1e400" + b"]" * 900,
    ],
)  # fmt: skip
def test_a_body_with_such_a_number_and_another_fault_is_malformed(body: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError, match="infinity"):
        orjson.loads(body)
    with pytest.raises(DataError, match=r"malformed JSON \(number is infinity"):
        parse_json(body, beyond_float64=True)


def test_integers_in_such_a_body_are_what_they_are_in_any_other() -> None:
    texts = ["1", "-0", str(2**64 - 1), str(-(2**63)), str(2**64), str(-(2**63) - 1), "7" * 300]
    listed = ",".join(texts)
    found = parse_json(f"[{listed},1e400]".encode(), beyond_float64=True)
    assert list(map(repr, found)) == [*map(repr, orjson.loads(f"[{listed}]")), "inf"]


def test_an_integer_of_any_length_is_read_in_linear_time_and_refused() -> None:
    found = parse_json(b"[" + b"9" * 1_000_000 + b"]", beyond_float64=True)
    assert found == [math.inf]


def test_opaque_bodies_hold_no_infinity() -> None:
    with pytest.raises(DataError, match="number is infinity"):
        parse_json(b'{"x":1e400}')


def test_a_replay_leaves_such_a_body_to_its_codec() -> None:
    assert plain_records('{"type":"record","data":{"insts":{"x":1,"more":1e400}}}') is None
    assert np.isinf(online('{"x":1,"more":1e400}')[0]["more"])
