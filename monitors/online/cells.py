"""Counts in memory-mapped files: `kill -9` takes none of them, and any process adds them all up.

One file holds the int64 cells of one worker for one thing that is counted; its header says in JSON
what the cells mean. Only the worker writes to it, everybody reads. The kernel keeps the pages, so
what was counted stays when the worker dies, and the worker that takes its slot goes on with the
same file.

    word 0: format    word 1: bytes of the header    word 2: cells    header (JSON)    cells
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.jsontype import Json

Words: TypeAlias = NDArray[np.int64]

SUFFIX: Final = ".cells"
_ALIVE_SUFFIX: Final = ".alive"
_FORMAT: Final = 0x0001_5352_4D53  # "SMRS", layout 1
_HEAD_WORDS: Final = 3
_WORD_BYTES: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class CellFile:
    """One worker's cells, as anybody reads them.

    Attributes:
        header: what the cells mean.
        words: the cells, shape (n,), read-only; they change while their worker counts.
    """

    header: Mapping[str, Json]
    words: Words


class CellStore:
    """The cells of one worker, for writing, and those of all workers of the server, for reading.

    Args:
        folder: of the server's cells; made if it is not there.
        slot: which worker this is, 0 or more; no other living process may have the same.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, slot: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._slot = slot
        self._lock = threading.Lock()
        self._own: dict[Path, memoryview] = {}
        self._seen: dict[Path, CellFile] = {}
        self._alive = os.open(
            folder / f"{slot}{_ALIVE_SUFFIX}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640
        )
        # the kernel lets go of it when this process dies, however it dies
        fcntl.flock(self._alive, fcntl.LOCK_EX)

    def cells(self, kind: str, header: Mapping[str, Json], count: int) -> memoryview:
        """Return this worker's cells for a header, int64, writable, as they were left.

        Args:
            kind: what `files` finds them by.
            header: what the cells mean; the same header gives the same cells.
            count: how many; 0 each when they are new.

        Raises:
            OSError: the file cannot be made, for example since the disk is full.
        """
        text = orjson.dumps(header)
        name = hashlib.sha256(text).hexdigest()[:16]
        path = self.folder / f"{kind}-{self._slot}-{name}{SUFFIX}"
        with self._lock:
            if path not in self._own:
                if not path.exists():
                    _make(path, text, count)
                self._own[path] = _map(path)
            return self._own[path]

    def files(self, kind: str) -> Iterator[CellFile]:
        """Yield the cells of a kind of every worker, dead ones included."""
        for path in sorted(self.folder.glob(f"{kind}-*{SUFFIX}")):
            if path not in self._seen:
                self._seen[path] = _read(path)
            yield self._seen[path]

    def live_workers(self) -> int:
        """Return how many workers of this folder are alive, this one included."""
        return sum(map(_is_held, self.folder.glob(f"*{_ALIVE_SUFFIX}")))

    def close(self) -> None:
        """Say that this worker counts no more; its cells stay."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1


def _make(path: Path, header: bytes, count: int) -> None:
    """Make a file of zeros, whole or not at all."""
    header += b" " * (-len(header) % _WORD_BYTES)
    head = np.array([_FORMAT, len(header), count], np.int64).tobytes() + header
    part = path.with_suffix(".part")
    fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        # Room is taken now: on a full disk a write to a hole would kill the process (SIGBUS).
        os.posix_fallocate(fd, 0, len(head) + count * _WORD_BYTES)
        os.pwrite(fd, head, 0)
    finally:
        os.close(fd)
    part.rename(path)


def _map(path: Path) -> memoryview:
    """Return a file's cells for writing."""
    with path.open("r+b") as stream:
        mapped = memoryview(mmap.mmap(stream.fileno(), 0)).cast("q")
    return mapped[_HEAD_WORDS + mapped[1] // _WORD_BYTES :]


def _read(path: Path) -> CellFile:
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    words = np.frombuffer(mapped, np.int64)
    begin = _HEAD_WORDS * _WORD_BYTES
    header = orjson.loads(mapped[begin : begin + int(words[1])])
    return CellFile(header, words[_HEAD_WORDS + int(words[1]) // _WORD_BYTES :])


def _is_held(path: Path) -> bool:
    """Tell whether a living process holds a lock file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
