"""JSON numbers as upstream reads them, to the last bit.

Upstream's parser (RapidJSON 1.1 without its full-precision flag) does not round correctly: it
gathers the digits in one double and multiplies by a power of ten. `0.9406512193742375` becomes
0.9406512193742376; of random doubles written with all their digits one in ten is off by the last
bit. A server that rounds correctly would compute other scores from the same request, so the steps
are repeated here. With `exact` numbers are rounded correctly.
"""

from __future__ import annotations

import math
import re
from typing import Final

from serving.faces.tfs_rest.json_errors import JsonError, JsonFault

POWERS_OF_TEN: Final = tuple(float(f"1e{n}") for n in range(309))
MAX_EXACT: Final = 2**53 - 1  # the largest significand that still takes another digit as an integer
MAX_DIGITS: Final = 17  # of the significand, past its first digit
_SURE_DIGITS: Final = 15  # so many digits never exceed MAX_EXACT, two more always do

_DIGITS: Final = re.compile(rb"[0-9]*")
_ALMOST_MAX: Final = 1.7976931348623157e307  # the largest double / 10
_MAX_EXPONENT: Final = 308
_HUGE_EXPONENT: Final = 214748364  # from here on the digits of a negative exponent are skipped


def scale(significand: float, power: int) -> float:
    """Return significand · 10^power as upstream's parser computes it: one rounding per step.

    >>> scale(30000000000000000.0, -17)
    0.3
    """
    if power < -_MAX_EXPONENT:
        return _scale_once(_scale_once(significand, -_MAX_EXPONENT), power + _MAX_EXPONENT)
    return _scale_once(significand, power)


def _scale_once(significand: float, power: int) -> float:
    if power < -_MAX_EXPONENT:
        return 0.0
    if power >= 0:
        return significand * POWERS_OF_TEN[power]
    return significand / POWERS_OF_TEN[-power]


def scan_number(body: bytes, start: int, *, exact: bool = False) -> tuple[int | float, int]:
    """Read the number at `start`.

    Args:
        body: the text.
        start: offset of its first byte.
        exact: round correctly.

    Returns:
        The number and the offset after it. An integer without fraction and exponent that fits 64
        bits is an int, everything else a float; NaN and infinities are taken.

    Raises:
        JsonError: no number, or none that a double holds.
    """
    minus = body.startswith(b"-", start)
    pos = start + minus
    if body[pos : pos + 1] in (b"I", b"N"):
        special, pos = _scan_special(body, pos, minus=minus)
        if body[pos : pos + 1] not in (b".", b"e", b"E"):
            return special, pos
        digits = (
            b"0"  # what upstream makes of `NaN.5`: the token counts as nothing, the rest as read
        )
    else:
        digits, pos = _scan_integer(body, pos)
    if body[pos : pos + 1] not in (b".", b"e", b"E"):
        return _integer(digits, start, minus=minus), pos
    value, end = _scan_fraction(body, start, pos, digits, minus=minus)
    if exact and body[pos - 1 : pos].isdigit():
        value = abs(float(body[start:end]))
    return (-value if minus else value), end


def _scan_integer(body: bytes, pos: int) -> tuple[bytes, int]:
    if body.startswith(b"0", pos):
        return b"0", pos + 1
    match = _DIGITS.match(body, pos)
    if match is None or match.end() == pos:
        raise JsonError(JsonFault.VALUE, pos)
    return match.group(), match.end()


def _scan_special(body: bytes, pos: int, *, minus: bool) -> tuple[float, int]:
    """Read NaN, Inf or Infinity; a half-read NaN may go on as Inf, as it does upstream."""
    pos = _consume(body, pos, b"NaN")
    if body[pos - 3 : pos] == b"NaN":
        return math.nan, pos
    after = _consume(body, pos, b"Inf")
    if after != pos + 3:
        raise JsonError(JsonFault.VALUE, after)
    if body.startswith(b"i", after):
        end = _consume(body, after, b"inity")
        if end != after + 5:
            raise JsonError(JsonFault.VALUE, end)
        after = end
    return (-math.inf if minus else math.inf), after


def _consume(body: bytes, pos: int, word: bytes) -> int:
    for n in range(len(word)):
        if body[pos + n : pos + n + 1] != word[n : n + 1]:
            return pos + n
    return pos + len(word)


def _limit(*, minus: bool) -> int:
    return 2**63 if minus else 2**64 - 1


def _integer(digits: bytes, start: int, *, minus: bool) -> int | float:
    if len(digits) <= 20:
        number = int(digits)
        if number <= _limit(minus=minus):
            return -number if minus else number
    value, _ = _big_integer(digits, start, minus=minus)
    return -value if minus else value


def _big_integer(digits: bytes, start: int, *, minus: bool) -> tuple[float, int]:
    """Return an integer beyond 64 bits as a double, and how many digits were gathered exactly."""
    exact = 18 if minus else 19  # so many digits always fit
    exact += int(digits[: exact + 1]) <= _limit(minus=minus)
    value = float(int(digits[:exact]))
    for digit in digits[exact:]:
        if value >= _ALMOST_MAX:
            raise JsonError(JsonFault.TOO_BIG, start)
        value = value * 10 + (digit - 48)
    return value, exact


def _scan_fraction(
    body: bytes, start: int, pos: int, digits: bytes, *, minus: bool
) -> tuple[float, int]:
    """Read what follows the integer digits; return the magnitude and the offset after it."""
    fraction = b""
    if body.startswith(b".", pos):
        match = _DIGITS.match(body, pos + 1)
        fraction = b"" if match is None else match.group()
        if not fraction:
            raise JsonError(JsonFault.FRACTION, pos + 1)
        pos += 1 + len(fraction)
    significand, shift = _significand(digits, fraction, start, minus=minus)
    exponent = 0
    if body[pos : pos + 1] in (b"e", b"E"):
        exponent, pos = _scan_exponent(body, start, pos + 1, shift)
    return scale(significand, exponent + shift), pos


def _significand(digits: bytes, fraction: bytes, start: int, *, minus: bool) -> tuple[float, int]:
    """Return the gathered digits as a double, and the power of ten that they were shifted by."""
    if len(digits) > 18 and int(digits[:21]) > _limit(minus=minus):
        value, count = _big_integer(digits, start, minus=minus)
        return _gather(value, fraction, count - 1, 0)
    gathered = digits + fraction
    zeros = len(gathered) - len(gathered.lstrip(b"0"))
    used = zeros + _SURE_DIGITS + 1
    used = max(len(digits), used + (int(gathered[:used]) <= MAX_EXACT))
    rest = fraction[used - len(digits) :]
    used = len(gathered) - len(rest)
    count = used - max(zeros, 1) if digits == b"0" else used - 1
    return _gather(float(int(gathered[:used])), rest, count, len(digits) - used)


def _gather(value: float, fraction: bytes, count: int, shift: int) -> tuple[float, int]:
    for digit in fraction:
        if count >= MAX_DIGITS:
            break
        value = value * 10.0 + (digit - 48)
        shift -= 1
        count += value > 0.0
    return value, shift


def _scan_exponent(body: bytes, start: int, pos: int, shift: int) -> tuple[int, int]:
    negative = body.startswith(b"-", pos)
    pos += body[pos : pos + 1] in (b"+", b"-")
    match = _DIGITS.match(body, pos)
    digits = b"" if match is None else match.group()
    if not digits:
        raise JsonError(JsonFault.EXPONENT, pos)
    exponent = int(digits.lstrip(b"0")[:10] or b"0")
    if negative:
        return -min(exponent, 10 * _HUGE_EXPONENT), pos + len(digits)
    if exponent > _MAX_EXPONENT - shift and len(digits) > 1:
        raise JsonError(JsonFault.TOO_BIG, start)
    return exponent, pos + len(digits)
