"""A log cut into units of work: small, the same for everyone who cuts, and readable anywhere.

A unit is a span of byte positions of a segment's original lines; a line belongs to the unit that
holds its first byte. So a cut needs the sizes only, and a unit means the same lines, to the byte,
whether its segment is open, sealed or compacted by the time it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from consistency.log.columnar.parquet import ParquetError, held_segments, read_lines
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import LineError, decode_line
from consistency.log.reader import problem_of_end
from consistency.log.segments import (
    PARQUET_SUFFIX,
    SEALED_SUFFIX,
    list_segments,
    merged_with,
    open_lines,
    stem_of,
)
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.protocols import Damage
from consistency.replay.spans import may_hold

UNIT_BYTES: Final = 8 << 20
"""Size of a unit: some seconds of work, and what an interrupted replay loses at most for a core."""

_STEP_LINES: Final = 256  # between two reports of progress

_Line: TypeAlias = tuple[str, bytes, str]
"""The file's name; the line, newline included unless it was never written; why the lines from here
on cannot be read, empty for a line that was."""


@dataclass(frozen=True, slots=True)
class LogUnit:
    """A part of a segment.

    Attributes:
        stem: what the segment is called whatever becomes of it.
        start: byte position in the segment's original lines; end: the first one that is not meant.
    """

    stem: str
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Bytes of it, of the lines as they were written."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.stem} bytes {self.start} to {self.end}"


@dataclass(slots=True)
class UnitReader:
    """Reads one unit.

    Args:
        folder: of the log.
        unit: which part.
        on_bytes: told how many bytes more were read.

    Attributes:
        lines: that were read so far, damaged ones included.
    """

    folder: Path
    unit: LogUnit
    on_bytes: Callable[[int], object] = lambda _: None
    lines: int = 0

    def __iter__(self) -> Iterator[LoggedRequest | Damage]:
        told = read = 0
        for segment, data, problem in _raw_lines(self.folder, self.unit):
            self.lines += 1
            read += len(data)
            if self.lines % _STEP_LINES == 0:
                self.on_bytes(read - told)
                told = read
            yield _item(segment, self.lines, data, problem)
        self.on_bytes(self.unit.size_bytes - told)


def cut_log(
    folder: Path, selection: LogSelection = EVERYTHING, unit_bytes: int = UNIT_BYTES
) -> list[LogUnit]:
    """Return the units of a log, oldest segment first.

    Args:
        folder: of the log.
        selection: segments that its times rule out are left out, damage in them included.
        unit_bytes: size of a unit.

    Raises:
        LogError: no such folder.
    """
    return [
        LogUnit(stem, start, min(start + unit_bytes, size))
        for path in list_segments(folder)
        for stem, size in _sizes(path)
        if may_hold(path, stem, selection)
        for start in range(0, size, unit_bytes)
    ]


def unit_digest(folder: Path, unit: LogUnit) -> str:
    """Return the BLAKE2b of a unit's lines, in hex; sealing and compaction do not change it."""
    digest = hashlib.blake2b(digest_size=16)
    for _, data, problem in _raw_lines(folder, unit):
        digest.update(data or problem.encode())
    return digest.hexdigest()


def _sizes(path: Path) -> list[tuple[str, int]]:
    """Return the segments in a file, with the sizes of their original lines."""
    if path.name.endswith(PARQUET_SUFFIX):
        held = [(stem, one.size_bytes) for stem, one in held_segments(path).items()]
        # of one that cannot be read, a unit that will say so
        return held or [(path.name.removesuffix(PARQUET_SUFFIX), 1)]
    try:
        return [(stem_of(path), path.stat().st_size)]
    except FileNotFoundError:  # sealed, compacted or removed since it was listed
        return _sizes_now(path.parent, stem_of(path))


def _sizes_now(folder: Path, stem: str) -> list[tuple[str, int]]:
    for suffix in (SEALED_SUFFIX, PARQUET_SUFFIX):
        path = folder / f"{stem}{suffix}"
        if path.exists():
            return _sizes(path)
    merged = merged_with(folder, stem)
    return [] if merged is None else [(stem, held_segments(merged)[stem].size_bytes)]


def _raw_lines(folder: Path, unit: LogUnit) -> Iterator[_Line]:
    if (opened := open_lines(folder, unit.stem)) is not None:
        name, stream = opened
        with stream:
            for data in _span(stream, unit):
                yield name, data, ""
        return
    alone = folder / f"{unit.stem}{PARQUET_SUFFIX}"
    compacted = alone if alone.exists() else merged_with(folder, unit.stem)
    if compacted is not None:
        yield from _compacted(compacted, unit)


def _span(stream: BinaryIO, unit: LogUnit) -> Iterator[bytes]:
    position = unit.start
    if position:
        stream.seek(position - 1)
        position += len(stream.readline()) - 1  # the rest of a line that begins before
    for line in stream:
        if position >= unit.end:
            return
        yield line
        position += len(line)


def _compacted(path: Path, unit: LogUnit) -> Iterator[_Line]:
    held = held_segments(path)
    stem = unit.stem if unit.stem in held else None
    end = unit.end if held else inf  # of one whose footer is damaged, whatever can be read
    position = 0
    try:
        for _, line in read_lines(path, stem):
            if position >= end:
                return
            if position >= unit.start:
                yield path.name, line + b"\n", ""
            position += len(line) + 1
    except FileNotFoundError:
        return  # retention took it
    except ParquetError as e:
        yield path.name, b"", str(e)


def _item(segment: str, number: int, data: bytes, problem: str) -> LoggedRequest | Damage:
    if data.endswith(b"\n"):
        try:
            return decode_line(data[:-1])
        except (LineError, ValueError) as e:
            problem = str(e)
    return Damage(segment, number, problem or problem_of_end(segment), len(data))
