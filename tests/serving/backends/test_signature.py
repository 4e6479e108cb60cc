"""What a remote model takes, and bodies and answers of the REST transport."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from consistency.errors import ConfigError
from serving.backends.instance_errors import Failure, InstanceError
from serving.backends.settings import Address, WireProtocol
from serving.backends.signature import (
    DTYPES,
    Signature,
    Tensor,
    choose_signature,
    tensor,
)
from serving.backends.tfs_rest import RestTransport, predict_body, read_outputs

FLOAT, DOUBLE, TEXT = np.dtype("float32"), np.dtype("float64"), np.dtype(object)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["serving_default", "other"], "serving_default"),
        (["only"], "only"),
        (["only", "__saved_model_init_op"], "only"),
    ],
)
def test_the_signature_is_chosen_as_the_loader_chooses_it(names: list[str], chosen: str) -> None:
    assert choose_signature(names, "m/1 on a") == chosen


@pytest.mark.parametrize("names", [[], ["a", "b"], ["__saved_model_init_op"]])
def test_nothing_to_choose_is_an_error(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="m/1 on a: the model needs the signature"):
        choose_signature(names, "m/1 on a")


def test_every_dtype_is_known_by_number_and_by_name() -> None:
    names = {1: "DT_FLOAT", 2: "DT_DOUBLE", 7: "DT_STRING", 9: "DT_INT64", 19: "DT_HALF"}
    for number, name in names.items():
        assert tensor("x", number, (-1,), "m") == tensor("x", name, (-1,), "m")
        assert tensor("x", number, None, "m").dtype == DTYPES[number]
    for odd in (14, "DT_VARIANT", 0):
        with pytest.raises(ConfigError, match="'x' has the dtype"):
            tensor("x", odd, None, "m")


@pytest.mark.parametrize(
    ("shape", "rank", "width", "rows"),
    [
        (None, None, None, None),
        ((), 0, None, None),
        ((-1,), 1, None, None),
        ((-1, 6), 2, 6, None),
        ((4, -1), 2, None, 4),
        ((-1, 2, 3), 3, None, None),
    ],
)
def test_shapes_become_inputs(
    shape: tuple[int, ...] | None, rank: int | None, width: int | None, rows: int | None
) -> None:
    (taken,) = Signature("s", (Tensor("x", DOUBLE, shape),), ()).takes
    assert (taken.rank, taken.width, taken.rows) == (rank, width, rows)


def test_the_dtype_in_the_log_is_the_outputs() -> None:
    outputs = (Tensor("a", FLOAT, (-1,)), Tensor("b", TEXT, (-1,)), Tensor("c", FLOAT, (-1,)))
    assert Signature("s", (), outputs).dtype == "float32+string"


def test_a_body_has_one_array_an_input() -> None:
    signature = Signature("s", (Tensor("a", DOUBLE, (-1, 1)), Tensor("b", TEXT, (-1,))), ())
    body = predict_body(signature, [np.array([[1.5], [np.inf]]), np.array(["x", "数"], object)])
    assert json.loads(body) == {
        "signature_name": "s",
        "inputs": {"a": [[1.5], [float("inf")]], "b": ["x", "数"]},
    }


@pytest.mark.parametrize(
    ("dtype", "value", "array"),
    [
        (FLOAT, [[0.1], [3e38]], np.array([[0.1], [3e38]], np.float32)),
        (DOUBLE, [0.1, float("nan")], np.array([0.1, np.nan])),
        (np.dtype("int64"), [2**63 - 1], np.array([2**63 - 1])),
        (TEXT, ["a", "数"], np.array([b"a", "数".encode()], object)),
        (TEXT, [[{"b64": "/w=="}]], np.array([[b"\xff"]], object)),
    ],
)
def test_answers_become_arrays(dtype: np.dtype[Any], value: Any, array: Any) -> None:
    one = Signature("s", (), (Tensor("y", dtype, None),))
    got = read_outputs(value, one)["y"]
    np.testing.assert_array_equal(got, array)
    assert got.dtype == dtype
    two = Signature("s", (), (Tensor("y", dtype, None), Tensor("z", dtype, None)))
    np.testing.assert_array_equal(read_outputs({"y": value, "z": value}, two)["z"], array)


def test_float32_outputs_come_back_to_the_bit() -> None:
    """Printed with the fewest digits of a float32, as TensorFlow Serving prints them."""
    values = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    printed = json.loads(f"[{','.join(np.format_float_positional(v) for v in values)}]")
    assert np.mean(np.array(printed) == values.astype(np.float64)) < 0.5, "as doubles they differ"
    one = Signature("s", (), (Tensor("y", FLOAT, None),))
    np.testing.assert_array_equal(read_outputs(printed, one)["y"], values)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"{}", "status cannot be read: KeyError"),
        (200, b"[]", "status cannot be read: TypeError"),
        (200, b'{"model_version_status": [{"version": "x", "state": 1}]}', "cannot be read"),
        (200, b"<html>", "HTTP 200 without JSON"),
        (200, b"[" * 100_000, "HTTP 200 without JSON: RecursionError"),
        (500, b'{"error": "out of luck"}', "HTTP 500: out of luck"),
        (502, b"[]", "HTTP 502: None"),
    ],
)
def test_an_odd_answer_is_an_error_of_its_instance(
    status: int, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = RestTransport(Address(WireProtocol.REST, "a", 1))
    monkeypatch.setattr(transport, "_ask_blocking", lambda *_: (status, body))
    with pytest.raises(InstanceError, match=said) as raised:
        transport.states("m", 1.0)
    assert raised.value.failure is Failure.ANSWERED
