from __future__ import annotations

import pytest

from consistency.codecs import CODECS, codec_named
from consistency.errors import DataError
from consistency.schema import FeatureSchema
from consistency.scored import Payload
from consistency.tensor_calls import (
    TENSOR_CALLS,
    CallRefusedError,
    Method,
    TensorCallCodec,
    Wire,
)


@pytest.mark.parametrize(
    ("method", "wire", "id"),
    [
        (Method.PREDICT, Wire.GRPC, "tfs-predict/1"),
        (Method.CLASSIFY, Wire.GRPC, "tfs-classify/1"),
        (Method.REGRESS, Wire.GRPC, "tfs-regress/1"),
        (Method.MULTI_INFERENCE, Wire.GRPC, "tfs-multi-inference/1"),
        (Method.PREDICT, Wire.REST, "tfs-rest/1"),
        (Method.REGRESS, Wire.REST, "tfs-rest-regress/1"),
        (Method.PREDICT, Wire.REST_EXACT, "tfs-rest-exact/1"),
        (Method.CLASSIFY, Wire.REST_EXACT, "tfs-rest-exact-classify/1"),
    ],
)
def test_an_id_says_how_the_bytes_are_read(method: Method, wire: Wire, id: str) -> None:
    assert TensorCallCodec(method, wire).id == id
    assert codec_named(id) == TensorCallCodec(method, wire)


def test_every_call_has_an_id_of_its_own_and_is_known_by_it() -> None:
    assert len(TENSOR_CALLS) == 4 + 2 * 3
    assert TENSOR_CALLS.keys() <= CODECS.keys()


@pytest.mark.parametrize("body", [b"", b"\x0a\xff\x00", b"{"])
def test_the_bytes_are_handed_over_as_they_came(body: bytes) -> None:
    payload = Payload(body, "tfs-predict/1", "application/grpc")
    decoded = codec_named("tfs-predict/1").decode(payload, FeatureSchema((), ()))
    assert decoded.call == payload
    assert (decoded.records, decoded.features, decoded.opaque) == (None, None, None)


def test_a_refusal_says_word_for_word_what_the_client_was_told() -> None:
    error = CallRefusedError("Missing ModelSpec")
    assert isinstance(error, DataError)
    assert str(error) == "Missing ModelSpec"
