"""Raw records become columns, or an error that names the row and the field."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import DATA_ERROR_TEXT, DataError
from consistency.records import Presence, RecordBatch, parse_timestamp, read_records
from consistency.schema import Field, FieldType, RecordSchema

LIMIT = 2**53
FINITE = st.floats(allow_infinity=False)


def read(kind: FieldType, *values: Any, nullable: bool = False) -> RecordBatch:
    """Read one field `x`; ABSENT leaves it out."""
    optional = ABSENT in values
    schema = RecordSchema((Field("x", kind, required=not optional, nullable=nullable),))
    return read_records(schema, [{} if v is ABSENT else {"x": v} for v in values])


ABSENT = object()


def refused(kind: FieldType, *values: Any, nullable: bool = False) -> DataError:
    with pytest.raises(DataError) as caught:
        read(kind, *values, nullable=nullable)
    return caught.value


GOOD: dict[FieldType, Any] = {
    FieldType.FLOAT64: 1.5,
    FieldType.INT64: 7,
    FieldType.BOOL: True,
    FieldType.STRING: "é",
    FieldType.TIMESTAMP: "2026-01-01T00:00:00Z",
    FieldType.TOKENS: ["a", "b"],
}
WRONG: dict[FieldType, list[Any]] = {
    FieldType.FLOAT64: [
        "1.5",
        True,
        [1.5],
        {},
        LIMIT + 1,
        -LIMIT - 1,
        2**64 - 1,
        -(2**63),
        10**400,
        -(10**4000),
        math.inf,
        -math.inf,
    ],
    FieldType.INT64: [1.0, "1", True, [1], {}, 2**63, -(2**63) - 1, 2**64, 10**400],
    FieldType.BOOL: [0, 1, "true", "False", 1.0, []],
    FieldType.STRING: [1, 1.5, True, ["a"], {}],
    FieldType.TIMESTAMP: [
        0,
        1.5,
        True,
        "",
        "yesterday",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "\ud800",
    ],
    FieldType.TOKENS: ["a b", 1, [1], ["a", None], {}, [["a"]]],
}
CASES = [(kind, value) for kind, values in WRONG.items() for value in values]


# ---- types --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value"), CASES, ids=lambda v: repr(v)[:30])
def test_a_wrong_type_is_refused_by_row_and_field(kind: FieldType, value: object) -> None:
    error = refused(kind, GOOD[kind], GOOD[kind], value, GOOD[kind])
    assert (error.row, error.field) == (2, "x")
    assert str(error).startswith(f"{DATA_ERROR_TEXT}: row 2 field 'x' ")


@pytest.mark.parametrize(("kind", "value"), CASES, ids=lambda v: repr(v)[:30])
def test_the_row_is_right_beside_gaps_too(kind: FieldType, value: object) -> None:
    error = refused(kind, ABSENT, None, GOOD[kind], ABSENT, value, nullable=True)
    assert (error.row, error.field) == (4, "x")


def test_the_message_shows_the_value_and_what_to_send() -> None:
    assert "is the string '1.5'; send a float64" in str(refused(FieldType.FLOAT64, "1.5"))
    assert "is the boolean True; send a int64" in str(refused(FieldType.INT64, True))
    assert "add Z or +08:00" in str(refused(FieldType.TIMESTAMP, "2026-01-01T00:00:00"))
    assert len(str(refused(FieldType.FLOAT64, "9" * 5000))) < 200


@pytest.mark.parametrize("kind", FieldType)
def test_null_and_absence_are_refused_where_they_are_not_declared(kind: FieldType) -> None:
    null = refused(kind, GOOD[kind], None)
    assert (null.row, null.field) == (1, "x")
    assert "is null" in str(null)
    schema = RecordSchema((Field("x", kind),))
    with pytest.raises(DataError, match="row 1 field 'x' is missing") as caught:
        read_records(schema, [{"x": GOOD[kind]}, {}])
    assert (caught.value.row, caught.value.field) == (1, "x")


def test_a_nullable_field_is_still_required() -> None:
    schema = RecordSchema((Field("x", FieldType.FLOAT64, nullable=True),))
    with pytest.raises(DataError, match="is missing"):
        read_records(schema, [{"x": None}, {}])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (FieldType.FLOAT64, np.float64),
        (FieldType.INT64, np.int64),
        (FieldType.BOOL, np.bool_),
        (FieldType.STRING, np.object_),
        (FieldType.TIMESTAMP, np.int64),
        (FieldType.TOKENS, np.object_),
    ],
)
def test_the_dtype_of_a_full_column(kind: FieldType, dtype: type) -> None:
    batch = read(kind, GOOD[kind], GOOD[kind])
    assert batch.columns["x"].dtype == dtype
    assert batch.columns["x"].shape == (2,)
    assert batch.presence == {}


def test_token_lists_of_equal_length_stay_lists() -> None:
    column = read(FieldType.TOKENS, ["a", "b"], ["c", "d"], []).columns["x"]
    assert column.shape == (3,)
    assert column.tolist() == [["a", "b"], ["c", "d"], []]


def test_strings_are_not_trimmed_or_normalised() -> None:
    texts = [" a ", "", "\u0041\u030a", "\u00c5", "null", "a\x00b", "数据错误"]
    assert read(FieldType.STRING, *texts).columns["x"].tolist() == texts


# ---- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [LIMIT, -LIMIT, LIMIT - 1, 0])
def test_integers_that_float64_holds_exactly_are_taken(value: int) -> None:
    column = read(FieldType.FLOAT64, value, 0.5).columns["x"]
    assert int(column[0]) == value


def test_an_integer_that_float64_would_change_is_refused_with_a_remedy() -> None:
    error = refused(FieldType.FLOAT64, 0.5, LIMIT + 1)
    assert str(LIMIT + 1) in str(error)
    assert "declare the field int64 or string" in str(error)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), LIMIT + 1])
def test_int64_holds_every_digit(value: int) -> None:
    assert read(FieldType.INT64, value, 1).columns["x"].tolist() == [value, 1]
    assert read(FieldType.INT64, value, None, nullable=True).columns["x"].tolist() == [value, None]


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30 + 1, -(10**308)])
def test_an_integer_beyond_64_bits_is_the_float_that_readers_of_json_make_of_it(value: int) -> None:
    assert read(FieldType.FLOAT64, 0.5, value, 1).columns["x"].tolist() == [0.5, float(value), 1]


@pytest.mark.parametrize("value", [math.inf, -math.inf])
@pytest.mark.parametrize("before", [(), (0.5,), (math.nan, 1e308, 1e308), (1,), (2**64,)])
def test_an_infinity_is_refused_by_its_row_whatever_stands_before_it(
    before: tuple[float, ...], value: float
) -> None:
    error = refused(FieldType.FLOAT64, *before, value, "text")
    assert error.row == len(before)
    assert "is inf, and" in str(error) or "is -inf, and" in str(error)
    assert refused(FieldType.FLOAT64, *before, value, value).row == len(before)


def test_a_sum_beyond_float64_is_no_infinity() -> None:
    assert read(FieldType.FLOAT64, 1.7e308, 1.7e308).columns["x"].tolist() == [1.7e308, 1.7e308]


def test_the_first_row_is_named_that_is_no_int64() -> None:
    assert refused(FieldType.INT64, 1, 2**63, "text").row == 1
    assert refused(FieldType.INT64, 1, "text", 2**63).row == 1


@given(st.lists(FINITE, min_size=1))
def test_floats_keep_their_bits(values: list[float]) -> None:
    column = read(FieldType.FLOAT64, *values).columns["x"]
    assert column.tobytes() == np.array(values).tobytes()


@given(st.lists(st.one_of(FINITE, st.none(), st.just(ABSENT), st.integers(-5, 5)), min_size=1))
def test_each_float_is_the_same_whatever_stands_beside_it(values: list[Any]) -> None:
    batch = read(FieldType.FLOAT64, *values, nullable=True)
    for row, value in enumerate(values):
        alone = read(FieldType.FLOAT64, value, nullable=True)
        assert alone.columns["x"].tobytes() == batch.columns["x"][row : row + 1].tobytes()
        assert alone.presence_of("x")[0] == batch.presence_of("x")[row]


# ---- null, absent, NaN and 0 --------------------------------------------------------------------


def test_null_absent_nan_and_zero_are_four_things() -> None:
    batch = read(FieldType.FLOAT64, None, ABSENT, math.nan, 0.0, -0.0, nullable=True)
    column, presence = batch.columns["x"], batch.presence_of("x")
    expected = [Presence.NULL, Presence.ABSENT, *[Presence.PRESENT] * 3]
    assert presence.tolist() == expected
    assert presence.dtype == np.uint8
    assert np.isnan(column).tolist() == [True, True, True, False, False]
    assert np.signbit(column[3:]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("kind", "zero"),
    [
        (FieldType.INT64, 0),
        (FieldType.BOOL, False),
        (FieldType.STRING, ""),
        (FieldType.TOKENS, []),
    ],
)
def test_gaps_of_other_types_are_none_and_never_zero(kind: FieldType, zero: Any) -> None:
    batch = read(kind, None, ABSENT, zero, nullable=True)
    assert batch.columns["x"].tolist() == [None, None, zero]
    assert type(batch.columns["x"][2]) is type(zero)
    assert batch.presence_of("x").tolist() == [1, 2, 0]


def test_timestamps_with_gaps_are_integers_and_none() -> None:
    batch = read(FieldType.TIMESTAMP, "1970-01-01T00:00:01Z", None, ABSENT, nullable=True)
    assert batch.columns["x"].tolist() == [1_000_000, None, None]


def test_only_gaps_are_possible() -> None:
    batch = read(FieldType.INT64, None, ABSENT, nullable=True)
    assert batch.columns["x"].tolist() == [None, None]


# ---- the record as a whole ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([1.5], "JSON list"),
        ("x", "JSON string"),
        (None, "JSON null"),
        (1, "JSON integer"),
        (1.5, "JSON number"),
        (True, "JSON boolean"),
    ],
)
def test_a_record_that_is_no_object_is_refused_by_row(record: Any, said: str) -> None:
    schema = RecordSchema((Field("x", FieldType.FLOAT64),))
    with pytest.raises(DataError, match=f"row 1 is a {said}") as caught:
        read_records(schema, [{"x": 1.0}, record])
    assert (caught.value.row, caught.value.field) == (1, None)


def test_no_record_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="holds no record"):
        read_records(RecordSchema((Field("x", FieldType.FLOAT64),)), [])


def test_an_unknown_field_is_refused_by_name_unless_allowed() -> None:
    fields = (Field("x", FieldType.FLOAT64),)
    records = [{"x": 1.0}, {"x": 2.0, "y": 1, "a": 2}]
    with pytest.raises(DataError, match="row 1 field 'a' is not in the schema") as caught:
        read_records(RecordSchema(fields), records)
    assert (caught.value.row, caught.value.field) == (1, "a")
    batch = read_records(RecordSchema(fields, allow_extra=True), records)
    assert list(batch.columns) == ["x"]


def test_the_records_stay_as_they_were() -> None:
    schema = RecordSchema((Field("x", FieldType.FLOAT64, required=False, nullable=True),))
    records: list[dict[str, Any]] = [{"x": 1}, {"x": None}, {}]
    read_records(schema, records)
    assert repr(records) == "[{'x': 1}, {'x': None}, {}]"


# ---- time ---------------------------------------------------------------------------------------

offsets = st.integers(-86_399, 86_399).map(lambda s: timezone(timedelta(seconds=s)))


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets))  # noqa: DTZ001
def test_a_timestamp_is_the_instant_that_datetime_says(moment: datetime) -> None:
    microseconds = parse_timestamp(moment.isoformat())
    assert microseconds == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert microseconds / 1e6 == pytest.approx(moment.timestamp(), abs=1e-4)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=offsets))  # noqa: DTZ001
def test_the_offset_changes_the_text_and_not_the_instant(moment: datetime) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(hours=8))).isoformat()
    utc = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert parse_timestamp(moment.isoformat()) == parse_timestamp(elsewhere) == parse_timestamp(utc)


@given(st.datetimes())
def test_a_naive_time_is_refused(moment: datetime) -> None:
    with pytest.raises(DataError, match="a time without an offset"):
        parse_timestamp(moment.isoformat(), row=3, field="at")


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("2026-03-29T02:30:00+01:00", 1_774_747_800_000_000),
        ("1970-01-01T00:00:00.0000019Z", 1),
    ],
)
def test_instants_known_by_hand(text: str, microseconds: int) -> None:
    assert parse_timestamp(text) == microseconds
