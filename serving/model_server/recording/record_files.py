"""TFRecord files that are written to while the server runs: rotated, bounded, and whole.

A file is `PREFIX-<microseconds>-<process>-<number>.tfrecord`, and has `.open` at its end as long as
it is written to. A record goes in by one `write()`, so that it survives the death of the process;
what is half-written is taken back, or cut off by the next server that starts with the prefix. So
whatever is called `.tfrecord` can be read to its end.

Better than a writer of TensorFlow's: that one leaves a torn file behind when the process dies, and
every reader fails on it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consistency.errors import LogError
from serving.model_server.status import StatusError
from serving.model_server.wire.crc32c import masked_crc32c
from serving.model_server.wire.tfrecord import read_records

SUFFIX: Final = ".tfrecord"
_OPEN: Final = ".open"
_FRAME_BYTES: Final = 16  # length, its checksum, the record's checksum
_NUMBERS: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class FileBounds:
    """How much is kept.

    Attributes:
        file_bytes: a file that has grown to this size is finished.
        total_bytes: of all files of a prefix; what would be over is not written.
    """

    file_bytes: int = 64 << 20
    total_bytes: int = 1 << 30


def frame(record: bytes) -> bytes:
    """Return a record as TFRecord stores it: length, checksum, bytes, checksum.

    >>> len(frame(b"abc"))
    19
    """
    length = struct.pack("<Q", len(record))
    return b"".join(
        (
            length,
            struct.pack("<I", masked_crc32c(length)),
            record,
            struct.pack("<I", masked_crc32c(record)),
        )
    )


class RecordFiles:
    """Writes records; one thread at a time.

    Args:
        prefix: path of the files, to which their numbers are added; its folder is made.
        bounds: how much is kept.

    Raises:
        LogError: the folder cannot be written.
    """

    def __init__(self, prefix: Path, bounds: FileBounds) -> None:
        self._prefix, self._bounds = prefix, bounds
        self._fd, self._path, self._size = -1, prefix, 0
        self._closed = False
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            for left in _files(prefix, _OPEN):
                _mend(left)
            self._kept = self._measured()
        except OSError as e:
            raise LogError(
                f"request logging to {prefix}: {e.strerror}; give a writable path"
            ) from e

    def write(self, record: bytes) -> None:
        """Add a record.

        Raises:
            LogError: it was not written: the bound is reached, or the disk failed.
        """
        if self._closed:
            raise LogError(f"request logging to {self._prefix}: closed")
        framed = frame(record)
        try:
            self._find_room(len(framed))
            if self._fd < 0:
                self._begin()
            self._append(framed)
            if self._size >= self._bounds.file_bytes:
                self._finish()
        except OSError as e:
            raise LogError(f"request logging to {self._prefix}: {e.strerror}; free space") from e

    def close(self) -> None:
        """Finish the file at hand; later writes fail."""
        self._closed = True
        if self._fd >= 0:
            self._finish()

    def _find_room(self, size: int) -> None:
        bound = self._bounds.total_bytes - self._size - size
        if self._kept > bound:
            self._kept = self._measured()  # files may have been moved away
        if self._kept > bound:
            raise LogError(
                f"request logging to {self._prefix}: its files hold all of "
                f"{self._bounds.total_bytes} bytes; move finished ones away, or raise the bound"
            )

    def _measured(self) -> int:
        """Return what the files hold, the one at hand aside."""
        return sum(_size_bytes(path) for path in _files(self._prefix, "") if path != self._path)

    def _begin(self) -> None:
        stamp = f"{time.time_ns() // 1000:016d}-{os.getpid()}-{next(_NUMBERS)}"
        path = self._prefix.with_name(f"{self._prefix.name}-{stamp}{SUFFIX}{_OPEN}")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o640)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._fd, self._path, self._size = fd, path, 0

    def _append(self, framed: bytes) -> None:
        written = -1
        try:
            written = os.write(self._fd, framed)
        finally:
            if written != len(framed):
                os.ftruncate(self._fd, self._size)
        if written != len(framed):
            raise OSError(0, f"wrote {written} of {len(framed)} bytes")
        self._size += len(framed)

    def _finish(self) -> None:
        fd, self._fd = self._fd, -1
        kept, self._size = self._size, 0
        self._kept += kept
        try:
            os.fdatasync(fd)
            self._path.rename(self._path.with_suffix(""))
        finally:
            os.close(fd)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # moved away, or renamed, since the folder was listed


def _files(prefix: Path, end: str) -> Iterator[Path]:
    """Yield the files of a prefix; with an empty end all of them."""
    for path in sorted(prefix.parent.iterdir()):
        rest = path.name.removeprefix(f"{prefix.name}-")
        if rest != path.name and path.name.endswith((end,) if end else (SUFFIX, _OPEN)):
            stamp = rest.partition(".")[0].split("-")
            if len(stamp) == 3 and all(part.isdigit() for part in stamp):
                yield path


def _mend(path: Path) -> None:
    """Finish a file that a dead server left, without what it had half-written."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, _whole_bytes(path))
        os.fdatasync(fd)
        path.rename(path.with_suffix(""))
    except BlockingIOError:
        return  # its server lives
    finally:
        os.close(fd)


def _whole_bytes(path: Path) -> int:
    size = 0
    try:
        for record in read_records(path):
            size += len(record) + _FRAME_BYTES
    except StatusError:  # the torn end
        pass
    return size
