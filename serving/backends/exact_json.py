"""Numbers as JSON text that TensorFlow Serving's reader gets right. Pure.

That reader takes its fast way for every number: it gathers the digits in an integer, then
multiplies or divides by a power of ten. With 16 or 17 digits behind the point this is one unit in
the last place off for one double in nine. There is a single rounding, though, and the right one,
when the integer is itself a double and the power at most 10**22. So a double that needs many digits
is written as such an integer with an exponent: `0.1 + 0.2` as `3000000000000000512e-19` and not as
`0.30000000000000004`. A correct reader gets the same number from either.

For about one double in 400 there is no such integer below 2**64; it is written in the usual way,
and may arrive one unit in the last place off. A float32 always arrives as it is: it is rounded once
more after it was read, and that takes the last place away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from consistency.records import Column

_POWERS: Final = tuple(float(10**n) for n in range(23))
"""Every power of ten that is a double."""

_EXACT_DIGITS: Final = 15
"""A number of so many digits is an integer below 2**53 over a power of ten."""


def json_number(value: float) -> str:
    """Return a double as JSON text; NaN and infinities as TensorFlow Serving takes them.

    A correct reader reads it exactly; what TensorFlow Serving's reads, this module's text says.

    >>> json_number(0.25), json_number(0.1 + 0.2), json_number(float("-inf"))
    ('0.25', '3000000000000000512e-19', '-Infinity')
    """
    if not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124
    text = repr(value)
    digits = text.replace(".", "").replace("-", "").strip("0")
    if len(digits) <= _EXACT_DIGITS and "e" not in text:
        return text
    return next(_as_integers(value), text)


def json_array(array: Column) -> str:
    """Return an array as nested JSON lists; strings as UTF-8 texts or, if bytes, in base64."""
    texts = [_text(value) for value in array.ravel().tolist()]
    return _nested(texts, array.shape)


def _as_integers(value: float) -> Iterator[str]:
    """Yield each spelling as an integer and a power of ten that one rounded division undoes."""
    for n in range(len(_POWERS) - 1, -1, -1):
        scaled = value * _POWERS[n]
        if -(2.0**63) <= scaled < 2.0**64 and scaled.is_integer() and scaled / _POWERS[n] == value:
            yield f"{int(scaled)}e-{n}" if n else f"{int(scaled)}.0"


def _text(value: object) -> str:
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _string(value)


def _string(value: object) -> str:
    import base64

    import orjson

    if isinstance(value, bytes):
        return f'{{"b64": "{base64.b64encode(value).decode()}"}}'
    return orjson.dumps(value).decode()


def _nested(texts: list[str], shape: tuple[int, ...]) -> str:
    for size in reversed(shape):
        step = max(size, 1)
        texts = [f"[{','.join(texts[i : i + step])}]" for i in range(0, len(texts), step)]
    return texts[0] if texts else _empty(shape)


def _empty(shape: tuple[int, ...]) -> str:
    return str(np.empty(shape).tolist())
