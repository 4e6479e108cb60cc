"""Writes the request log: one `write()` a request, before its reply."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from consistency.errors import LogError
from consistency.log.durability import FsyncWhen, Ticker
from consistency.log.lines.encoding import encode_line
from consistency.log.segments import (
    Sealed,
    fsync_folder,
    lock_segment,
    seal,
    seal_abandoned,
    segment_name,
)
from consistency.log.settings import LogSettings
from consistency.scored import ScoredRequest

logger = logging.getLogger(__name__)


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
        self._most_bytes, self._segment_bytes = settings.max_total_bytes, settings.segment_bytes
        self._lock = threading.Lock()
        self._syncs_each = settings.fsync.when is FsyncWhen.EVERY_REQUEST
        self._fd = -1
        self._size = self._total = self._synced = 0
        self._closed = False
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
            self.recovered: tuple[Sealed, ...] = tuple(seal_abandoned(settings.folder))
            self._open()
        except OSError as e:
            raise LogError(f"log {settings.folder}: {e.strerror}; give a writable folder") from e
        self._tickers = self._start_tickers()

    def write(self, request: ScoredRequest) -> None:
        """Write a request's line; see `LogWriter.write`."""
        self.append(encode_line(request))

    def append(self, line: bytes) -> None:
        """Write a line, or several in one piece; all of them are written, or none.

        Raises:
            LogError: none was written.
        """
        with self._lock:
            if self._fd < 0 or self._closed:
                self._open_again()
            size = len(line)
            if self._total + size > self._most_bytes:
                self._find_room(size)
            self._write_whole(line, size)
            if self._size >= self._segment_bytes:
                self._rotate()

    def close(self) -> None:
        """Seal the open segment; later writes fail. An empty one is removed."""
        for ticker in self._tickers:
            ticker.stop()
        with self._lock:
            self._closed = True
            if self._fd >= 0:
                self._finish()

    def _start_tickers(self) -> list[Ticker]:
        tickers = []
        fsync, age = self._settings.fsync, self._settings.retention.seal_after_seconds
        if fsync.when is FsyncWhen.INTERVAL:
            tickers.append(Ticker("log-fsync", fsync.seconds, self.sync))
        if age is not None:
            tickers.append(Ticker("log-seal", age, self.seal_now))
        return tickers

    def sync(self) -> None:
        """Force what was written to the disk; requests that come meanwhile do not wait.

        A disk that fails at it may have lost what it was given, and says so only once: the segment
        is left to be sealed by the next writer that starts, and the next request begins a new one,
        or gets the disk's error.
        """
        with self._lock:
            if self._fd < 0 or self._synced == self._size:
                return
            fd, path, size = os.dup(self._fd), self._path, self._size
        try:
            os.fdatasync(fd)
        except OSError:
            logger.exception("log %s: cannot be forced to the disk", path)
            with self._lock:
                if self._path == path and self._fd >= 0:
                    self._leave()
            return
        finally:
            os.close(fd)
        with self._lock:
            if self._path == path:
                self._synced = size

    def seal_now(self) -> None:
        """Seal the open segment, if anything is in it, and begin a new one."""
        with self._lock:
            if self._fd >= 0 and self._size:
                self._rotate()

    def _open_again(self) -> None:
        """Open a segment where the last rotation could not."""
        if self._closed:
            raise LogError(f"log {self._settings.folder}: closed")
        try:
            self._open()
        except OSError as e:
            folder = self._settings.folder
            raise LogError(f"log {folder}: {e.strerror}; free space or mend it") from e

    def _find_room(self, size: int) -> None:
        self._total = self._held_bytes()  # segments may have been moved away
        if self._total + size > self._most_bytes:
            raise LogError(
                f"log {self._settings.folder} is full: {self._most_bytes} bytes; "
                f"move sealed segments away or raise the bound"
            )

    def _held_bytes(self) -> int:
        return sum(map(_size_bytes, self._settings.folder.iterdir()))

    def _write_whole(self, line: bytes, size: int) -> None:
        problem = ""
        try:
            written = os.write(self._fd, line)
            if written != size:
                problem = f"wrote {written} of {size} bytes"
            elif self._syncs_each:
                os.fdatasync(self._fd)
        except OSError as e:
            problem = e.strerror or str(e)
        if problem:
            # nothing half-written may stay behind, or the next line would join its rest
            os.ftruncate(self._fd, self._size)
            raise LogError(f"log {self._path}: {problem}; free space or replace the disk")
        self._size += size
        self._total += size

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
            self._fd, self._size, self._synced = os.open(self._path, flags, 0o640), 0, 0
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
            self._leave()

    def _leave(self) -> None:
        os.close(self._fd)
        self._fd = -1


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # sealed or moved away since the folder was listed
