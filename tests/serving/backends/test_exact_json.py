"""Numbers as text: what TensorFlow Serving's reader makes of them, and what a correct one does."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.backends.exact_json import json_array, json_number
from serving.faces.tfs_rest.json_numbers import scan_number


def fast_read(text: str) -> float:
    """Read a number as TensorFlow Serving's JSON reader does, to the last bit."""
    value, end = scan_number(text.encode(), 0)
    assert end == len(text)
    return float(value)


def off(read: Callable[[str], float], write: Callable[[float], str], values: NDArray) -> float:
    """Share of the values that arrive as others; none by more than one unit in the last place."""
    got = np.array([read(write(value)) for value in values.tolist()])
    assert np.all(np.abs(got - values) <= np.spacing(np.abs(values)))
    return float(np.mean(got != values))


@pytest.fixture(scope="module", params=["normal", "uniform", "money", "magnitudes"], name="doubles")
def _doubles(request: pytest.FixtureRequest) -> NDArray:
    rng = np.random.default_rng(3)
    return {
        "normal": rng.normal(size=20_000),
        "uniform": rng.random(20_000),
        "money": rng.normal(size=20_000) * 1e6,
        "magnitudes": 10 ** rng.uniform(-6, 18, 20_000),
    }[request.param]


def test_the_usual_text_is_often_misread_and_ours_seldom(doubles: NDArray) -> None:
    usual, ours = off(fast_read, repr, doubles), off(fast_read, json_number, doubles)
    assert usual > 0.08, "or this test has seen nothing"
    assert ours < 0.005


def test_a_correct_reader_reads_every_double_exactly(doubles: NDArray) -> None:
    assert off(float, json_number, doubles) == 0
    assert off(orjson.loads, json_number, doubles) == 0


def test_a_float32_arrives_exactly_even_so(doubles: NDArray) -> None:
    values = doubles.astype(np.float32)
    for write in (repr, json_number):
        got = np.array([fast_read(write(v)) for v in values.astype(np.float64).tolist()])
        np.testing.assert_array_equal(got.astype(np.float32), values)


def test_what_has_few_digits_is_exact_and_stays_readable() -> None:
    rng = np.random.default_rng(4)
    for value in (rng.integers(-(10**9), 10**9, 5000) / 10.0 ** rng.integers(0, 6, 5000)).tolist():
        assert json_number(value) == repr(value)
        assert fast_read(json_number(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_json_and_itself(value: float) -> None:
    text = json_number(value)
    got = json.loads(text)
    assert isinstance(got, float)
    assert (got, str(got)[0] == "-") == (value, str(value)[0] == "-")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"),
        (0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (2.0**63, "9.223372036854775808e18"),
    ],
)  # fmt: skip
def test_special_values(value: float, text: str) -> None:
    said = json_number(value)
    assert said == text or float(said) == float(text)
    np.testing.assert_equal(json.loads(said), value)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([[1.5, 2.0], [3.0, np.nan]]), "[[1.5,2.0],[3.0,NaN]]"),
        (np.array([1, 2**63 - 1]), "[1,9223372036854775807]"),
        (np.array([[True], [False]]), "[[true],[false]]"),
        (np.array(['a"b', "Zürich"], object), '["a\\"b","Zürich"]'),
        (np.array([b"\xff"], object), '[{"b64": "/w=="}]'),
        (np.zeros((1, 2, 1), np.int32), "[[[0],[0]]]"),
        (np.zeros((0, 2)), "[]"),
        (np.zeros((2, 0)), "[[], []]"),
        (np.array(0.5), "0.5"),
    ],
)
def test_arrays(array: NDArray, text: str) -> None:
    assert json_array(array) == text
