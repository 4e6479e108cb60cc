"""Servables that take a request body as a whole: what of their answer can be compared."""

from __future__ import annotations

import numpy as np
import orjson

from consistency.jsontype import Json
from consistency.records import Column
from consistency.scored import Scores


def read_answer(answer: Json) -> tuple[int, dict[str, Column], Scores | None]:
    """Return rows, raw outputs and scores of an opaque answer.

    An answer in TI-ONE's envelope with numbers in `data.insts` has one row a number; any other is
    one row, compared as canonical JSON text.

    >>> read_answer({"code": 0, "data": {"insts": [0.5, 0.25]}})[0]
    2
    """
    insts = answer.get("data", {}).get("insts") if _is_envelope(answer) else None
    if type(insts) is list and insts and all(type(v) in (int, float) for v in insts):
        scores = np.array(insts, np.float64)
        return len(scores), {"insts": scores}, scores
    text = orjson.dumps(answer, option=orjson.OPT_SORT_KEYS).decode()
    return 1, {"answer": np.array([text], object)}, None


def _is_envelope(answer: Json) -> bool:
    return type(answer) is dict and type(answer.get("data")) is dict
