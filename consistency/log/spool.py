"""The log behind a spool: requests are answered while a thread writes their lines.

For those who would rather lose log lines than make requests wait for a stalled disk. What a spool
holds is lost when its process is killed; `close` writes it out. Its memory is bounded: what does
not fit is dropped and counted, or refuses its request, as the operator chose.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

from consistency.errors import LogError
from consistency.log.writer import RequestLogWriter

logger = logging.getLogger(__name__)

_PIECE_BYTES: Final = 256 * 1024
"""Lines that are written in one piece."""
_OVERHEAD_BYTES: Final = 64
"""Of memory, for a line beside its text."""
RETRY_SECONDS: Final = 0.25
"""Between two tries to write what the disk has refused."""
CLOSE_SECONDS: Final = 10.0
"""After which what a stalled disk has not taken is given up."""


class LogSpool:
    """Takes lines at once and writes them soon. Any thread may add.

    Args:
        writer: writes; it is closed with the spool.
        max_bytes: of lines that wait.
        dropped: called with a number of lines that will not be written, except those that `add`
            has refused with an error.
        refuses: whether a line that does not fit is an error, or a drop.
    """

    def __init__(
        self,
        writer: RequestLogWriter,
        max_bytes: int,
        *,
        dropped: Callable[[int], None],
        refuses: bool,
    ) -> None:
        self._writer, self._max_bytes = writer, max_bytes
        self._dropped, self._refuses = dropped, refuses
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._piece_bytes = _PIECE_BYTES
        self._in_trouble = self._closing = self._given_up = False
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="log-spool", daemon=True)
        self._thread.start()

    @property
    def held_bytes(self) -> int:
        """Memory of the lines that a kill would take now."""
        return self._bytes

    def add(self, line: bytes) -> None:
        """Take a line.

        Raises:
            LogError: there is no room for it and the spool refuses, or it is closed.
        """
        size = len(line) + _OVERHEAD_BYTES
        with self._lock:
            if self._closing:
                raise LogError("log spool: closed")
            if self._bytes + size <= self._max_bytes:
                self._lines.append(line)
                self._bytes += size
                if len(self._lines) == 1:
                    self._changed.notify()
                return
        if self._refuses:
            raise LogError(
                f"log spool: {self._max_bytes} bytes are waiting for the disk; mend the disk, "
                f"raise --log-spool-mib, or choose --on-log-failure drop"
            )
        self._dropped(1)

    def close(self) -> None:
        """Write what waits, and close the writer; later lines are refused."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._deadline = monotonic() + CLOSE_SECONDS
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS + 2 * RETRY_SECONDS)
        with self._lock:
            lost, self._given_up = len(self._lines), True
        if lost:
            logger.error("log spool: %d lines are lost, the disk has not taken them", lost)
            self._dropped(lost)
        if self._thread.is_alive():
            # the thread holds the writer; the next server that starts seals its segment
            logger.error("log spool: the disk is stalled; the segment is left open")
        else:
            self._writer.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._lines and not self._closing:
                    self._changed.wait()
                if not self._lines or self._given_up or monotonic() > self._deadline:
                    return
                piece, count = self._next_piece()
            if self._write(piece):
                self._forget(count)
            elif count > 1:
                self._piece_bytes = len(piece) // 2  # as much as there is space for is written
            elif monotonic() + RETRY_SECONDS < self._deadline:
                sleep(RETRY_SECONDS)
            else:
                return

    def _next_piece(self) -> tuple[bytes, int]:
        """Return the oldest lines in one piece; they stay in the spool until they are written."""
        size = 0
        lines: list[bytes] = []
        for line in self._lines:
            size += len(line)
            if lines and size > self._piece_bytes:
                break
            lines.append(line)
        return b"".join(lines), len(lines)

    def _write(self, piece: bytes) -> bool:
        try:
            self._writer.append(piece)
        except (LogError, OSError) as e:
            if not self._in_trouble:
                logger.warning("log spool: %s; it is tried again", e)
            self._in_trouble = True
            return False
        self._piece_bytes = min(_PIECE_BYTES, 2 * self._piece_bytes)
        return True

    def _forget(self, count: int) -> None:
        with self._lock:
            if self._given_up:
                return  # counted as lost already
            for _ in range(count):
                self._bytes -= len(self._lines.popleft()) + _OVERHEAD_BYTES
            recovered = self._in_trouble and not self._lines
            self._in_trouble = self._in_trouble and not recovered
        if recovered:
            logger.warning("log spool: the disk has taken all that waited")
