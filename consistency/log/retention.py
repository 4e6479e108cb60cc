"""How long a log is kept: sealed segments go, oldest first, by age or by size.

A segment that is open is never touched, whoever writes it. That alone would let a quiet server keep
its last segment for ever, so a writer with a retention by age also seals by age
(`Retention.seal_after_seconds`). Nothing but segments is removed: the lookup snapshots that lines
name stay, however old.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consistency.errors import ConfigError, LogError
from consistency.log.durability import Ticker
from consistency.log.segments import (
    OPEN_SUFFIX,
    PARQUET_SUFFIX,
    SEALED_SUFFIX,
    STEM_PATTERN,
    TORN_SUFFIX,
    fsync_folder,
)

logger = logging.getLogger(__name__)

DAY_SECONDS: Final = 86_400.0
LOCK_NAME: Final = ".retention.lock"
_REMOVABLE: Final = (SEALED_SUFFIX, PARQUET_SUFFIX, TORN_SUFFIX)
_SEGMENT_FILE: Final = re.compile(
    rf"(?!\.).*{STEM_PATTERN}({'|'.join(map(re.escape, (*_REMOVABLE, OPEN_SUFFIX)))})\Z"
)
"""Of a segment, or of several that were merged: `labels.parquet` is none of ours."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a log is kept; what breaks either bound goes.

    Attributes:
        keep_days: since a segment's last line was written; None for ever.
        keep_bytes: of all segments, the open ones too; None for any size.

    Raises:
        ConfigError: a bound is not above 0.
    """

    keep_days: float | None = None
    keep_bytes: int | None = None

    def __post_init__(self) -> None:
        for bound in (self.keep_days, self.keep_bytes):
            if bound is not None and not bound > 0:
                raise ConfigError(f"retention {bound:g}: give days or a size above 0")

    @property
    def is_bounded(self) -> bool:
        """Whether anything is ever removed."""
        return self.keep_days is not None or self.keep_bytes is not None

    @property
    def seal_after_seconds(self) -> float | None:
        """Age at which a writer seals a segment that is not full: at most a day, or a tenth."""
        if self.keep_days is None:
            return None
        return min(DAY_SECONDS, self.keep_days * DAY_SECONDS / 10)


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file of the log.

    Attributes:
        path: in the log's folder.
        size_bytes: of the file.
        written: when its last line was, seconds since the epoch.
    """

    path: Path
    size_bytes: int
    written: float

    @property
    def is_sealed(self) -> bool:
        """Whether no writer has it open."""
        return self.path.name.endswith(_REMOVABLE)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What retention removed, or would remove.

    Attributes:
        removed: oldest first.
        kept_bytes: of the segments that stay.
    """

    removed: tuple[SegmentFile, ...]
    kept_bytes: int

    @property
    def removed_bytes(self) -> int:
        """Bytes that this frees."""
        return sum(f.size_bytes for f in self.removed)


def due(files: Iterable[SegmentFile], retention: Retention, now: float) -> list[SegmentFile]:
    """Return what has to go, oldest first.

    Args:
        files: of one log, in any order.
        retention: the bounds.
        now: seconds since the epoch.
    """
    held = sorted(files, key=lambda f: (f.path.name, f.written))
    total = sum(f.size_bytes for f in held)
    most = float("inf") if retention.keep_bytes is None else retention.keep_bytes
    days = retention.keep_days
    oldest = float("-inf") if days is None else now - days * DAY_SECONDS
    gone = []
    for file in held:
        if file.is_sealed and (file.written < oldest or total > most):
            gone.append(file)
            total -= file.size_bytes
    return gone


def prune(folder: Path, retention: Retention, *, dry_run: bool = False) -> Pruned:
    """Remove the sealed segments that are too old or too many.

    Any number of processes may do so at once: each sees the same oldest segments, and one that is
    gone already counts as removed by whoever came first.

    Raises:
        LogError: no such folder, or a file cannot be removed.
    """
    files = segment_files(folder)
    gone = due(files, retention, time.time())
    kept = sum(f.size_bytes for f in files) - sum(f.size_bytes for f in gone)
    if not dry_run:
        gone = _remove(folder, gone)
    return Pruned(tuple(gone), kept)


def segment_files(folder: Path) -> list[SegmentFile]:
    """Return the files of a log that hold requests.

    Raises:
        LogError: no such folder.
    """
    if not folder.is_dir():
        raise LogError(f"log {folder}: no such folder; name the folder of a request log")
    found = []
    for path in folder.iterdir():
        if not _SEGMENT_FILE.match(path.name):
            continue  # an operator's own
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue  # sealed or removed since the folder was listed
        found.append(SegmentFile(path, facts.st_size, facts.st_mtime))
    return found


def _remove(folder: Path, files: Sequence[SegmentFile]) -> list[SegmentFile]:
    removed = []
    for file in files:
        try:
            file.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise LogError(
                f"log {folder}: cannot remove {file.path.name}: {e.strerror}; make the folder "
                f"writable"
            ) from e
        removed.append(file)
    if removed:
        fsync_folder(folder)
    return removed


class RetentionKeeper:
    """Prunes a log while a server runs; of several processes on one folder, one does it.

    Args:
        folder: the log's.
        retention: the bounds.
        seconds: between two looks.
    """

    def __init__(self, folder: Path, retention: Retention, seconds: float = 60.0) -> None:
        self._folder, self._retention = folder, retention
        # whoever has the lock keeps it for its life; another one takes over when it dies
        self._fd = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        self.look()
        self._ticker = Ticker("log-retention", seconds, self.look)

    def look(self) -> None:
        """Prune now, unless another process sees to it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            pruned = prune(self._folder, self._retention)
        except LogError as e:
            logger.warning("retention: %s", e)
            return
        for file in pruned.removed:
            logger.info("removed %s, %d bytes: past its retention", file.path, file.size_bytes)

    def close(self) -> None:
        """Stop, and let another process see to it."""
        self._ticker.stop()
        os.close(self._fd)
