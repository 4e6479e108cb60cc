"""The quick way through a large, plain body: `{"instances": [[...numbers...]]}` as one array.

Number by number the steps are those of `json_numbers`, but a whole column of digits at a time. A
body that is in any way unusual is left to `json_read`, which says what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.faces.tfs_rest.json_numbers import MAX_DIGITS, MAX_EXACT, POWERS_OF_TEN

MIN_BYTES: Final = 2048  # a smaller body is parsed sooner one by one

_HEAD: Final = re.compile(
    rb"""[ \t\r\n]*\{[ \t\r\n]*
    (?:"signature_name"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9_]*)"[ \t\r\n]*,[ \t\r\n]*)?
    "(instances|inputs)"[ \t\r\n]*:[ \t\r\n]*(?=\[)""",
    re.VERBOSE,
)
_TAIL: Final = re.compile(
    rb"""[ \t\r\n]*
    (?:,[ \t\r\n]*"signature_name"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9_]*)"[ \t\r\n]*)?
    \}[ \t\r\n]*""",
    re.VERBOSE,
)
_PLAIN: Final = b"0123456789-+.eE[], \t\r\n"
_MAX_RANK: Final = 32
_MAX_TOKEN: Final = 40  # characters of a number
_MAX_INTEGER: Final = 18  # digits that fit 64 bits whatever they are
_MAX_EXPONENT: Final = 290  # powers beyond it need the checks of `json_numbers`

# What a character is within a number, and the state a number is in after it.
_MINUS, _ZERO, _DIGIT, _POINT, _EXP, _PLUS, _PAD, _OTHER = range(8)
_START, _SIGN, _LONE_ZERO, _WHOLE, _DOT, _FRACTION, _E, _E_SIGN, _EXPONENT, _BAD = range(10)
_POWERS: Final = np.array(POWERS_OF_TEN)


def _classes() -> NDArray[np.uint8]:
    table = np.full(256, _OTHER, dtype=np.uint8)
    table[ord("1") : ord("9") + 1] = _DIGIT
    kinds = {"-": _MINUS, "0": _ZERO, ".": _POINT, "e": _EXP, "E": _EXP, "+": _PLUS, " ": _PAD}
    for char, kind in kinds.items():
        table[ord(char)] = kind
    return table


def _transitions() -> NDArray[np.uint8]:
    table = np.full((10, 8), _BAD, dtype=np.uint8)
    steps = {
        _START: {_MINUS: _SIGN, _ZERO: _LONE_ZERO, _DIGIT: _WHOLE},
        _SIGN: {_ZERO: _LONE_ZERO, _DIGIT: _WHOLE},
        _LONE_ZERO: {_POINT: _DOT, _EXP: _E},
        _WHOLE: {_ZERO: _WHOLE, _DIGIT: _WHOLE, _POINT: _DOT, _EXP: _E},
        _DOT: {_ZERO: _FRACTION, _DIGIT: _FRACTION},
        _FRACTION: {_ZERO: _FRACTION, _DIGIT: _FRACTION, _EXP: _E},
        _E: {_MINUS: _E_SIGN, _PLUS: _E_SIGN, _ZERO: _EXPONENT, _DIGIT: _EXPONENT},
        _E_SIGN: {_ZERO: _EXPONENT, _DIGIT: _EXPONENT},
        _EXPONENT: {_ZERO: _EXPONENT, _DIGIT: _EXPONENT},
    }
    for state, row in steps.items():
        for kind, after in row.items():
            table[state, kind] = after
    table[:, _PAD] = np.arange(10)
    return table


_CLASS: Final = _classes()
_NEXT: Final = _transitions()


@dataclass(frozen=True, slots=True, eq=False)
class RegularBody:
    """A body that is one rectangular array of numbers.

    Attributes:
        signature_name: empty if absent.
        key: `instances` or `inputs`.
        shape: of the array; no dimension is 0.
        values: float64, in C order.
        integers: the same as int64 where every number is an integer, else None.
    """

    signature_name: str
    key: str
    shape: tuple[int, ...]
    values: NDArray[np.float64]
    integers: NDArray[np.int64] | None


def read_regular(body: bytes, *, exact: bool = False) -> RegularBody | None:
    """Return a plain body's numbers, or None for another body.

    Args:
        body: the request's body.
        exact: round numbers correctly.
    """
    head = _HEAD.match(body)
    stop = body.rfind(b"]") + 1
    tail = _TAIL.fullmatch(body, stop) if stop else None
    if head is None or tail is None or stop <= head.end():
        return None
    if head[1] is not None and tail[1] is not None:
        return None
    text = body[head.end() : stop]
    if text.translate(None, _PLAIN):
        return None
    signature = (head[1] or tail[1] or b"").decode()
    return _read_array(text, signature, head[2].decode(), exact=exact)


def _read_array(text: bytes, signature: str, key: str, *, exact: bool) -> RegularBody | None:
    chars = np.frombuffer(text, dtype=np.uint8)
    inside = _CLASS[chars] < _PAD
    inside &= chars != ord(" ")
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    starts, ends = edges[0::2], edges[1::2]
    if not starts.size:
        return None
    shape = _shape(_skeleton(chars, inside, starts))
    if shape is None:
        return None
    numbers = _read_exact(text) if exact else _read_numbers(chars, starts, ends)
    if numbers is None:
        return None
    return RegularBody(signature, key, shape, *numbers)


def _skeleton(
    chars: NDArray[np.uint8], inside: NDArray[np.bool_], starts: NDArray[np.intp]
) -> bytes:
    """Return the text with each number as one `0` and no white space."""
    keep = (chars == ord("[")) | (chars == ord("]")) | (chars == ord(","))
    marked = np.where(inside, np.uint8(ord("0")), chars)
    keep[starts] = True
    return bytes(marked[keep])


def _shape(skeleton: bytes) -> tuple[int, ...] | None:
    """Return the shape of a rectangular array of at least one number, or None.

    >>> _shape(b"[[0,0,0],[0,0,0]]")
    (2, 3)
    """
    rank = len(skeleton) - len(skeleton.lstrip(b"["))
    if not 0 < rank <= _MAX_RANK:
        return None
    unit = b"0"
    sizes: list[int] = []
    for level in range(rank, 0, -1):
        depth = rank - level  # lists that end together with this one
        close = skeleton.find(b"]" * (depth + 1))
        count, rest = divmod(close + depth - level + 1, len(unit) + 1)
        if close < 0 or rest or count < 1:
            return None
        unit = b"[" + (unit + b",") * (count - 1) + unit + b"]"
        sizes.append(count)
    return tuple(reversed(sizes)) if unit == skeleton else None


_Numbers = tuple[NDArray[np.float64], NDArray[np.int64] | None]


def _read_exact(text: bytes) -> _Numbers | None:
    if b"e" in text or b"E" in text:
        return None
    try:
        values = np.array(orjson.loads(text), dtype=np.float64).ravel()
    except orjson.JSONDecodeError:
        return None
    return None if not np.isfinite(values).all() else (values, None)


def _read_numbers(
    chars: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> _Numbers | None:
    """Return the numbers of these spans, or None if one of them is not an everyday number."""
    lengths = ends - starts
    width = int(lengths.max())
    if width > _MAX_TOKEN:
        return None
    columns = _Columns(len(starts))
    last = len(chars) - 1
    for n in range(width):
        column = chars[np.minimum(starts + n, last)]
        column[lengths <= n] = ord(" ")
        columns.feed(column)
    return columns.numbers(chars[starts] == ord("-"))


class _Columns:
    """The numbers of a body, read in step: all first characters, all second ones, and so on."""

    def __init__(self, count: int) -> None:
        self._state = np.zeros(count, dtype=np.uint8)
        self._whole = np.zeros(count, dtype=np.int64)  # digits gathered as an integer
        self._count = np.full(count, -1, dtype=np.int64)  # digits gathered after the first
        self._value = np.zeros(count)  # digits gathered as a double
        self._rounded = np.zeros(count, dtype=np.bool_)  # which of the two counts
        self._shift = np.zeros(count, dtype=np.int64)
        self._exponent = np.zeros(count, dtype=np.int64)
        self._negative = np.zeros(count, dtype=np.bool_)
        self._integer_digits = np.zeros(count, dtype=np.int64)
        self._exponent_digits = np.zeros(count, dtype=np.int64)

    def feed(self, column: NDArray[np.uint8]) -> None:
        """Take one more character of every number; a blank where it has ended."""
        kinds = _CLASS[column]
        self._state = _NEXT[self._state, kinds]
        is_digit = (kinds == _ZERO) | (kinds == _DIGIT)
        digit = column.astype(np.int64) - ord("0")
        self._feed_integer(is_digit & (self._state <= _WHOLE), digit)
        fraction = is_digit & (self._state == _FRACTION)
        if fraction.any():
            self._feed_fraction(fraction, digit)
        if (self._state >= _E).any():
            self._feed_exponent(kinds, is_digit & (self._state == _EXPONENT), digit)

    def _feed_integer(self, where: NDArray[np.bool_], digit: NDArray[np.int64]) -> None:
        where = where & (self._integer_digits < _MAX_INTEGER + 1)
        np.copyto(self._whole, self._whole * 10 + digit, where=where)
        self._count += where
        self._integer_digits += where

    def _feed_fraction(self, where: NDArray[np.bool_], digit: NDArray[np.int64]) -> None:
        full = where & ~self._rounded & (self._whole > MAX_EXACT)
        if full.any():
            np.copyto(self._value, self._whole.astype(np.float64), where=full)
            self._rounded |= full
        whole = where & ~self._rounded
        np.copyto(self._whole, self._whole * 10 + digit, where=whole)
        self._count += whole & (self._whole != 0)
        rounded = where & self._rounded & (self._count < MAX_DIGITS)
        np.copyto(self._value, self._value * 10.0 + digit, where=rounded)
        self._count += rounded & (self._value > 0.0)
        self._shift -= whole | rounded

    def _feed_exponent(
        self, kinds: NDArray[np.uint8], where: NDArray[np.bool_], digit: NDArray[np.int64]
    ) -> None:
        self._negative |= (kinds == _MINUS) & (self._state == _E_SIGN)
        where = where & (self._exponent_digits < 4)  # enough to be too large
        np.copyto(self._exponent, self._exponent * 10 + digit, where=where)
        self._exponent_digits += where

    def numbers(self, minus: NDArray[np.bool_]) -> _Numbers | None:
        """Return what was read, or None if a number is malformed or unusual."""
        state = self._state
        whole = (state == _LONE_ZERO) | (state == _WHOLE)
        power = np.where(self._negative, -self._exponent, self._exponent) + self._shift
        usual = (
            (whole | (state == _FRACTION) | (state == _EXPONENT))
            & (self._integer_digits <= _MAX_INTEGER)
            & (np.abs(power) < _MAX_EXPONENT)
            & (self._exponent < _MAX_EXPONENT)
        )
        if not usual.all():
            return None
        signed = np.where(minus, -self._whole, self._whole)
        value = np.where(self._rounded, self._value, self._whole.astype(np.float64))
        scaled = np.where(
            power >= 0,
            value * _POWERS[np.maximum(power, 0)],
            value / _POWERS[np.maximum(-power, 0)],
        )
        np.negative(scaled, out=scaled, where=minus)
        if not whole.any():
            return scaled, None
        values = np.where(whole, signed.astype(np.float64), scaled)
        return values, (signed if whole.all() else None)
