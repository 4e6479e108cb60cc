from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.opaque import read_answer


def envelope(insts: Any) -> dict[str, Any]:
    return {"message": "SUCCESS", "code": 0, "data": {"insts": insts}}


def test_the_seeds_answer_is_one_row_of_numbers() -> None:
    rows, outputs, scores = read_answer(envelope([0.6868814826011658]))
    assert rows == 1
    assert scores is not None
    assert scores.tolist() == outputs["insts"].tolist() == [0.6868814826011658]
    assert scores.dtype == np.float64


def test_numbers_are_a_row_each() -> None:
    rows, _, scores = read_answer(envelope([1, 0.5, -2]))
    assert rows == 3
    assert scores is not None
    assert scores.tolist() == [1.0, 0.5, -2.0]


@pytest.mark.parametrize(
    "answer",
    [
        envelope([]),
        envelope([0.5, None]),
        envelope([0.5, "0.5"]),
        envelope([True, False]),
        envelope([[0.5], [0.25]]),
        envelope(0.5),
        {"data": [0.5]},
        {"data": None},
        {"insts": [0.5]},
        [0.5],
        "text",
        None,
        0.5,
    ],
)
def test_any_other_answer_is_one_row_of_text(answer: Any) -> None:
    rows, outputs, scores = read_answer(answer)
    assert rows == 1
    assert scores is None
    (text,) = outputs["answer"]
    assert json.loads(text) == answer


def test_the_order_of_keys_does_not_matter() -> None:
    texts = [
        read_answer(answer)[1]["answer"].tolist()
        for answer in ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    ]
    assert texts[0] == texts[1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_keep_every_bit(insts: list[float]) -> None:
    _, _, scores = read_answer(json.loads(json.dumps(envelope(insts))))
    assert scores is not None
    assert scores.tobytes() == np.array(insts, np.float64).tobytes()
