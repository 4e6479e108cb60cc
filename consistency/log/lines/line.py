"""What a line is made of: the facts that repeat, the request's own facts, and a CRC.

A line is one JSON object. First come the facts that many requests share (what answered, names and
types of the features, ...), the same bytes in each of their lines; then, from `request_id` on, what
is the request's own; last the CRC. Who writes has the first part ready; who reads recognises it by
its bytes, and parses it, and sums up its CRC, once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from consistency.jsontype import Json
from consistency.log.lines.entry import LineContext, LoggedRequest

FORMAT: Final = 2
"""Version of the line's layout, its field `v`; lines of version 1 are read too."""

_START: Final = b'{"v":2,'
_OWN: Final = b',"request_id":'
"""Ends a line's first part. No text has these bytes: its quotes are escaped. Without them, a first
part could be the beginning of another one."""

_CRC_FIELD: Final = b',"crc":"'
_CRC_TAIL_BYTES: Final = len(_CRC_FIELD) + 8 + 2  # eight hex digits, a quote and a brace
_CRC_END: Final = _CRC_FIELD + b'%08x"}'
_MOST_CONTEXTS: Final = 256


class LineError(Exception):
    """A line is not what was written; the text says how."""


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """A line's first part, ready to be written or recognised.

    Attributes:
        text: its bytes, up to the value of `request_id`.
        crc: CRC-32 of the text.
        context: what it says.
    """

    text: bytes
    crc: int
    context: LineContext


def opening(facts: Mapping[str, Json]) -> Opening:
    """Return the first part of the lines of requests that share these facts."""
    return _opening(orjson.dumps({"v": FORMAT, **facts})[:-1] + _OWN, facts)


def join_line(first: Opening, own: Mapping[str, Json]) -> bytes:
    """Return a line, CRC and newline included.

    Args:
        first: the facts that repeat.
        own: the request's; `request_id` comes first.
    """
    rest = orjson.dumps(own)[len(_OWN) :]
    crc = zlib.crc32(rest, first.crc)
    return b"".join((first.text, rest[:-1], _CRC_END % crc, b"\n"))


class LineDecoder:
    """Reads lines, and remembers what they began with."""

    def __init__(self) -> None:
        self._last: Opening | None = None
        self._known: dict[bytes, Opening] = {}

    def decode(self, line: bytes) -> LoggedRequest:
        """Read a line (without its newline) back.

        Raises:
            LineError: the CRC does not fit, or this version does not know the line's format.
            ValueError: the line is no JSON.
        """
        first = self._last
        if first is None or not line.startswith(first.text):
            first = self._opening_of(line)
            if first is None:
                return _whole(line)
        own = line[len(first.text) : -_CRC_TAIL_BYTES]
        if not line.endswith(_CRC_END % zlib.crc32(b"}", zlib.crc32(own, first.crc))):
            raise LineError(_crc_problem(line) or "crc mismatch")
        return LoggedRequest(orjson.loads(b'{"request_id":%b}' % own), first.context)

    def _opening_of(self, line: bytes) -> Opening | None:
        """Return the first part of a line, None if it has none or is damaged there."""
        if not line.startswith(_START):
            return None
        end = line.find(_OWN)
        while end >= 0:
            text = line[: end + len(_OWN)]
            found = self._known.get(text) or _parsed(text)
            if found is not None:
                if len(self._known) >= _MOST_CONTEXTS:
                    self._known.clear()
                self._last = self._known[text] = found
                return found
            end = line.find(_OWN, end + 1)  # that was within the first part
        return None


def decode_line(line: bytes) -> LoggedRequest:
    """Read a line (without its newline) back; see `LineDecoder.decode`."""
    return _DECODER.decode(line)


def _parsed(text: bytes) -> Opening | None:
    try:
        facts: dict[str, Any] = orjson.loads(text[: -len(_OWN)] + b"}")
    except orjson.JSONDecodeError:
        return None
    return _opening(text, facts)


def _opening(text: bytes, facts: Mapping[str, Json]) -> Opening:
    return Opening(text, zlib.crc32(text), LineContext(facts))


def _whole(line: bytes) -> LoggedRequest:
    """Read a line of version 1, or say what is wrong with a line of another one."""
    if (problem := _crc_problem(line)) is not None:
        raise LineError(problem)
    entry = orjson.loads(line)
    found = entry.get("v")
    if found == FORMAT:
        raise LineError(f"line format {FORMAT}, and no request in it")
    if found != 1:
        raise LineError(f"line format {found}, this version reads 1 and {FORMAT}")
    return LoggedRequest(entry)


def _crc_problem(line: bytes) -> str | None:
    head, tail = memoryview(line)[:-_CRC_TAIL_BYTES], line[-_CRC_TAIL_BYTES:]
    if not tail.startswith(_CRC_FIELD):
        return "no crc field"
    crc = tail[len(_CRC_FIELD) : -2]
    return None if b"%08x" % zlib.crc32(b"}", zlib.crc32(head)) == crc else "crc mismatch"


_DECODER: Final = LineDecoder()
"""Of the process: the lines of a log have few beginnings, whoever reads them."""
