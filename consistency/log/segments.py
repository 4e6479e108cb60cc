"""The files of a log: naming, listing, locks, sealing and repair.

A segment keeps its stem for life while its suffix says how far it has come: `.jsonl.open` (being
written), `.jsonl` (sealed), `.parquet` (compacted). It only ever moves on in this order, so whoever
looks for it in this order finds it, whatever other processes do meanwhile. A compaction that merges
several segments names the Parquet file after the first and the last, `<first>..<last>.parquet`; its
footer names all of them (`columnar/parquet.py`).

A writer holds an exclusive lock on its open segment for as long as it lives. An open segment whose
lock can be had belongs to a dead writer: it is sealed by whoever finds it first.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from consistency.errors import LogError
from consistency.log.columnar.parquet import held_segments
from consistency.log.lines.line import LineError, decode_line

OPEN_SUFFIX: Final = ".jsonl.open"
SEALED_SUFFIX: Final = ".jsonl"
PARQUET_SUFFIX: Final = ".parquet"
MERGED_MARK: Final = ".."
"""Stands between the first and the last stem in the name of a merged file."""
TORN_SUFFIX: Final = ".torn"

SEGMENT_SUFFIXES: Final = (OPEN_SUFFIX, SEALED_SUFFIX, PARQUET_SUFFIX)
"""In the order of a segment's life."""

STEM_PATTERN: Final = r"\d{8}T\d{6}\.\d{6}Z-\d+-[0-9a-f]{6}"
"""What `segment_name` makes, for whoever removes files and must not take an operator's own."""

_READ_BYTES: Final = 1 << 18
"""Read at once: a line of one row has 2 KB, and Python's own buffer holds only a few."""


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


def stem_of(path: Path) -> str:
    """Return what a segment is called whatever has become of it; of a merged file, its first."""
    return span_of(path)[0]


def span_of(path: Path) -> tuple[str, str]:
    """Return the first and the last stem that a file can hold.

    >>> span_of(Path("a..c.parquet")), span_of(Path("b.jsonl.open"))
    (('a', 'c'), ('b', 'b'))
    """
    suffix = next((s for s in SEGMENT_SUFFIXES if path.name.endswith(s)), "")
    first, _, last = path.name.removesuffix(suffix).partition(MERGED_MARK)
    return first, last or first


def is_merged(path: Path) -> bool:
    """Return whether a compacted file holds several segments."""
    return MERGED_MARK in path.name


def list_segments(folder: Path) -> list[Path]:
    """Return the log's segments, open, sealed and compacted, oldest first, each of them once.

    Where a crash has left a segment and its compacted form, the compacted one counts: it got its
    name only after it had been verified.

    Raises:
        LogError: no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise LogError(
            f"log {folder}: no such folder; name the folder that `samescore serve` wrote"
        )
    # a file that is renamed while a folder is listed can be missed; hardly twice in a row
    found = {p for _ in range(2) for p in folder.iterdir() if _is_segment(p)}
    compacted = [p for p in found if p.name.endswith(PARQUET_SUFFIX)]
    lines = {stem_of(p): p for p in sorted(found - {*compacted}, key=_age)}
    stems = sorted(lines)
    for path in compacted:
        for stem in replaced_by(path, stems):
            lines.pop(stem, None)
    return sorted([*lines.values(), *compacted], key=stem_of)


def _is_segment(path: Path) -> bool:
    return path.name.endswith(SEGMENT_SUFFIXES) and not path.name.startswith(".")


def _age(path: Path) -> int:
    """Return how far a segment has come in its life."""
    return next(i for i, s in enumerate(SEGMENT_SUFFIXES) if path.name.endswith(s))


def replaced_by(path: Path, stems: Sequence[str]) -> list[str]:
    """Return which segments a compacted file holds; none if it is damaged or somebody else's.

    Args:
        path: the file. It is looked into only if its name says that it could hold one.
        stems: the segments asked for, in ascending order.
    """
    first, last = span_of(path)
    asked = stems[bisect_left(stems, first) : bisect_right(stems, last)]
    held = held_segments(path) if asked else {}
    return [stem for stem in asked if stem in held]


def merged_with(folder: Path, stem: str) -> Path | None:
    """Return the compacted file that holds a segment beside others, or None."""
    merged = sorted(folder.glob(f"*{MERGED_MARK}*{PARQUET_SUFFIX}"))
    return next((path for path in merged if replaced_by(path, [stem])), None)


def open_lines(folder: Path, stem: str) -> tuple[str, BinaryIO] | None:
    """Open a segment that is not compacted, wherever in its life it is.

    Returns:
        The file's name, which says whether it was sealed when it was opened, and its bytes; None
        when there is no such segment, or only its compacted form.

    Raises:
        LogError: it is there and cannot be read.
    """
    for suffix in (OPEN_SUFFIX, SEALED_SUFFIX):  # in the order of its life: none is overtaken
        name = f"{stem}{suffix}"
        try:
            return name, (folder / name).open("rb", _READ_BYTES)
        except FileNotFoundError:
            continue
        except OSError as e:
            raise unreadable(folder / name, e) from e
    return None


def unreadable(path: Path, error: OSError) -> LogError:
    """Return what is said of a segment that is there and cannot be opened."""
    return LogError(
        f"log {path.parent}: {path.name}: {error.strerror}; make it readable, or move it out of "
        f"the log's folder if it is no segment"
    )


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
