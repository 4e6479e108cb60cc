from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.batching import merging
from serving.model_server.status import Code, StatusError


def failed(call: Callable[..., object], *args: object, **named: object) -> StatusError:
    with pytest.raises(StatusError) as raised:
        call(*args, **named)
    return raised.value


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x:0": np.array(1.0)}, "Batching Run() input tensors must have at least one dimension"),
        (
            {"a:0": np.zeros(2), "b:0": np.zeros(3)},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_a_request_that_has_no_size(inputs: dict[str, np.ndarray], said: str) -> None:
    error = failed(merging.batch_size, inputs)
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, said)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 4))
def test_what_is_merged_is_split_again(sizes: list[int], padding: int) -> None:
    parts = [{"x": np.random.default_rng(n).normal(size=(n, 3))} for n in sizes]
    rows = sum(sizes) + padding
    merged = merging.merge(parts, rows, pad_inner=False)["x"]
    assert merged.shape == (rows, 3)
    assert all((row == parts[-1]["x"][0]).all() for row in merged[sum(sizes) :])
    merging.check_outputs([merged], rows)
    for part, (own,) in zip(parts, merging.split([merged], sizes), strict=True):
        assert own.tobytes() == part["x"].tobytes()


def test_other_inner_shapes_are_refused_in_upstreams_words() -> None:
    parts = [{"x:0": np.zeros((1, 2))}, {"x:0": np.zeros((1, 3))}]
    error = failed(merging.merge, parts, 2, pad_inner=False)
    assert error.code is Code.FAILED_PRECONDITION
    assert error.message == (
        "Tensors with name 'x:0' from different tasks have different shapes and padding is turned "
        "off.Set pad_variable_length_inputs to true, or ensure that all tensors with the same "
        "namehave equal dimensions starting with the first dim."
    )


def test_inner_axes_are_filled_with_the_first_value() -> None:
    words = np.empty((1, 1, 2), object)
    words[:] = [[[b"a", b"b"]]]
    other = np.empty((1, 2, 1), object)
    other[:] = [[[b"c"], [b"d"]]]
    found = merging.merge([{"x": words}, {"x": other}], 2, pad_inner=True)["x"]
    assert found.tolist() == [[[b"a", b"b"], [b"a", b"a"]], [[b"c", b"c"], [b"d", b"c"]]]


def test_what_cannot_be_filled() -> None:
    empty = [{"x": np.zeros((1, 0))}, {"x": np.zeros((1, 2))}]
    assert "Got empty tensor" in failed(merging.merge, empty, 2, pad_inner=True).message
    deep = [{"x": np.zeros((1,) * 7)}]
    assert "rank from 1 to 6" in failed(merging.merge, deep, 1, pad_inner=True).message
    ranks = [{"x": np.zeros((1, 2))}, {"x": np.zeros(1)}]
    assert "different ranks" in failed(merging.merge, ranks, 2, pad_inner=True).message


def test_what_would_be_filled_up_without_measure() -> None:
    shapes = [(1, 1000, 1, 1), (1, 1, 1000, 1), (1, 1, 1, 1000)]
    error = failed(merging.merge, [{"x": np.zeros(shape)} for shape in shapes], 3, pad_inner=True)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "24000000000 bytes" in error.message


@pytest.mark.parametrize("output", [np.array(1.0), np.zeros(3)])
def test_outputs_that_cannot_be_divided(output: np.ndarray) -> None:
    error = failed(merging.check_outputs, [output], 2)
    assert error.code is Code.FAILED_PRECONDITION
    assert error.message.startswith("Batched output tensor")
