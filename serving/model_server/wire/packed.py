"""Packed numbers of a protobuf message, without a Python object for each of them.

A repeated field of 262,144 floats takes Python's protobuf 6 to 20 ms to read and as long to write,
one object a number. Its bytes on the wire are the array's own bytes (or varints, which numpy takes
apart all at once), so that an array goes through the message's serialised form instead.

Formats: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Unsigned: TypeAlias = NDArray[np.uint64]
Octets: TypeAlias = NDArray[np.uint8]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTH: Final = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10
# Where a varint of k bytes ends: values below 2**(7 k).
_LIMITS: Final = np.array([1 << (7 * k) for k in range(1, _MAX_VARINT_BYTES)], dtype=np.uint64)


def varint(value: int) -> bytes:
    """Encode one number.

    >>> varint(300).hex()
    'ac02'
    """
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def packed_field(number: int, payload: bytes | memoryview) -> bytes:
    """Return a length-delimited field of a message: tag, length and payload."""
    return b"".join((varint(number << 3 | _LENGTH), varint(len(payload)), payload))


def packed_payload(message: bytes, number: int) -> memoryview:
    """Return the payload of a length-delimited field of a serialised message.

    Args:
        message: as a protobuf library wrote it: fields whole, packed, once each.
        number: of the field.

    Returns:
        A view; empty if the message lacks the field.
    """
    view, position = memoryview(message), 0
    while position < len(view):
        tag, position = _read_varint(view, position)
        kind = tag & 7
        if kind == _LENGTH:
            length, position = _read_varint(view, position)
            if tag >> 3 == number:
                return view[position : position + length]
            position += length
        elif kind == _VARINT:
            _, position = _read_varint(view, position)
        else:
            position += _WIDTH[kind]
    return view[:0]


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = view[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7


def decode_varints(payload: memoryview) -> Unsigned:
    """Decode varints written one after the other.

    >>> decode_varints(memoryview(bytes.fromhex("05ac0201"))).tolist()
    [5, 300, 1]
    """
    octets = np.frombuffer(payload, dtype=np.uint8)
    if not len(octets) or int(octets.max()) < 0x80:
        return octets.astype(np.uint64)
    ends = np.flatnonzero(octets < 0x80)
    starts = np.concatenate((ends[:1] * 0, ends[:-1] + 1))
    longest = int((ends - starts).max()) + 1
    values = np.zeros(len(ends), dtype=np.uint64)
    for k in range(longest):
        here = np.minimum(starts + k, ends)
        part = np.where(starts + k <= ends, octets[here] & np.uint8(0x7F), np.uint8(0))
        values |= part.astype(np.uint64) << np.uint64(7 * k)
    return values


def encode_varints(values: Unsigned) -> bytes:
    """Encode numbers as varints, one after the other.

    >>> encode_varints(np.array([5, 300, 1], np.uint64)).hex()
    '05ac0201'
    """
    if not len(values) or int(values.max()) < 0x80:
        return values.astype(np.uint8).tobytes()
    more = np.searchsorted(_LIMITS, values, side="right")  # bytes after the first
    columns = np.arange(int(more.max()) + 1, dtype=np.uint64)
    octets = ((values[:, None] >> (columns * np.uint64(7))) & np.uint64(0x7F)).astype(np.uint8)
    octets |= (columns < more[:, None]).astype(np.uint8) << np.uint8(7)
    kept: Octets = octets[columns <= more[:, None]]
    return kept.tobytes()


def join_strings(strings: list[bytes]) -> bytes:
    """Encode strings as `tensor_content` holds them: all lengths, then all bytes."""
    return b"".join((*(varint(len(string)) for string in strings), *strings))


def split_strings(content: bytes, count: int) -> list[bytes] | None:
    """Take apart what `join_strings` made; None if it is not `count` strings exactly."""
    view, position, lengths = memoryview(content), 0, []
    try:
        for _ in range(count):
            length, position = _read_varint(view, position)
            lengths.append(length)
    except IndexError:
        return None
    if position + sum(lengths) != len(content):
        return None
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings
