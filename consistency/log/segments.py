"""The files of a log: naming, locks, sealing and repair.

A writer holds an exclusive lock on its open segment for as long as it lives. An open segment whose
lock can be had belongs to a dead writer: it is sealed by whoever finds it first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from consistency.errors import LogError
from consistency.log.entry import LineError, decode_line

OPEN_SUFFIX: Final = ".jsonl.open"
SEALED_SUFFIX: Final = ".jsonl"
TORN_SUFFIX: Final = ".torn"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What sealing a segment did.

    Attributes:
        path: the sealed segment; the torn bytes, if any, are kept in `<name>.torn` beside it.
        torn_bytes: size of the torn tail that was cut off; 0 for none.
    """

    path: Path
    torn_bytes: int


def segment_name() -> str:
    """Return a new open segment's name: sorts by time, unique across processes."""
    # one look at the clock: the second and its fraction must belong together
    seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{stamp}.{micros:06d}Z-{os.getpid()}-{secrets.token_hex(3)}{OPEN_SUFFIX}"


def list_segments(folder: Path) -> list[Path]:
    """Return the log's segments, sealed and open, oldest first.

    Raises:
        LogError: no such folder.
    """
    if not folder.is_dir():
        raise LogError(
            f"log {folder}: no such folder; name the folder that `samescore serve` wrote"
        )
    names = (p for p in folder.iterdir() if p.name.endswith((OPEN_SUFFIX, SEALED_SUFFIX)))
    return sorted(names, key=lambda p: p.name)


def lock_segment(fd: int) -> bool:
    """Take a segment's lock; False when its writer is alive."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def seal_abandoned(folder: Path) -> Iterator[Sealed]:
    """Seal every open segment whose writer is dead, and say what was cut; remove empty ones."""
    for path in list_segments(folder):
        if not path.name.endswith(OPEN_SUFFIX):
            continue
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another process has sealed it
        try:
            # the name is looked at again under the lock, for the same reason
            if lock_segment(fd) and path.exists():
                if os.fstat(fd).st_size:
                    yield seal(path, fd)
                else:
                    path.unlink()
        finally:
            os.close(fd)


def seal(path: Path, fd: int) -> Sealed:
    """Repair an open segment's tail, make it durable, and give it its sealed name.

    Args:
        path: the open segment.
        fd: open for reading and writing, its lock held.
    """
    end = os.fstat(fd).st_size
    keep = _end_of_last_good_line(path, end)
    if keep < end:
        torn = path.with_name(path.name.removesuffix(OPEN_SUFFIX) + TORN_SUFFIX)
        torn.write_bytes(os.pread(fd, end - keep, keep))
        os.ftruncate(fd, keep)
    os.fsync(fd)
    sealed = path.with_name(path.name.removesuffix(OPEN_SUFFIX) + SEALED_SUFFIX)
    path.rename(sealed)
    fsync_folder(path.parent)
    return Sealed(sealed, end - keep)


def fsync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _end_of_last_good_line(path: Path, size: int) -> int:
    """Return where the torn tail begins: only the bytes behind the last intact line can be torn."""
    end = size
    with path.open("rb") as stream:
        while end > 0:
            line, start = _last_line(stream, end)
            if line.endswith(b"\n") and _intact(line[:-1]):
                return end
            end = start
    return 0


def _last_line(stream: BinaryIO, end: int) -> tuple[bytes, int]:
    """Return the last line before `end`, newline included if it has one, and where it starts."""
    step, tail, start = 1 << 16, b"", end
    while start > 0:
        begin = max(0, start - step)
        stream.seek(begin)
        tail = stream.read(start - begin) + tail
        start = begin
        cut = tail.rfind(b"\n", 0, len(tail) - 1)
        if cut >= 0:
            return tail[cut + 1 :], begin + cut + 1
    return tail, 0


def _intact(line: bytes) -> bool:
    try:
        decode_line(line)
    except (LineError, ValueError, KeyError):
        return False
    return True
