"""Reads TFRecord files: for each record its length, a checksum of that, its bytes, a checksum.

Written by hand: TensorFlow's reader is deprecated in its second version and, in its first, reads
any file system that a path names. A record is never larger than its file, so a length that was
tampered with takes no memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from serving.model_server.status import Code, StatusError
from serving.model_server.wire.crc32c import masked_crc32c

_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")


def read_records(file: Path) -> Iterator[bytes]:
    """Yield the records of a file.

    Raises:
        StatusError: DATA_LOSS, cut off or changed, in upstream's words. FAILED_PRECONDITION, it
            cannot be read.
    """
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            while stream.tell() < size:
                yield _record(stream, size)
    except OSError as error:
        raise StatusError(Code.FAILED_PRECONDITION, f"{file}; {error.strerror}") from error


def _record(stream: BinaryIO, size: int) -> bytes:
    at = stream.tell()
    (length,) = _LENGTH.unpack(_checked(stream, _LENGTH.size, at, size))
    return _checked(stream, length, at, size)


def _checked(stream: BinaryIO, length: int, at: int, size: int) -> bytes:
    if stream.tell() + length + _CHECKSUM.size > size:
        raise StatusError(Code.DATA_LOSS, f"truncated record at {at}")
    found = stream.read(length)
    (expected,) = _CHECKSUM.unpack(stream.read(_CHECKSUM.size))
    if masked_crc32c(found) != expected:
        raise StatusError(Code.DATA_LOSS, f"corrupted record at {at}")
    return found
