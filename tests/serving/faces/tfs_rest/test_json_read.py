"""The parser: values, faults and their offsets, depth."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.faces.tfs_rest.json_errors import JsonError, JsonFault
from serving.faces.tfs_rest.json_read import JsonObject, JsonValue, parse_json
from tests.serving.faces.tfs_rest.bodies import strange_body

LEVELS = 500_000


def plain(value: JsonValue) -> Any:
    """Return a value as Python's own parser would, less the first of equal keys."""
    if isinstance(value, JsonObject):
        pairs = zip(value.names, value.values, strict=True)
        return {name.decode(): plain(item) for name, item in pairs}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_reads_what_python_writes(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if "\0" not in text:
        assert plain(parse_json(text.encode())) == value


@pytest.mark.parametrize(
    ("text", "fault", "offset"),
    [
        ("  ", JsonFault.EMPTY, 2),
        ("]", JsonFault.EMPTY, 0),
        (" ,", JsonFault.EMPTY, 1),
        ("x", JsonFault.VALUE, 0),
        ("nul", JsonFault.VALUE, 3),
        ("trUe", JsonFault.VALUE, 2),
        ("[1,]", JsonFault.VALUE, 3),
        ("[", JsonFault.VALUE, 1),
        ("[1 2]", JsonFault.ARRAY_COMMA, 3),
        ('{"a":}', JsonFault.VALUE, 5),
        ('{"a"', JsonFault.COLON, 4),
        ("{", JsonFault.NAME, 1),
        ("{a", JsonFault.NAME, 1),
        ('{"a":1,}', JsonFault.NAME, 7),
        ('{"a":1', JsonFault.OBJECT_COMMA, 6),
        ('"a', JsonFault.QUOTE, 2),
        ('"a\n"', JsonFault.ESCAPE, 2),
        (r'"a\x"', JsonFault.ESCAPE, 2),
        (r'"\u12G4"', JsonFault.HEX, 1),
        (r'"\ud800"', JsonFault.SURROGATE, 1),
        (r'"\ud800\u0041"', JsonFault.SURROGATE, 1),
        ("[1\x00,2]", JsonFault.ARRAY_COMMA, 2),
        ("[1.55e]", JsonFault.EXPONENT, 6),
        ("[12.]", JsonFault.FRACTION, 4),
    ],
)
def test_faults(text: str, fault: JsonFault, offset: int) -> None:
    with pytest.raises(JsonError) as caught:
        parse_json(text.encode())
    assert (caught.value.fault, caught.value.offset) == (fault, offset)


def test_what_only_this_parser_takes() -> None:
    assert parse_json(b"\xef\xbb\xbf[1] rest") == [1]
    assert (
        parse_json(b'"\xff\\u00e9\\ud83d\\ude00\\udc00\\/"')
        == b"\xff\xc3\xa9\xf0\x9f\x98\x80\xed\xb0\x80/"
    )
    members = parse_json(b'{"a": 1, "a": 2}')
    assert isinstance(members, JsonObject)
    assert (members.names, members.values, members.find(b"a")) == ([b"a", b"a"], [1, 2], 0)


@pytest.mark.slow
def test_nesting_without_recursion() -> None:
    value = parse_json(b"[" * LEVELS + b"1" + b"]" * LEVELS)
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1
    assert (value, depth) == (1, LEVELS)
    nested = parse_json(b'{"a":' * LEVELS + b"1" + b"}" * LEVELS)
    assert isinstance(nested, JsonObject)
    with pytest.raises(JsonError) as caught:
        parse_json(b"[" * LEVELS)
    assert (caught.value.fault, caught.value.offset) == (JsonFault.VALUE, LEVELS)


@given(st.integers(min_value=0))
def test_strange_bodies_are_read_or_refused(seed: int) -> None:
    body = strange_body(random.Random(seed))
    offset = 0
    try:
        parse_json(body)
    except JsonError as error:
        offset = error.offset
    assert 0 <= offset <= len(body)
