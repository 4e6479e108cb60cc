"""JSON as upstream's parser takes it, without recursion: 500,000 levels are only a long list.

What is not standard: NaN, Inf and Infinity are numbers; parsing stops at the end of the first
value; equal keys are all kept, and the first counts; bytes of strings are not checked to be UTF-8;
a NUL ends the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from serving.faces.tfs_rest.json_errors import JsonError, JsonFault
from serving.faces.tfs_rest.json_numbers import MAX_EXACT, POWERS_OF_TEN, scan_number


@dataclass(slots=True, eq=False)
class JsonObject:
    """An object as it was sent: names in order, equal ones kept."""

    names: list[bytes] = field(default_factory=list)
    values: list[JsonValue] = field(default_factory=list)

    def find(self, name: bytes) -> int:
        """Return the position of the first member of this name, or -1."""
        try:
            return self.names.index(name)
        except ValueError:
            return -1


JsonValue: TypeAlias = "bool | int | float | bytes | list[JsonValue] | JsonObject | None"

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_COMMA: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_PLAIN: Final = re.compile(rb'"([^"\\\x00-\x1f]*)"')
_UNESCAPED: Final = re.compile(rb'[^"\\\x00-\x1f]*')
# Atomic: `1.55e` must not be taken for `1.5`.
_NUMBER: Final = re.compile(rb"(?>-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)(?![.eE])")
_HEX4: Final = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES: Final = dict(
    zip(b'"/\\bfnrt', (b'"', b"/", b"\\", b"\b", b"\f", b"\n", b"\r", b"\t"), strict=True)
)
_WORDS: Final[dict[int, tuple[bytes, bool | None]]] = {
    ord("n"): (b"null", None),
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
}
_CERTAIN_INTEGER: Final = 18  # so many digits fit 64 bits
_ALL_GATHERED: Final = MAX_EXACT * 10 + 9  # digits up to here are gathered as one integer


def parse_json(body: bytes, *, exact: bool = False) -> JsonValue:
    """Return the first JSON value of a body.

    Args:
        body: the request's body.
        exact: round numbers correctly, which upstream does not.

    Raises:
        JsonError: it is no JSON.

    >>> parse_json(b'[1, 2.5, "a", null] and more')
    [1, 2.5, b'a', None]
    """
    return _Parser(body, exact=exact).parse()


class _Parser:
    """One parse of one body: `_stack` holds the open containers, outermost first."""

    __slots__ = ("_body", "_exact", "_stack")

    def __init__(self, body: bytes, *, exact: bool) -> None:
        nul = body.find(b"\0")
        self._body = body if nul < 0 else body[:nul]
        self._exact = exact
        self._stack: list[list[JsonValue] | JsonObject] = []

    def parse(self) -> JsonValue:
        body, stack = self._body, self._stack
        pos = self._skip(_byte_order_mark(body))
        if body[pos : pos + 1] in (b"", b"]", b"}", b",", b":"):
            raise JsonError(JsonFault.EMPTY, pos)
        while True:
            value, pos, opened = self._value(pos)
            if opened:
                continue
            while stack:  # a complete value: put it in its place, and close what ends here
                top = stack[-1]
                (top if type(top) is list else top.values).append(value)  # type: ignore[union-attr]
                pos, closed = self._after(top, pos)
                if not closed:
                    break
                value = stack.pop()
            else:
                return value

    def _skip(self, pos: int) -> int:
        match = _SPACE.match(self._body, pos)
        return pos if match is None else match.end()

    def _value(self, pos: int) -> tuple[JsonValue, int, bool]:
        """Read a scalar or an empty container, or open a container; pos is after white space."""
        body = self._body
        number = _NUMBER.match(body, pos)
        if number is not None:
            return self._number(number), number.end(), False
        byte = body[pos] if pos < len(body) else 0
        if byte == ord('"'):
            text, pos = self._string(pos)
            return text, pos, False
        if byte == ord("["):
            return self._open_array(pos + 1)
        if byte == ord("{"):
            return self._open_object(pos + 1)
        if byte in _WORDS:
            word, constant = _WORDS[byte]
            return constant, self._word(word, pos), False
        value, pos = scan_number(body, pos, exact=self._exact)
        return value, pos, False

    def _number(self, match: re.Match[bytes]) -> int | float:
        """Return an everyday number at once, others by `scan_number`."""
        text, fraction, exponent = match.group(0, 1, 2)
        if exponent is None:
            if fraction is None:
                if len(text) <= _CERTAIN_INTEGER:
                    return int(text)
            elif not self._exact and len(text) <= _CERTAIN_INTEGER + 2:
                digits = int(text.replace(b".", b"", 1))
                if digits and -_ALL_GATHERED <= digits <= _ALL_GATHERED:
                    return digits / POWERS_OF_TEN[len(fraction) - 1]
        return scan_number(self._body, match.start(), exact=self._exact)[0]

    def _open_array(self, pos: int) -> tuple[JsonValue, int, bool]:
        pos = self._skip(pos)
        array: list[JsonValue] = []
        if self._body.startswith(b"]", pos):
            return array, pos + 1, False
        self._stack.append(array)
        return array, pos, True

    def _open_object(self, pos: int) -> tuple[JsonValue, int, bool]:
        pos = self._skip(pos)
        members = JsonObject()
        if self._body.startswith(b"}", pos):
            return members, pos + 1, False
        self._stack.append(members)
        return members, self._name(members, pos), True

    def _name(self, members: JsonObject, pos: int) -> int:
        """Read a member's name and its colon; return where its value starts."""
        if not self._body.startswith(b'"', pos):
            raise JsonError(JsonFault.NAME, pos)
        name, pos = self._string(pos)
        pos = self._skip(pos)
        if not self._body.startswith(b":", pos):
            raise JsonError(JsonFault.COLON, pos)
        members.names.append(name)
        return self._skip(pos + 1)

    def _after(self, top: list[JsonValue] | JsonObject, pos: int) -> tuple[int, bool]:
        """Read what follows a value inside `top`: a comma, or `top`'s end (True)."""
        comma = _COMMA.match(self._body, pos)
        if comma is not None:
            pos = comma.end()
            return (pos if type(top) is list else self._name(top, pos)), False  # type: ignore[arg-type]
        pos = self._skip(pos)
        end, fault = (
            (b"]", JsonFault.ARRAY_COMMA) if type(top) is list else (b"}", JsonFault.OBJECT_COMMA)
        )
        if not self._body.startswith(end, pos):
            raise JsonError(fault, pos)
        return pos + 1, True

    def _word(self, word: bytes, pos: int) -> int:
        for n in range(len(word)):
            if self._body[pos + n : pos + n + 1] != word[n : n + 1]:
                raise JsonError(JsonFault.VALUE, pos + n)
        return pos + len(word)

    def _string(self, pos: int) -> tuple[bytes, int]:
        plain = _PLAIN.match(self._body, pos)
        if plain is not None:
            return plain.group(1), plain.end()
        parts: list[bytes] = []
        pos += 1
        while True:
            run = _UNESCAPED.match(self._body, pos)
            if run is not None:
                parts.append(run.group())
                pos = run.end()
            end = self._body[pos : pos + 1]
            if end == b'"':
                return b"".join(parts), pos + 1
            if end != b"\\":
                raise JsonError(JsonFault.ESCAPE if end else JsonFault.QUOTE, pos)
            text, pos = self._escape(pos)
            parts.append(text)

    def _escape(self, start: int) -> tuple[bytes, int]:
        escape = self._body[start + 1 : start + 2]
        if escape == b"u":
            return self._unicode(start)
        if not escape or escape[0] not in _ESCAPES:
            raise JsonError(JsonFault.ESCAPE, start)
        return _ESCAPES[escape[0]], start + 2

    def _unicode(self, start: int) -> tuple[bytes, int]:
        code, pos = self._hex(start, start + 2)
        if 0xD800 <= code <= 0xDBFF:
            if not self._body.startswith(b"\\u", pos):
                raise JsonError(JsonFault.SURROGATE, start)
            low, pos = self._hex(start, pos + 2)
            if not 0xDC00 <= low <= 0xDFFF:
                raise JsonError(JsonFault.SURROGATE, start)
            code = ((code - 0xD800) << 10 | (low - 0xDC00)) + 0x10000
        return chr(code).encode("utf-8", "surrogatepass"), pos

    def _hex(self, start: int, pos: int) -> tuple[int, int]:
        match = _HEX4.match(self._body, pos)
        if match is None:
            raise JsonError(JsonFault.HEX, start)
        return int(match.group(), 16), pos + 4


def _byte_order_mark(body: bytes) -> int:
    """Return how many bytes of a byte order mark upstream would skip: each is optional."""
    pos = 0
    for byte in (b"\xef", b"\xbb", b"\xbf"):
        pos += body.startswith(byte, pos)
    return pos
