from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.codecs import CODECS, codec_named
from consistency.errors import ConfigError, DataError
from consistency.features import FeatureBatch, FeatureStatus
from consistency.protocols import Decoded
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Payload

THREE = FeatureSchema.float64(("a", "b", "c"))
SEED_BODY = (
    '{"type":"libsvm","feature_num":"524","data":{"insts":"0 1:0 2:1.0 3:565 4:9 5:6 6:47200.0 '
    '7:15 8:0.48 9:1959200.0 10:-65535.0 11:0.0 12:0.6447333333333334 524:-65535.0"}}'
)
"""The request of TI-ONE's own documentation, byte for byte."""


def decode(body: Any, schema: FeatureSchema = THREE, codec: str = "tione/1") -> Decoded:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return codec_named(codec).decode(Payload(raw, codec, "application/json"), schema)


def rows_of(decoded: Decoded) -> FeatureBatch:
    assert decoded.features is not None
    return decoded.features


def body(kind: str, insts: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "data": {"insts": insts}, **more}


# ------------------------------------------------------------------------------------------ records


@pytest.mark.parametrize(
    ("insts", "records"),
    [
        ({"x": 1}, [{"x": 1}]),
        ([{"x": 1}], [{"x": 1}]),
        ([{"x": 1}, {"x": None}, {}], [{"x": 1}, {"x": None}, {}]),
    ],
)
def test_one_record_or_many_come_through_as_they_were_sent(
    insts: Any, records: list[dict[str, Any]]
) -> None:
    decoded = decode(body("record", insts))
    assert decoded.records == records
    assert decoded.features is None
    assert decoded.opaque is None


def test_a_record_keeps_all_digits_and_its_integers() -> None:
    (record,) = (
        decode(b'{"type":"record","data":{"insts":[{"x":0.1,"n":9007199254740993}]}}').records or ()
    )
    assert record["x"] == 0.1
    assert record["n"] == 2**53 + 1
    assert type(record["n"]) is int


def test_an_event_time_is_the_same_instant_in_any_offset() -> None:
    berlin = decode(body("record", {}, event_time="2026-01-01T01:00:00.5+01:00"))
    utc = decode(body("record", {}, event_time="2026-01-01T00:00:00.5Z"))
    assert berlin.event_time_us == utc.event_time_us == 1_767_225_600_500_000
    assert decode(body("record", {})).event_time_us is None
    assert decode(body("record", {}, event_time=None)).event_time_us is None


# ------------------------------------------------------------------------------------------- libsvm


def test_the_seeds_own_example_is_read() -> None:
    schema = FeatureSchema.float64(tuple(f"f{i}" for i in range(1, 525)))
    rows = rows_of(decode(SEED_BODY.encode(), schema))
    assert rows.rows == 1
    held = {
        1: 0.0, 2: 1.0, 3: 565.0, 4: 9.0, 5: 6.0, 6: 47200.0, 7: 15.0, 8: 0.48, 9: 1959200.0,
        10: -65535.0, 11: 0.0, 12: 0.6447333333333334, 524: -65535.0,
    }  # fmt: skip
    for index in range(1, 525):
        value = rows.numeric[0, index - 1]
        assert value == held[index] if index in held else math.isnan(value)
    assert len(rows.status) == 524 - len(held)
    assert {int(code[0]) for code in rows.status.values()} == {FeatureStatus.ABSENT}


def test_an_index_that_is_left_out_is_absent_and_not_zero() -> None:
    rows = rows_of(decode(body("libsvm", ["0 1:0 3:5", "1 2:-0.0"])))
    np.testing.assert_array_equal(rows.numeric, [[0, np.nan, 5], [np.nan, 0, np.nan]])
    assert math.copysign(1, rows.numeric[1, 1]) == -1
    status = {name: codes.tolist() for name, codes in rows.status.items()}
    assert status == {"a": [0, 2], "b": [2, 0], "c": [0, 2]}


@pytest.mark.parametrize(
    "text",
    ["1:1 2:2 3:3", "0 1:1 2:2 3:3", "-1 3:3 1:1 2:2", "  1.5\t1:1  2:2\n3:3 ", "nan 1:1 2:2 3:3"],
)
def test_a_label_and_spacing_and_order_do_not_matter(text: str) -> None:
    assert rows_of(decode(body("libsvm", text))).numeric.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("text", ["", "0", "  "])
def test_a_row_without_any_pair_is_a_row_of_absent_values(text: str) -> None:
    rows = rows_of(decode(body("libsvm", text)))
    assert np.isnan(rows.numeric).all()
    assert rows.numeric.shape == (1, 3)


# -------------------------------------------------------------------------------------------- dense


@pytest.mark.parametrize(
    "insts",
    [
        [1, 2.5, -3],
        [[1, 2.5, -3]],
        "1 2.5 -3",
        "1,2.5,-3",
        "1, 2.5, -3",
        ["1 2.5 -3"],
        [["1", 2.5, "-3"]],
    ],
)
def test_one_dense_row_may_be_written_in_several_ways(insts: Any) -> None:
    assert rows_of(decode(body("dense", insts))).numeric.tolist() == [[1, 2.5, -3]]


def test_null_is_a_missing_value_and_zero_is_zero() -> None:
    rows = rows_of(decode(body("dense", [[None, 0, 1], [2, None, 0.0]])))
    np.testing.assert_array_equal(rows.numeric, [[np.nan, 0, 1], [2, np.nan, 0]])
    status = {name: codes.tolist() for name, codes in rows.status.items()}
    assert status == {"a": [FeatureStatus.NULL, 0], "b": [0, FeatureStatus.NULL]}


def test_a_single_row_may_begin_with_null() -> None:
    rows = rows_of(decode(body("dense", [None, 1, 2])))
    np.testing.assert_array_equal(rows.numeric, [[np.nan, 1, 2]])


def test_absent_null_and_zero_stay_apart() -> None:
    absent = rows_of(decode(body("libsvm", "0 2:1 3:1"))).status["a"][0]
    null = rows_of(decode(body("dense", [None, 1, 1]))).status["a"][0]
    zero = rows_of(decode(body("dense", [0, 1, 1])))
    assert (absent, null) == (FeatureStatus.ABSENT, FeatureStatus.NULL)
    assert zero.status == {}
    assert zero.numeric[0, 0] == 0


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(st.none() | FLOATS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_dense_rows_arrive_bit_for_bit(rows: list[list[float | None]]) -> None:
    made = rows_of(decode(body("dense", rows))).numeric
    sent = np.array([[np.nan if v is None else v for v in r] for r in rows])
    assert made.shape == sent.shape
    assert [math.copysign(1, v) for v in made.ravel() if v == 0] == [
        math.copysign(1, v) for v in sent.ravel() if v == 0
    ]
    np.testing.assert_array_equal(made, sent)


@given(st.lists(st.dictionaries(st.integers(1, 3), FLOATS), min_size=1, max_size=5))
def test_libsvm_rows_and_dense_rows_say_the_same(rows: list[dict[int, float]]) -> None:
    texts = ["0 " + " ".join(f"{i}:{v!r}" for i, v in r.items()) for r in rows]
    lists = [[r.get(i) for i in (1, 2, 3)] for r in rows]
    libsvm, dense = rows_of(decode(body("libsvm", texts))), rows_of(decode(body("dense", lists)))
    np.testing.assert_array_equal(libsvm.numeric, dense.numeric)
    assert libsvm.status.keys() == dense.status.keys()
    for name, codes in libsvm.status.items():
        np.testing.assert_array_equal(codes == 0, dense.status[name] == 0)


def test_rows_are_held_column_by_column() -> None:
    for kind, insts in (("dense", [[1, 2, 3], [4, 5, 6]]), ("libsvm", ["1:1", "2:2"])):
        assert rows_of(decode(body(kind, insts))).numeric.flags.f_contiguous


# -------------------------------------------------------------------------------------- feature_num


@pytest.mark.parametrize("said", ["3", 3])
def test_the_feature_number_is_a_text_or_a_number(said: Any) -> None:
    for kind in ("libsvm", "dense"):
        insts = "1:1" if kind == "libsvm" else [1, 2, 3]
        assert rows_of(decode(body(kind, insts, feature_num=said))).rows == 1


@pytest.mark.parametrize("said", ["4", 524, "three", "", 3.0, True])
def test_another_feature_number_is_refused_with_both_numbers(said: Any) -> None:
    for kind in ("libsvm", "dense"):
        with pytest.raises(DataError, match="takes 3 features") as caught:
            decode(body(kind, [1, 2, 3], feature_num=said))
        assert caught.value.field == "feature_num"
        assert repr(said) in str(caught.value)


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "malformed JSON"),
        (b"{", "malformed JSON"),
        (b'{"type":"record"}}', "malformed JSON"),
        (b"\xff\xfe", "malformed JSON"),
        (b'{"type": "record", "data": {"insts": [{"x": NaN}]}}', "NaN and Infinity are not JSON"),
        (b'{"type": "dense", "data": {"insts": [-Infinity]}}', "NaN and Infinity are not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "malformed JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "malformed JSON"),
        (b'{"type": "record", "data": {"insts": ["\xed\xa0\x80"]}}', "malformed JSON"),
        (b'["record"]', "no JSON object"),
        (b"null", "no JSON object"),
        (b'"record"', "no JSON object"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        decode(raw)
    assert caught.value.row is None
    assert str(caught.value).startswith("数据错误: ")


@pytest.mark.parametrize("kind", [None, "records", "LIBSVM", 1, ["libsvm"], {}])
def test_an_unknown_type_is_refused_with_the_known_ones(kind: Any) -> None:
    with pytest.raises(DataError, match="send one of record, libsvm, dense") as caught:
        decode({"type": kind, "data": {"insts": []}})
    assert caught.value.field == "type"


@pytest.mark.parametrize("data", [None, [], "x", {}, {"instances": []}])
def test_a_body_without_rows_says_where_they_belong(data: Any) -> None:
    with pytest.raises(DataError, match=r"data\.insts"):
        decode({"type": "dense", "data": data})


@pytest.mark.parametrize("kind", ["record", "libsvm", "dense"])
def test_an_empty_batch_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match="is empty") as caught:
        decode(body(kind, []))
    assert caught.value.field == "data.insts"


BAD_ROWS: Sequence[tuple[str, Any, int, str]] = [
    ("libsvm", ["1:1", 5], 1, "is no text"),
    ("libsvm", ["1:1", None], 1, "is no text"),
    ("libsvm", ["1:1", ["1:1"]], 1, "is no text"),
    ("libsvm", ["1:1", "0 0:1"], 1, "index 0; indices run from 1 to 3"),
    ("libsvm", ["1:1", "0 4:1"], 1, "index 4; indices run from 1 to 3"),
    ("libsvm", ["1:1", "0 1:1 1:2"], 1, "index 1 twice"),
    ("libsvm", ["1:1", "0 -1:1"], 1, "holds '-1:1'"),
    ("libsvm", ["1:1", "0 x:1"], 1, "holds 'x:1'"),
    ("libsvm", ["1:1", "0 ²:1"], 1, "holds '²:1'"),
    ("libsvm", ["1:1", "0 1:1 2"], 1, "holds '2'"),
    ("libsvm", ["1:1", "0 1: 2"], 1, "is ''"),
    ("libsvm", ["1:1", "0 1:two"], 1, "is 'two'"),
    ("libsvm", ["1:1", "0 1:nan"], 1, "is 'nan'"),
    ("libsvm", ["1:1", "0 1:inf"], 1, "is 'inf'"),
    ("libsvm", ["1:1", "0 1:1e999"], 1, "is '1e999'"),
    ("libsvm", ["1:1", "0 1:1_0"], 1, "is '1_0'"),
    ("libsvm", ["1:1", "0 1:१"], 1, "is '१'"),
    ("libsvm", ["1:1", "0 " + "9" * 5000 + ":1"], 1, "holds '9"),
    ("libsvm", ["1:1", "0 999999999:1"], 1, "indices run from 1 to 3"),
    ("dense", [[1, 2, 3], [1, 2]], 1, "has 2 values; the model takes 3 features"),
    ("dense", [[1, 2, 3], [1, 2, 3, 4]], 1, "has 4 values"),
    ("dense", [[1, 2, 3], []], 1, "has 0 values"),
    ("dense", [[1, 2, 3], 4], 1, "is no list of numbers"),
    ("dense", [[1, 2, 3], None], 1, "is no list of numbers"),
    ("dense", [[1, 2, 3], {"a": 1}], 1, "is no list of numbers"),
    ("dense", [[1, 2, 3], "1 2"], 1, "has 2 values"),
    ("dense", [[1, 2, 3], "1 2 x"], 1, "is 'x'"),
    ("dense", [[1, 2, 3], "1,,3"], 1, "is ''"),
    ("dense", [[1, 2, 3], "1,2,,3"], 1, "has 4 values"),
    ("dense", [[1, 2, 3], ""], 1, "has 1 values"),
    ("dense", [[1, 2, 3], [1, True, 3]], 1, "is True"),
    ("dense", [[1, 2, 3], [1, [2], 3]], 1, r"is \[2\]"),
    ("dense", [[1, 2, 3], [1, "NaN", 3]], 1, "is 'NaN'"),
    ("dense", [[1, 2, 3], [1, "1_0", 3]], 1, "is '1_0'"),
    ("dense", [[1, 2, 3], [1, 2**53 + 1, 3]], 1, f"is {2**53 + 1}"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "insts", "row", "text"), BAD_ROWS)
def test_a_bad_row_is_named_and_so_is_what_is_wrong(
    kind: str, insts: Any, row: int, text: str
) -> None:
    with pytest.raises(DataError, match=text) as caught:
        decode(json.dumps(body(kind, insts)).encode())
    assert caught.value.row == row
    assert f"row {row}" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "insts"),
    [("libsvm", "x" * 9999), ("libsvm", "2:" + "x" * 9999), ("dense", ["x" * 9999, 1, 2])],
)
def test_a_huge_token_is_not_thrown_back_whole(kind: str, insts: Any) -> None:
    with pytest.raises(DataError) as caught:
        decode(body(kind, "0 1:1 " + insts if kind == "libsvm" else [insts]))
    assert "xxx" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("sent", [{"type": "x" * 9999}, body("dense", [1], feature_num="x" * 9999)])
def test_a_huge_setting_is_not_thrown_back_whole(sent: Any) -> None:
    with pytest.raises(DataError) as caught:
        decode(sent)
    assert len(str(caught.value)) < 200


def test_a_bad_value_names_its_place_in_the_row() -> None:
    with pytest.raises(DataError) as dense:
        decode(body("dense", [[1, "x", 3]]))
    with pytest.raises(DataError) as libsvm:
        decode(body("libsvm", "0 2:x"))
    assert dense.value.field == "value 2"
    assert libsvm.value.field == "index 2"


@pytest.mark.parametrize("number", [2**64 + 1, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_the_nearest_float_as_the_json_parser_reads_it(
    number: int,
) -> None:
    found = decode(json.dumps(body("dense", [[number, 1, 2]])).encode())
    assert found.features is not None
    assert found.features.numeric[0, 0] == float(number)


@pytest.mark.parametrize("event_time", ["yesterday", "2026-01-01T00:00:00", 1735689600, ""])
def test_an_event_time_without_an_offset_is_refused(event_time: Any) -> None:
    with pytest.raises(DataError) as caught:
        decode(body("record", {}, event_time=event_time))
    assert caught.value.field == "event_time"


def test_feature_rows_are_refused_by_a_model_whose_features_are_no_numbers() -> None:
    schema = FeatureSchema(("city",), (FeatureType.STRING,))
    for kind, insts in (("dense", ["1"]), ("libsvm", ["1:1"])):
        with pytest.raises(DataError, match="send type record"):
            decode(body(kind, insts), schema)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_do_anything_but_decode_or_raise_a_data_error(raw: bytes) -> None:
    try:
        decoded = decode(raw)
    except DataError:
        return
    assert decoded.records is not None or decoded.features is not None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


NUMBERS = st.integers(-(2**53), 2**53) | st.floats()
DENSE_ROWS = st.lists(st.none() | NUMBERS, min_size=3, max_size=3)
LIBSVM_ROWS = st.dictionaries(st.integers(1, 3), NUMBERS).map(
    lambda row: " ".join(f"{index}:{value}" for index, value in sorted(row.items()))
)


@given(
    st.tuples(st.just("dense"), st.lists(DENSE_ROWS, min_size=1, max_size=4))
    | st.tuples(st.just("libsvm"), st.lists(LIBSVM_ROWS, min_size=1, max_size=4))
)
def test_rows_that_are_nearly_right_decode_whole_and_finite_or_are_refused(
    sent: tuple[str, list[Any]],
) -> None:
    kind, insts = sent
    infinite = any(word in json.dumps(insts) for word in ("NaN", "nan", "Infinity", "inf"))
    try:
        decoded = decode(json.dumps(body(kind, insts)).encode())
    except DataError:
        assert infinite
        return
    assert not infinite
    assert decoded.features is not None
    assert decoded.features.rows == len(insts)
    assert np.isfinite(decoded.features.numeric[~np.isnan(decoded.features.numeric)]).all()


@given(st.sampled_from(["record", "libsvm", "dense"]), JSON_VALUES, JSON_VALUES)
def test_no_rows_do_anything_but_decode_or_raise_a_data_error(
    kind: str, insts: Any, feature_num: Any
) -> None:
    raw = json.dumps(body(kind, insts, feature_num=feature_num)).encode()
    try:
        decoded = decode(raw)
    except DataError:
        return
    if decoded.features is not None:
        assert np.isfinite(decoded.features.numeric[~np.isnan(decoded.features.numeric)]).all()


# ------------------------------------------------------------------------------------------- opaque


@pytest.mark.parametrize("value", [{"a": [1, None]}, [1, 2], "text", 0, False])
def test_an_opaque_body_is_handed_over_as_a_whole(value: Any) -> None:
    decoded = decode(value, codec="opaque/1")
    assert decoded.opaque == value
    assert decoded.records is None
    assert decoded.features is None


@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b"null"])
def test_an_opaque_body_must_be_json_and_say_something(raw: bytes) -> None:
    with pytest.raises(DataError):
        decode(raw, codec="opaque/1")


# ------------------------------------------------------------------------------------------- naming


def test_codecs_are_found_by_the_id_that_the_log_names() -> None:
    assert {name: codec_named(name).id for name in CODECS} == {name: name for name in CODECS}


def test_an_unknown_codec_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'tione/2' is unknown; known: tione/1, opaque/1"):
        codec_named("tione/2")
