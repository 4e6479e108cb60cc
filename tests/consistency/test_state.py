"""Fitted state: what serving reads is what training held, to the last bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.state import FittedState

dtypes = st.sampled_from(["<f8", ">f8", "<f4", "<f2", "<i8", ">i4", "<u8", "|b1", "|u1"])
any_array = dtypes.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0)))
keys = st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda k: not k.startswith("$"))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(codec="utf-8")),
    any_array,
)
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4), max_leaves=12
)
states = st.dictionaries(keys, values, max_size=5)


def same(a: object, b: object) -> bool:
    """Whether two values are equal in type and bits."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        little = a.astype(a.dtype.newbyteorder("<"))
        return b.dtype == little.dtype and a.shape == b.shape and little.tobytes() == b.tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return repr(a) == repr(b)
    return type(a) is type(b) and a == b


@given(states)
def test_a_state_survives_its_bytes_exactly(given_values: dict[str, Any]) -> None:
    state = FittedState(given_values)
    again = FittedState.from_bytes(state.to_bytes())
    assert same(given_values, dict(again))
    assert same(dict(state), dict(again))
    assert again.digest == state.digest
    assert again.to_bytes() == state.to_bytes()


@given(st.floats(allow_nan=False))
def test_floats_come_back_with_the_same_bits(value: float) -> None:
    again = FittedState.from_bytes(FittedState({"x": [value]}).to_bytes())["x"][0]
    assert np.float64(again).tobytes() == np.float64(value).tobytes()


def test_nan_infinities_and_minus_zero_stay_apart() -> None:
    again = FittedState({"x": [math.nan, math.inf, -math.inf, -0.0, 0.0, None]})["x"]
    assert [repr(v) for v in again] == ["nan", "inf", "-inf", "-0.0", "0.0", "None"]


@pytest.mark.parametrize(
    ("given_value", "held"),
    [
        ((1, 2), [1, 2]),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int16(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        ({np.str_("k"): 1}, {"k": 1}),
    ],
)
def test_training_holds_what_serving_will_read(given_value: object, held: object) -> None:
    state = FittedState({"v": given_value})
    assert state["v"] == held
    assert type(state["v"]) is type(held)
    assert same(dict(state), dict(FittedState.from_bytes(state.to_bytes())))


def test_training_sees_the_key_order_that_serving_sees() -> None:
    """An author who enumerates a dict would otherwise number its entries in two ways."""
    state = FittedState({"routes": {"b": 1, "a": 2}})
    assert list(state["routes"]) == ["a", "b"]
    assert list(FittedState.from_bytes(state.to_bytes())["routes"]) == ["a", "b"]


def test_training_sees_the_memory_layout_that_serving_sees() -> None:
    strided: NDArray[np.float64] = np.arange(12.0).reshape(3, 4).T[::2]
    held = FittedState({"v": strided})["v"]
    assert held.flags.c_contiguous
    assert not held.flags.writeable
    assert (held == strided).all()


def test_the_state_does_not_change_with_what_it_was_made_of() -> None:
    table = np.array([1.0, 2.0])
    state = FittedState({"table": table})
    before = state.digest
    table[0] = 9.0
    assert state["table"].tolist() == [1.0, 2.0]
    assert FittedState.from_bytes(state.to_bytes()).digest == before


def test_the_digest_is_that_of_the_content() -> None:
    one = FittedState({"a": 1, "b": [1.5]})
    assert FittedState({"b": [1.5], "a": 1}).digest == one.digest
    different: list[dict[str, Any]] = [
        {"a": 1, "b": [1.5000000000000002]},
        {"a": 1.0, "b": [1.5]},
        {"a": 1},
    ]
    assert len({one.digest, *(FittedState(d).digest for d in different)}) == 4


def test_it_is_a_mapping() -> None:
    state = FittedState({"a": 1, "b": 2})
    assert (len(state), sorted(state), state["b"], "c" in state) == (2, ["a", "b"], 2, False)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"bytes", "state.v holds a bytes"),
        ({1, 2}, "state.v holds a set"),
        ({1: "a"}, "state.v holds a dict"),
        ({"$float": "nan"}, "state.v holds a dict"),
        ([1, [2, object()]], r"state.v\[1\]\[1\] holds a object"),
        ({"deep": {"er": 1j}}, "state.v.deep.er holds a complex"),
        (np.array(["a"]), "state.v is an array of <U1"),
        (np.array([None], object), "state.v is an array of object"),
        (np.array([1j]), "state.v is an array of complex128"),
        (np.longdouble(1.5), "state.v holds a longdouble"),
        (np.zeros(2, np.longdouble), "state.v is an array of float128"),
        (np.datetime64("2026-01-01", "ns"), "state.v holds a datetime64"),
        (np.timedelta64(1, "ns"), "state.v holds a timedelta64"),
        (2**64, "cannot be stored exactly"),
        (-(2**63) - 1, "cannot be stored exactly"),
        ("\ud800", "cannot be stored exactly"),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_what_cannot_be_stored_exactly_is_refused_by_its_place(value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FittedState({"v": value})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        b"3",
        b'{"v":{"$float":"one"}}',
        b'{"v":{"$array":"AAAA","dtype":"<f8","shape":[1]}}',
    ],
)
def test_damaged_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match="not a fitted state"):
        FittedState.from_bytes(data)
