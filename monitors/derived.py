"""What is counted beside a feature's own values: the tokens of a token list, the length of a text.

A token list counts by its length; which tokens it holds can change while lengths stay. A free text
has hardly a value twice, so that its categories say nothing; its length does.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

import numpy as np

from consistency.records import Column

TOKENS: Final = "tokens"
LENGTH: Final = "length"

_FEWEST_TEXTS: Final = 100
_OFTEN_NEW: Final = 0.5
"""A string column in which more than so large a share of the values are different ones is text."""


def derived_parts(values: Column) -> tuple[str, ...]:
    """Return what is to be derived from a column of the training sample: nothing from most."""
    if values.dtype.kind not in "OUT":
        return ()
    held = [v for v in values.reshape(-1).tolist() if v is not None]
    if any(isinstance(v, list) for v in held[:1]):
        return (TOKENS,)
    texts = [v for v in held if isinstance(v, str)]
    is_text = len(texts) >= _FEWEST_TEXTS and len(set(texts)) > _OFTEN_NEW * len(texts)
    return (LENGTH,) if is_text else ()


def derived_values(values: Column, part: str) -> Column:
    """Return the tokens of all rows, one after the other, or the characters of each text.

    Args:
        values: token lists or None; strings or None. Shape (N,).
        part: `TOKENS` or `LENGTH`.

    Returns:
        Strings, None for a row without a list; or float64, NaN for a missing text.
    """
    rows = values.tolist()
    if part == LENGTH:
        return np.array([float(len(v)) if isinstance(v, str) else np.nan for v in rows])
    tokens = list(chain.from_iterable(v if isinstance(v, list) else [None] for v in rows))
    out = np.empty(len(tokens), object)
    out[:] = tokens
    return out
