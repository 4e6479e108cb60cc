"""Texts of numbers and layout of values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.faces.tfs_rest.json_quote import quoted_value, type_name
from serving.faces.tfs_rest.json_read import parse_json
from serving.faces.tfs_rest.json_write import decimals, nest, quote

FLOAT32 = st.floats(width=32)


@given(st.lists(FLOAT32))
def test_float32_reads_back_as_the_same_float32(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    read = np.array([json.loads(t) for t in decimals(array)], np.float64).astype(np.float32)
    np.testing.assert_array_equal(read, array)


@given(st.lists(st.floats(width=64)))
def test_float64_reads_back_as_the_same_float64(values: list[float]) -> None:
    array = np.array(values, dtype=np.float64)
    np.testing.assert_array_equal(np.array([float(t) for t in decimals(array)]), array)


@given(st.lists(FLOAT32))
def test_exact_float32_reads_back_as_float64(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    read = np.array([float(t) for t in decimals(array, exact=True)])
    np.testing.assert_array_equal(read, array.astype(np.float64))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, b"0.1"),
        (1435774380.0, b"1.43577434e+09"),
        (3.4028235e38, b"3.40282347e+38"),
        (16777216.0, b"16777216.0"),
        (1e-45, b"1.4013e-45"),
        (-0.0, b"-0.0"),
        (100000.0, b"100000.0"),
    ],
)
def test_float32_as_upstream(value: float, text: bytes) -> None:
    assert decimals(np.array([value], dtype=np.float32)) == [text]


def test_strings() -> None:
    assert (
        quote(b'\x00\x1f\x7f"\\/\b\t\n\f\r\xff')
        == b'"\\u0000\\u001F\x7f\\"\\\\/\\b\\t\\n\\f\\r\xff"'
    )


def test_nested_lists() -> None:
    values = [b"%d" % n for n in range(6)]
    assert nest(values, (1, 3, 2), 0, one_line=True) == [b"[[0, 1], [2, 3], [4, 5]]"]
    assert nest([], (2, 0), 0, one_line=True) == [b"[]", b"[]"]


@pytest.mark.parametrize(
    ("text", "quoted", "kind"),
    [
        ("null", "null", "Null"),
        ("true", "true", "True"),
        ("1.0", "1.0", "Number"),
        ("0.1", "0.1", "Number"),
        ("NaN", "NaN", "Number"),
        ("1e39", "1e+39", "Number"),
        ("[1.5, 1e21, 1e-7]", "[1.5, 1e21, 1e-7]", "Array"),
        ("[[], {}]", "[[], {}]", "Array"),
        ('"a\\nb"', '"a\\nb"', "String"),
        ("[1, NaN, 2]", "[1, ", "Array"),
        ('{"a": {"b": [1]}}', '{\n    "a": {\n        "b": [1]\n    }\n}', "Object"),
    ],
)
def test_quoted_values(text: str, quoted: str, kind: str) -> None:
    value = parse_json(text.encode())
    assert (quoted_value(value), type_name(value)) == (quoted, kind)


def test_a_quoted_value_is_cut() -> None:
    deep = parse_json(b"[" * 5000 + b"]" * 5000)
    assert quoted_value(deep) == "[" * 256
    assert len(quoted_value(list(range(1000)))) < 270
