"""Writes the request log: one `write()` a request, before its reply."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from consistency.errors import ConfigError, LogError
from consistency.log.entry import encode_line
from consistency.log.segments import (
    Sealed,
    fsync_folder,
    lock_segment,
    seal,
    seal_abandoned,
    segment_name,
)
from consistency.scored import ScoredRequest

logger = logging.getLogger(__name__)

MIB: Final = 1 << 20


class Fsync(StrEnum):
    """When the log is forced to the disk.

    Whatever the policy, an acknowledged request survives the death of any process, since the kernel
    has its line. The policy says what a power cut can take.

    seal: all since the last sealed segment. every_request: nothing that was acknowledged.
    """

    SEAL = "seal"
    EVERY_REQUEST = "every_request"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a log is written.

    Attributes:
        folder: made if it is not there.
        segment_bytes: a segment is sealed when it has grown to this size.
        max_total_bytes: writing fails (and `on_log_failure` decides) once the folder holds more;
            N writers may together be over by N - 1 segments before each has seen it.
        fsync: what a power cut can take.
    """

    folder: Path
    segment_bytes: int = 64 * MIB
    max_total_bytes: int = 64 * 1024 * MIB
    fsync: Fsync = Fsync.SEAL

    def __post_init__(self) -> None:
        if self.segment_bytes < 1 or self.max_total_bytes < 1:
            raise ConfigError("log sizes are in bytes and at least 1")


class RequestLogWriter:
    """One process's writer; every process that writes to a folder has its own.

    Args:
        settings: where and how.

    Attributes:
        recovered: segments of dead writers that were sealed when this one started.

    Raises:
        LogError: the folder cannot be written.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._fd = -1
        self._size = self._total = 0
        self._closed = False
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
            self.recovered: tuple[Sealed, ...] = tuple(seal_abandoned(settings.folder))
            self._open()
        except OSError as e:
            raise LogError(f"log {settings.folder}: {e.strerror}; give a writable folder") from e

    def write(self, request: ScoredRequest) -> None:
        """Write a request's line; see `LogWriter.write`."""
        line = encode_line(request)
        with self._lock:
            self._ensure_open()
            if self._total + len(line) > self._settings.max_total_bytes:
                self._total = self._held_bytes()  # segments may have been moved away
            if self._total + len(line) > self._settings.max_total_bytes:
                raise LogError(
                    f"log {self._settings.folder} is full: {self._settings.max_total_bytes} bytes; "
                    f"move sealed segments away or raise the bound"
                )
            self._append(line)
            if self._size >= self._settings.segment_bytes:
                self._rotate()

    def close(self) -> None:
        """Seal the open segment; later writes fail. An empty one is removed."""
        with self._lock:
            self._closed = True
            if self._fd >= 0:
                self._finish()

    def _ensure_open(self) -> None:
        """Open a segment if the last rotation could not."""
        if self._closed:
            raise LogError(f"log {self._settings.folder}: closed")
        if self._fd < 0:
            try:
                self._open()
            except OSError as e:
                folder = self._settings.folder
                raise LogError(f"log {folder}: {e.strerror}; free space or mend it") from e

    def _held_bytes(self) -> int:
        return sum(map(_size_bytes, self._settings.folder.iterdir()))

    def _append(self, line: bytes) -> None:
        try:
            problem = self._write_once(line)
        except OSError as e:
            problem = e.strerror or str(e)
        if problem:
            # nothing half-written may stay behind, or the next line would join its rest
            os.ftruncate(self._fd, self._size)
            raise LogError(f"log {self._path}: {problem}; free space or replace the disk")
        self._size += len(line)
        self._total += len(line)

    def _write_once(self, line: bytes) -> str:
        """Return what went wrong without an error of its own, or nothing."""
        written = os.write(self._fd, line)
        if written != len(line):
            return f"wrote {written} of {len(line)} bytes"
        if self._settings.fsync is Fsync.EVERY_REQUEST:
            os.fdatasync(self._fd)
        return ""

    def _rotate(self) -> None:
        """Begin a new segment. The line at hand is written: what fails here is the next one's.

        A segment that could not be sealed is sealed by the next writer that starts.
        """
        try:
            self._finish()
            self._open()
        except OSError as e:
            logger.warning("log %s: cannot rotate: %s", self._settings.folder, e)

    def _open(self) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        while True:
            self._path = self._settings.folder / segment_name()
            self._fd, self._size = os.open(self._path, flags, 0o640), 0
            # until it is locked, another process may take it for a dead writer's
            if lock_segment(self._fd) and self._path.exists():
                break
            os.close(self._fd)
        fsync_folder(self._settings.folder)
        # looked at anew with each segment: other writers share the folder
        self._total = self._held_bytes()

    def _finish(self) -> None:
        try:
            if self._size:
                seal(self._path, self._fd)
            else:
                self._path.unlink()
        finally:
            os.close(self._fd)
            self._fd = -1


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # sealed or moved away since the folder was listed
