"""CRC-32C (Castagnoli), the checksum of TFRecord files. Pure.

The polynomial and the check value are RFC 3720's (appendix B.4: 32 zero bytes give 8a9136aa); the
mask is TFRecord's own, so that a checksum of data with checksums in it stays a good one.

Long data is cut into rows that numpy takes side by side, one byte of each at a time, and their
checksums are joined by what zero bytes do to a checksum, which is linear: 10 MB take 0.07 s instead
of a loop's 1.2 s.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint32]

_POLYNOMIAL: Final = 0x82F63B78  # bits reversed
_ALL: Final = 0xFFFFFFFF
_SHORT: Final = 4096  # bytes up to which the loop is faster
_ROW: Final = 512
_MASK_DELTA: Final = 0xA282EAD8


def _byte_table() -> list[int]:
    table = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = (rest >> 1) ^ (_POLYNOMIAL if rest & 1 else 0)
        table.append(rest)
    return table


_TABLE: Final = _byte_table()
_WORDS: Final[Words] = np.array(_TABLE, dtype=np.uint32)


def crc32c(data: bytes) -> int:
    """Return the checksum.

    >>> hex(crc32c(bytes(32))), hex(crc32c(b"123456789"))
    ('0x8a9136aa', '0xe3069283')
    """
    if len(data) > _SHORT:
        return _long(data)
    rest = _ALL
    for byte in data:
        rest = _TABLE[(rest ^ byte) & 0xFF] ^ (rest >> 8)
    return rest ^ _ALL


def masked_crc32c(data: bytes) -> int:
    """Return the checksum as TFRecord stores it."""
    found = crc32c(data)
    return (((found >> 15) | (found << 17)) + _MASK_DELTA) & _ALL


def _long(data: bytes) -> int:
    rows = 1 << max((len(data) // _ROW).bit_length(), 1)
    length = -(-len(data) // rows)
    filled = np.zeros(rows * length, dtype=np.uint8)
    # Zeros before the data leave a checksum that starts from zero as it is; to start from ones is
    # to turn over the first four bytes.
    start = len(filled) - len(data)
    filled[start:] = np.frombuffer(data, dtype=np.uint8)
    filled[start : start + 4] ^= np.uint8(0xFF)
    columns = np.ascontiguousarray(filled.reshape(rows, length).T)
    rests = np.zeros(rows, dtype=np.uint32)
    for column in columns:
        rests = _WORDS[(rests ^ column) & np.uint32(0xFF)] ^ (rests >> np.uint32(8))
    return int(_joined(rests, length)) ^ _ALL


def _joined(rests: Words, length: int) -> np.uint32:
    """Join the checksums of rows of `length` bytes, two by two."""
    shift = _zero_bytes(length)
    while len(rests) > 1:
        rests = _applied(shift, rests[0::2]) ^ rests[1::2]
        shift = _applied(shift, shift)
    found: np.uint32 = rests[0]
    return found


def _zero_bytes(count: int) -> Words:
    """Return what so many zero bytes make of each bit of a checksum."""
    bits: Words = np.uint32(1) << np.arange(32, dtype=np.uint32)
    found = bits
    power: Words = _WORDS[bits & np.uint32(0xFF)] ^ (bits >> np.uint32(8))
    while count:
        if count & 1:
            found = _applied(power, found)
        power = _applied(power, power)
        count >>= 1
    return found


def _applied(shift: Words, values: Words) -> Words:
    """Apply a linear map, given by what becomes of each bit."""
    found = np.zeros_like(values)
    for bit in range(32):
        found ^= np.where((values >> np.uint32(bit)) & np.uint32(1), shift[bit], np.uint32(0))
    return found
