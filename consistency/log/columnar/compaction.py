"""Compaction: sealed segments become Parquet, and no reader sees a request twice, or misses one.

The order is the whole safety. A group of sealed segments is written to a hidden temporary file and
forced to the disk; the file is read back and every line's bytes compared with the segments' (their
CRCs were checked when they were read); only then it gets its final name, the folder is forced to
the disk, and the segments go. Wherever a crash falls, a reader counts a group either by its
segments or by its Parquet file, never by both: the final name decides (`list_segments`). What a
crash leaves over, the next compaction removes.

A segment with a damaged line stays as it is, so that the evidence does.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consistency.errors import LogError
from consistency.log.columnar.parquet import Held, ParquetError, held_segments, read_lines
from consistency.log.columnar.parquet_writer import Kept, UnfitSegmentError, write_group
from consistency.log.segments import (
    MERGED_MARK,
    PARQUET_SUFFIX,
    SEALED_SUFFIX,
    fsync_folder,
    list_segments,
    replaced_by,
    seal_abandoned,
    stem_of,
)

LOCK_NAME: Final = ".compact.lock"
TEMP_SUFFIX: Final = ".compacting"
TARGET_BYTES: Final = 64 << 20
"""Segments are merged up to this size: that of one full segment, so full ones stay alone."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """Segments that became one Parquet file.

    Attributes:
        path: the file.
        segments: names of the segments it replaces.
        lines: requests in it.
        bytes_before: of the segments.
        bytes_after: of the file.
    """

    path: Path
    segments: tuple[str, ...]
    lines: int
    bytes_before: int
    bytes_after: int


def compact_log(folder: Path, target_bytes: int = TARGET_BYTES) -> Iterator[Compacted | Kept]:
    """Compact every sealed segment, and say of each group what became of it.

    Safe while writers write, readers read and retention removes; segments of dead writers are
    sealed first.

    Args:
        folder: the log.
        target_bytes: neighbouring segments are merged while they have together no more.

    Raises:
        LogError: no such folder; another compaction runs; the disk is full or broken; a file did
            not read back as it was written. The log is then as good as before.
    """
    list_segments(folder)  # no such folder: said before a lock file is made
    with _alone(folder):
        try:
            _clean_up(folder)
            for _ in seal_abandoned(folder):
                pass
            for group in _groups(folder, target_bytes):
                yield from _compact(folder, group)
        except OSError as e:
            raise LogError(f"log {folder}: {e.strerror or e}; free space or mend it") from e


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the compaction's lock; it ends with the process, however that ends."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError as e:
        raise LogError(f"log {folder}: {e.strerror}; compaction writes to the folder") from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise LogError(f"log {folder}: another compaction is running; wait for its end") from None
    try:
        yield
    finally:
        os.close(fd)


def _clean_up(folder: Path) -> None:
    """Remove what a crashed compaction left: half-written files, and segments that it replaced."""
    for path in folder.glob(f".*{TEMP_SUFFIX}"):
        path.unlink(missing_ok=True)
    stems = sorted(map(stem_of, folder.glob(f"*{SEALED_SUFFIX}")))
    for path in sorted(folder.glob(f"*{PARQUET_SUFFIX}")) if stems else ():
        for stem in replaced_by(path, stems):
            _remove_replaced(folder / f"{stem}{SEALED_SUFFIX}", path)


def _remove_replaced(source: Path, path: Path) -> None:
    held = held_segments(path).get(stem_of(source))
    if not source.exists() or held is None:
        return  # retention took one of the two
    if _crc_of(source) != (held.crc, held.size_bytes):
        raise LogError(
            f"log {path.parent}: {source.name} and {path.name} differ though one was made from the "
            f"other; keep the right one and remove the other"
        )
    source.unlink(missing_ok=True)


def _crc_of(path: Path) -> tuple[int, int]:
    crc = size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return crc, size


def _groups(folder: Path, target_bytes: int) -> Iterator[list[Path]]:
    group: list[Path] = []
    total = 0
    for path in list_segments(folder):
        if not path.name.endswith(SEALED_SUFFIX):
            continue
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # retention took it
        if group and total + size > target_bytes:
            yield group
            group, total = [], 0
        group.append(path)
        total += size
    if group:
        yield group


def _compact(folder: Path, group: list[Path]) -> Iterator[Compacted | Kept]:
    """Compact a group, less the segments that must stay as they are."""
    while group:
        temp = folder / f".{stem_of(group[0])}{TEMP_SUFFIX}"
        try:
            held = write_group(temp, group)
            _verify(temp, group)
            compacted = _put_in_place(temp, group, held)
        except UnfitSegmentError as e:
            yield e.kept
            group = [path for path in group if path.name != e.kept.segment]
        except FileNotFoundError:
            group = [path for path in group if path.exists()]  # retention took one
        else:
            yield compacted
            return
        finally:
            temp.unlink(missing_ok=True)


def _verify(temp: Path, group: Sequence[Path]) -> None:
    """Compare every line of the new file with the segments, byte for byte."""
    try:
        problem = _difference(temp, group)
    except ParquetError as e:
        problem = str(e)
    if problem:
        raise LogError(
            f"log {temp.parent}: {temp.name} did not read back as it was written ({problem}); the "
            f"segments are untouched; check the disk"
        )


def _difference(temp: Path, group: Sequence[Path]) -> str:
    expected = _lines_of(group)
    for number, line in read_lines(temp):
        if next(expected, None) != line + b"\n":
            return f"line {number} differs"
    return "" if next(expected, None) is None else "lines are missing"


def _lines_of(group: Sequence[Path]) -> Iterator[bytes]:
    for path in group:
        with path.open("rb") as stream:
            yield from stream


def _put_in_place(temp: Path, group: Sequence[Path], held: dict[str, Held]) -> Compacted:
    """Give the file its final name, and remove what it replaces."""
    newest_ns = max(path.stat().st_mtime_ns for path in group)
    os.utime(temp, ns=(newest_ns, newest_ns))  # for retention, it is as old as its last request
    path = temp.with_name(_final_name(group))
    temp.rename(path)
    fsync_folder(path.parent)
    for source in group:
        source.unlink(missing_ok=True)
    fsync_folder(path.parent)
    return Compacted(
        path=path,
        segments=tuple(source.name for source in group),
        lines=sum(one.lines for one in held.values()),
        bytes_before=sum(one.size_bytes for one in held.values()),
        bytes_after=path.stat().st_size,
    )


def _final_name(group: Sequence[Path]) -> str:
    stems = [stem_of(source) for source in group]
    name = stems[0] if len(stems) == 1 else f"{stems[0]}{MERGED_MARK}{stems[-1]}"
    return f"{name}{PARQUET_SUFFIX}"
