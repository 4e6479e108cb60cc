"""The quick way gives what the careful one gives, bit by bit, or steps aside."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.faces.tfs_rest.dense_values import dense_shape, rectangular
from serving.faces.tfs_rest.json_errors import JsonError
from serving.faces.tfs_rest.json_read import JsonObject, parse_json
from serving.faces.tfs_rest.json_regular import RegularBody, read_regular
from tests.serving.faces.tfs_rest.bodies import plain_body, strange_body


def agree(body: bytes, found: RegularBody, *, exact: bool = False) -> None:
    """Check a quick reading against the careful one."""
    document = parse_json(body, exact=exact)
    assert isinstance(document, JsonObject)
    array = document.values[document.find(found.key.encode())]
    assert tuple(dense_shape(array)) == found.shape
    values = rectangular(array, found.shape)
    assert values is not None
    assert np.array(values, dtype=np.float64).tobytes() == found.values.tobytes()
    if found.integers is not None:
        assert found.integers.tolist() == values
        assert all(type(v) is int for v in values)


@given(st.integers(min_value=0))
def test_plain_bodies_are_read_alike(seed: int) -> None:
    body = plain_body(random.Random(seed))
    found = read_regular(body)
    assert found is not None
    agree(body, found)
    assert found.signature_name == ("s" if b"signature_name" in body else "")


@given(st.integers(min_value=0))
def test_plain_bodies_are_read_alike_exactly(seed: int) -> None:
    body = plain_body(random.Random(seed))
    found = read_regular(body, exact=True)
    has_exponent = b"e" in body.partition(b"[")[2].lower()
    assert (found is None) == has_exponent
    if found is not None:
        agree(body, found, exact=True)


@given(st.text(alphabet="0123456789-+.eE[],\n ", max_size=12))
@example("[[1,2],[3]]")
@example("[1 2]")
@example("[01]")
@example("[1],[2]")
@example("[-0, -0]")
@example("[]")
def test_what_it_takes_is_json(middle: str) -> None:
    body = f'{{"instances": {middle}}}'.encode()
    for exact in (False, True):
        found = read_regular(body, exact=exact)
        if found is not None:
            agree(body, found, exact=exact)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1, 2], [3]]}',
        b'{"instances": [1, [2]]}',
        b'{"instances": []}',
        b'{"instances": [1] x}',
        b'{"instances": [NaN]}',
        b'{"instances": [1, "a"]}',
        b'{"instances": [1], "inputs": [1]}',
        b"[1]",
        b'{"signature_name": "a", "inputs": [1], "signature_name": "b"}',
        b'{"instances": [1]} [2]',
        b'{"instances": [1e300]}',
        b'{"instances":\x0c[1]}',
        b'{"instances": [1]}\x0b',
        b'{"instances": [9223372036854775807]}',
    ],
)
def test_others_are_left_alone(body: bytes) -> None:
    assert read_regular(body) is None


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.integers(min_value=0))
def test_many_bodies_are_read_alike(seed: int) -> None:
    """50,000 bodies, half of them plain and half of them strange."""
    rng = random.Random(seed)
    for _ in range(50):
        for body in (plain_body(rng), strange_body(rng)):
            found = read_regular(body)
            if found is None:
                continue
            try:
                agree(body, found)
            except JsonError as error:
                pytest.fail(f"{body!r} was taken: {error}")
