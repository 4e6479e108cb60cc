"""JSON as upstream writes it: layout of its pretty writer, text of its numbers.

A number has six significant digits if they read back as the same float32 or float64, else nine or
17; whole ones keep a `.0`; NaN, Infinity and -Infinity are bare words. So nothing is lost for a
reader that knows the tensor's type; one that reads a float32 as float64 gets 0.1 for
0.10000000149011612. With `exact` every number is the shortest text of its float64 value, and both
readers get the model's value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_INDENT: Final = b"    "
_ESCAPED: Final = re.compile(rb'["\\\x00-\x1f]')
_ESCAPES: Final = {
    b'"': b'\\"',
    b"\\": b"\\\\",
    b"\b": b"\\b",
    b"\f": b"\\f",
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\t": b"\\t",
}
_FULL_DIGITS: Final = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


def quote(text: bytes) -> bytes:
    r"""Return a JSON string; bytes beyond ASCII go through as they are.

    >>> quote(b'a"\x01')
    b'"a\\"\\u0001"'
    """
    return b'"' + _ESCAPED.sub(_escape, text) + b'"'


def _escape(match: re.Match[bytes]) -> bytes:
    char = match.group()
    return _ESCAPES.get(char) or b"\\u%04X" % char[0]


def decimals(values: NDArray[np.floating[Any]], *, exact: bool = False) -> list[bytes]:
    """Return the text of floating-point numbers.

    Args:
        values: float32 or float64, one dimension; NaN and infinities too.
        exact: the shortest text of the float64 value.

    >>> decimals(np.array([0.1, 9000000, 555557.5, 3], dtype=np.float32))
    [b'0.1', b'9e+06', b'555557.5', b'3.0']
    """
    if not values.size:
        return []
    wide: list[float] = values.tolist()
    if exact:
        return [_word(v) or repr(v).encode() for v in wide]
    texts = ("%g " * len(wide) % tuple(wide)).split()
    with np.errstate(over="ignore"):
        read_back = np.array([float(t) for t in texts]).astype(values.dtype)
    full = f"%.{_FULL_DIGITS[values.dtype]}g"
    for n in np.flatnonzero(read_back != values).tolist():
        texts[n] = full % wide[n]
    return [_pointed(text) for text in texts]


def _word(value: float) -> bytes:
    if math.isnan(value):
        return b"NaN"
    if math.isinf(value):
        return b"-Infinity" if value < 0 else b"Infinity"
    return b""


_WORDS: Final = {"nan": b"NaN", "-nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}


def _pointed(text: str) -> bytes:
    """Mark a whole number as a decimal one."""
    if "." in text or "e" in text:
        return text.encode()
    return _WORDS.get(text) or text.encode() + b".0"


def nest(
    values: Sequence[bytes], shape: Sequence[int], level: int, *, one_line: bool
) -> list[bytes]:
    """Return the texts of a tensor's elements along its first dimension.

    Args:
        values: texts of all values, in C order.
        shape: all dimensions, at least one.
        level: how many containers are open around the elements.
        one_line: lists on one line; else a value a line.
    """
    items = list(values)
    for axis in range(len(shape) - 1, 0, -1):
        size = shape[axis]
        count = math.prod(shape[:axis])
        items = [
            array(items[n * size : (n + 1) * size], level + axis - 1, one_line=one_line)
            for n in range(count)
        ]
    return items


def array(items: Sequence[bytes], level: int, *, one_line: bool) -> bytes:
    """Return a list; `level` containers are open around it."""
    if not items:
        return b"[]"
    if one_line:
        return b"[" + b", ".join(items) + b"]"
    inside = b"\n" + _INDENT * (level + 1)
    return b"[" + inside + (b"," + inside).join(items) + b"\n" + _INDENT * level + b"]"


def record(members: Sequence[tuple[bytes, bytes]], level: int) -> bytes:
    """Return an object; `level` containers are open around it.

    Args:
        members: names, not quoted yet, and texts.
        level: as said.
    """
    if not members:
        return b"{}"
    inside = b"\n" + _INDENT * (level + 1)
    body = (b"," + inside).join(quote(name) + b": " + text for name, text in members)
    return b"{" + inside + body + b"\n" + _INDENT * level + b"}"
