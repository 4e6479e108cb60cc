"""Writes segments into one Parquet file, in row groups of bounded size."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consistency.log.columnar.parquet import Held, footer_entries
from consistency.log.columnar.typed import BOUNDED, REPEATING, schema, typed_batch
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import LineError, decode_line
from consistency.log.segments import stem_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

_BATCH_LINES: Final = 1024
_GROUP_LINES: Final = 16 * _BATCH_LINES
_GROUP_BYTES: Final = 16 << 20
"""A row group is closed at whichever comes first: what a compaction holds in memory."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A segment that stays JSON Lines.

    Attributes:
        segment: its file name.
        line: the 1-based line at fault.
        problem: why.
    """

    segment: str
    line: int
    problem: str


class UnfitSegmentError(Exception):
    """A segment cannot become Parquet.

    Attributes:
        kept: which, and why.
    """

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        super().__init__(f"{kept.segment} line {kept.line}: {kept.problem}")


def write_group(out: Path, group: Sequence[Path]) -> dict[str, Held]:
    """Write the lines of sealed segments to a new file, and force it to the disk.

    Args:
        out: must not exist.
        group: sealed segments, in order.

    Returns:
        What the file's footer says of each, by stem.

    Raises:
        UnfitSegmentError: a line is damaged; the file at `out` is then of no use.
        FileNotFoundError: a segment is gone.
        OSError: the disk.
    """
    held: dict[str, Held] = {}
    with out.open("xb") as sink:
        os.fchmod(sink.fileno(), 0o640)
        with _parquet_writer(sink) as writer:
            rows, first = _RowGroups(writer), 0
            for path in group:
                one = held[stem_of(path)] = _write_segment(path, first, rows)
                first += one.lines
            rows.flush()
            writer.add_key_value_metadata(footer_entries(held))
        sink.flush()
        os.fsync(sink.fileno())
    return held


def _parquet_writer(sink: object) -> ParquetWriter:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        sink,
        schema(),
        compression="zstd",
        use_dictionary=list(REPEATING),
        write_statistics=list(BOUNDED),
        write_page_checksum=True,
    )


def _write_segment(path: Path, first: int, rows: _RowGroups) -> Held:
    number = crc = size = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            rows.add(line[:-1], _decoded(path, number, line), (path.name, number))
            crc, size = zlib.crc32(line, crc), size + len(line)
    return Held(first, number, size, crc)


def _decoded(path: Path, number: int, line: bytes) -> LoggedRequest:
    problem = "the last line has no end"
    if line.endswith(b"\n"):
        try:
            return decode_line(line[:-1])
        except (LineError, ValueError) as e:
            problem = str(e)
    raise UnfitSegmentError(Kept(path.name, number, problem))


@dataclass(slots=True)
class _RowGroups:
    """Collects lines, and writes them in row groups.

    Attributes:
        lines, requests, origins: side by side, those that are not columns yet; an origin is a
            segment's name and a line number.
        batches: columns of the row group at hand.
    """

    writer: ParquetWriter
    lines: list[bytes] = field(default_factory=list)
    requests: list[LoggedRequest] = field(default_factory=list)
    origins: list[tuple[str, int]] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0

    def add(self, line: bytes, request: LoggedRequest, origin: tuple[str, int]) -> None:
        self.lines.append(line)
        self.requests.append(request)
        self.origins.append(origin)
        self.rows += 1
        self.size_bytes += len(line)
        if len(self.lines) == _BATCH_LINES:
            self._end_batch()
        if self.rows >= _GROUP_LINES or self.size_bytes >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa

        self._end_batch()
        if self.batches:
            self.writer.write_table(pa.Table.from_batches(self.batches), row_group_size=self.rows)
        self.batches, self.rows, self.size_bytes = [], 0, 0

    def _end_batch(self) -> None:
        if not self.lines:
            return
        if (batch := _columns(self.lines, self.requests)) is None:
            self._blame()
        else:
            self.batches.append(batch)
        self.lines, self.requests, self.origins = [], [], []

    def _blame(self) -> None:
        """Find the line that does not fit the columns."""
        for line, request, (segment, number) in zip(
            self.lines, self.requests, self.origins, strict=True
        ):
            if _columns([line], [request]) is None:
                raise UnfitSegmentError(Kept(segment, number, "its fields are not those of a line"))


def _columns(lines: list[bytes], requests: list[LoggedRequest]) -> pa.RecordBatch | None:
    """Return lines as columns, or None when one of them has other fields than a line has."""
    try:
        return typed_batch(lines, requests)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError):
        return None
