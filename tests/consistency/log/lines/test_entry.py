from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from consistency.features import FeatureBatch, FeatureStatus
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import LineError, decode_line
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import STAGES, GateState, Outcome, Payload, ScoredRequest
from tests.fixtures.scored import INFO, make_request
from tests.fixtures.strategies import FLOATS, FLOATS32, INTEGERS, TEXTS, columns

NAN, INF = math.nan, math.inf


def there_and_back(request: ScoredRequest) -> LoggedRequest:
    line = encode_line(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return decode_line(line[:-1])


def assert_same_bits(found: Any, sent: Any) -> None:
    """Equal dtypes, shapes and bits; any NaN is as good as another."""
    assert found.dtype == sent.dtype
    assert found.shape == sent.shape
    if sent.dtype == object:
        assert found.tolist() == sent.tolist()
        return
    if sent.dtype.kind == "f":
        found = np.where(np.isnan(found), sent.dtype.type(NAN), found)
        sent = np.where(np.isnan(sent), sent.dtype.type(NAN), sent)
    assert found.tobytes() == sent.tobytes()


# ------------------------------------------------------------------------------------------ the law


@st.composite
def batches(draw: st.DrawFn) -> FeatureBatch:
    rows = draw(st.integers(1, 4))
    kinds = draw(st.lists(st.sampled_from(list(FeatureType)), min_size=1, max_size=5))
    names = tuple(f"f{i}" for i in range(len(kinds)))
    made = {n: draw(columns(k, rows)) for n, k in zip(names, kinds, strict=True)}
    floats = [n for n, k in zip(names, kinds, strict=True) if k is FeatureType.FLOAT64]
    numeric = np.empty((rows, len(floats)), order="F")
    for j, name in enumerate(floats):
        numeric[:, j] = made[name]
    codes = hnp.arrays(np.uint8, rows, elements=st.sampled_from([int(s) for s in FeatureStatus]))
    status = draw(st.dictionaries(st.sampled_from(names), codes))
    others = {n: made[n] for n in names if n not in floats}
    return FeatureBatch(
        FeatureSchema(names, tuple(kinds)), rows, numeric, others, status, {"t": "id"}
    )


@given(batches())
def test_features_come_back_bit_for_bit(batch: FeatureBatch) -> None:
    request = make_request(features=batch, rows=batch.rows, snapshots=batch.snapshots)
    found = there_and_back(request).features
    assert found is not None
    assert found.rows == batch.rows
    assert set(found.schema.names) == set(batch.schema.names)
    for name, kind in zip(batch.schema.names, batch.schema.types, strict=True):
        assert found.schema.types[found.schema.names.index(name)] is kind
        assert_same_bits(found.column(name), batch.column(name))
    assert found.status.keys() == batch.status.keys()
    for name, codes in batch.status.items():
        assert_same_bits(found.status[name], codes)
    assert found.snapshots == batch.snapshots


def test_an_infinity_of_a_float32_feature_comes_back() -> None:
    schema = FeatureSchema(("x",), (FeatureType.FLOAT32,))
    values = np.array([INF, -INF, NAN], np.float32)
    batch = FeatureBatch(schema, 3, np.empty((3, 0), order="F"), {"x": values})
    found = there_and_back(make_request(features=batch, rows=3)).features
    assert found is not None
    assert_same_bits(found.column("x"), values)


def test_a_logged_float64_row_keeps_its_columns_and_their_order() -> None:
    schema = FeatureSchema.float64(("z", "a", "m"))
    batch = FeatureBatch(schema, 2, np.asfortranarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    found = there_and_back(make_request(features=batch, rows=2)).features
    assert found is not None
    assert found.schema == schema
    assert found.matrix().tolist() == [[1, 2, 3], [4, 5, 6]]


SHAPES = st.sampled_from([(1,), (3,), (1, 1), (2, 3), (3, 1), (2, 2, 2)])
OUTPUTS = SHAPES.flatmap(
    lambda shape: st.one_of(
        hnp.arrays(np.float64, shape, elements=FLOATS),
        hnp.arrays(np.float32, shape, elements=FLOATS32),
        hnp.arrays(np.float16, shape, elements=st.floats(width=16)),
        hnp.arrays(np.int64, shape, elements=INTEGERS),
        hnp.arrays(np.uint64, shape, elements=st.integers(0, 2**64 - 1)),
        hnp.arrays(np.int8, shape),
        hnp.arrays(np.bool_, shape),
        hnp.arrays(object, shape, elements=st.none() | TEXTS),
    )
)


@given(st.dictionaries(TEXTS, OUTPUTS, min_size=1, max_size=3))
def test_raw_outputs_come_back_with_dtype_shape_and_bits(outputs: dict[str, Any]) -> None:
    found = there_and_back(make_request(outputs=outputs)).outputs
    assert found is not None
    assert found.keys() == outputs.keys()
    for name, values in outputs.items():
        assert_same_bits(found[name], values)


def test_labels_in_a_numpy_text_array_come_back() -> None:
    found = there_and_back(make_request(outputs={"label": np.array(["late", "on time"])})).outputs
    assert found is not None
    assert found["label"].tolist() == ["late", "on time"]


@given(hnp.arrays(np.float64, st.sampled_from([(1,), (4,), (1, 3), (3, 2)]), elements=FLOATS))
def test_scores_come_back_bit_for_bit(scores: Any) -> None:
    found = there_and_back(make_request(scores=scores, rows=len(scores))).scores
    assert found is not None
    assert_same_bits(found, scores)


@given(
    st.binary(max_size=60) | st.text(max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_the_payload_comes_back_byte_for_byte(raw: bytes) -> None:
    payload = Payload(raw, "tione/1", "text/plain; charset=utf-8")
    assert there_and_back(make_request(payload=payload)).payload == payload


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\x00\xfe", b'{"a": 1}', "数据".encode(), b"\x00", b"\n\r\n"]
)
def test_a_payload_is_text_in_the_log_where_it_is_utf8(raw: bytes) -> None:
    logged = there_and_back(make_request(payload=Payload(raw, "tione/1", "")))
    assert logged.payload.body == raw
    is_text = b"\xff" not in raw
    assert (logged.fields["payload_encoding"] == "utf-8") is is_text


# ---------------------------------------------------------------------------------------- the facts


def test_the_facts_of_a_request_come_back() -> None:
    request = make_request(
        "r-77",
        label="canary",
        event_time_us=5,
        snapshots={"w": "id"},
        batch_rows=64,
        batch_position=3,
    )
    logged = there_and_back(request)
    assert logged.request_id == "r-77"
    assert logged.model == ("m", 1)
    assert logged.rows == 1
    assert logged.outcome is Outcome.OK
    assert logged.snapshots == {"w": "id"}
    fields = logged.fields
    assert (fields["label"], fields["event_time_us"]) == ("canary", 5)
    assert (fields["batch_rows"], fields["batch_position"]) == (64, 3)
    assert fields["ingest_time_us"] == request.ingest_time_us
    times = [fields["latency"][f"{stage}_ns"] for stage in STAGES]
    assert times == [1, 2, 3, 4, 5, 6, 21]


def test_the_facts_of_the_servable_come_back() -> None:
    held = there_and_back(make_request()).servable
    assert held["gate"] == GateState.VERIFIED
    assert {k: held[k] for k in ("bundle_digest", "pipeline_digest", "cpu_digest")} == {
        "bundle_digest": INFO.bundle_digest,
        "pipeline_digest": INFO.pipeline_digest,
        "cpu_digest": INFO.cpu_digest,
    }
    assert (held["backend"], held["device"], held["dtype"]) == (
        "in_process/fake 1.0",
        "cpu",
        "float64",
    )
    assert (held["execution"], held["threads"]) == ("as_is", 1)


def test_of_several_instances_the_one_that_answered_is_the_backend() -> None:
    for instance in ("grpc://a:8500", "grpc://b:8500"):
        request = replace(make_request(), instance=instance)
        assert there_and_back(request).servable["backend"] == instance
    assert there_and_back(make_request()).servable["backend"] == INFO.backend


@pytest.mark.parametrize("outcome", [Outcome.DATA_ERROR, Outcome.BACKEND_ERROR, Outcome.TIMEOUT])
def test_a_request_that_was_not_scored_comes_back_without_numbers(outcome: Outcome) -> None:
    nothing: dict[str, Any] = {"rows": 0, "features": None, "outputs": None, "scores": None}
    refused = make_request(
        outcome=outcome, message="数据错误: row 0", refused_by="features", **nothing
    )
    logged = there_and_back(refused)
    assert logged.outcome is outcome
    assert logged.fields["message"] == "数据错误: row 0"
    assert logged.fields["refused_by"] == "features"
    assert (logged.features, logged.outputs, logged.scores, logged.rows) == (None, None, None, 0)


def test_what_json_cannot_say_stands_beside_the_values() -> None:
    batch = FeatureBatch(
        FeatureSchema.float64(("a", "b")), 2, np.asfortranarray([[NAN, INF], [-INF, -0.0]]),
        status={"a": np.array([FeatureStatus.NULL, 0], np.uint8)},
    )  # fmt: skip
    line = encode_line(make_request(features=batch, rows=2, scores=np.array([NAN, -INF])))
    fields = json.loads(line)
    assert fields["feature_names"] == ["a", "b"]
    assert fields["feature_rows"] == [[None, None], [None, -0.0]]
    assert fields["feature_inf"] == {"a": [[1, -1]], "b": [[0, 1]]}
    assert fields["feature_status"] == {"a": [1, 0]}
    assert fields["scores"] == [None, None]
    assert fields["scores_inf"] == [[1, -1]]


# ----------------------------------------------------------------------------------------- the line


def test_a_line_is_json_that_ends_in_the_crc_of_what_is_before() -> None:
    line = encode_line(make_request())
    crc = json.loads(line)["crc"]
    body = line[: line.rindex(b',"crc"')] + b"}"
    assert crc == f"{zlib.crc32(body):08x}"


def test_the_crc_catches_every_single_flipped_byte() -> None:
    line = encode_line(make_request())[:-1]
    for position in range(len(line)):
        for bit in (0x01, 0x20, 0x80):
            damaged = bytearray(line)
            damaged[position] ^= bit
            with pytest.raises((LineError, orjson.JSONDecodeError)):
                decode_line(bytes(damaged))


def test_every_line_that_is_cut_short_is_refused() -> None:
    line = encode_line(make_request())[:-1]
    for end in range(len(line)):
        with pytest.raises(LineError):
            decode_line(line[:end])


@given(st.binary(max_size=120))
def test_bytes_that_nobody_wrote_are_no_line(raw: bytes) -> None:
    with pytest.raises(LineError):
        decode_line(raw)


def test_flags_are_there_and_back_and_no_line_holds_none() -> None:
    flags = {"city:be_in_set": [0, 3], "a,b:a_greater_than_b if c == '東京'": [1]}
    assert there_and_back(make_request(flags=flags)).flags == flags
    plain = there_and_back(make_request())
    assert plain.flags == {}
    assert "flags" not in plain.fields
