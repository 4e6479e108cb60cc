"""A compacted segment, seen as lines: what its footer says, and its original lines, byte for byte.

The typed columns beside the lines are for SQL readers (`typed.py`); samescore itself reads the
column `line` alone, so that a compacted log yields the very same requests.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consistency.errors import LogError
from consistency.log.selection import EVERYTHING, LogSelection

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile, RowGroupMetaData

LINE: Final = "line"
INGEST_TIME: Final = "ingest_time"
FOOTER_KEY: Final = b"samescore.segments"
"""Footer entry: JSON, the held segments in order."""
FOOTER_CRC_KEY: Final = b"samescore.segments.crc"
"""Footer entry: CRC-32 of the other one, in hex. Parquet has checksums for pages only."""

_ODD_FOOTER: Final = (
    "what its footer says of its segments is damaged, or it was renamed; what could be read was"
)

_BATCH_LINES: Final = 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ParquetError(Exception):
    """A compacted segment cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """A segment within a compacted file.

    Attributes:
        first: index of its first line in the file.
        lines: how many it has.
        size_bytes: of the sealed segment it was.
        crc: CRC-32 of the sealed segment.
    """

    first: int
    lines: int
    size_bytes: int
    crc: int


def footer_entries(held: Mapping[str, Held]) -> dict[str, str]:
    """Return the footer entries, the inverse of `held_segments`."""
    said = json.dumps([{"stem": stem, **asdict(one)} for stem, one in held.items()])
    crc = f"{zlib.crc32(said.encode()):08x}"
    return {FOOTER_KEY.decode(): said, FOOTER_CRC_KEY.decode(): crc}


def held_segments(path: Path) -> Mapping[str, Held]:
    """Return the segments that a compacted file holds, by stem; none if it is gone or damaged.

    A compacted file never changes: what its footer says is remembered.

    Raises:
        LogError: the disk, or the process's limits, do not let it be read.
    """
    try:
        status = path.stat()
        return _held(path, status.st_ino, status.st_mtime_ns)
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise LogError(f"log {path.parent}: {path.name}: {e.strerror}") from e


@lru_cache(maxsize=4096)
def _held(path: Path, inode: int, mtime_ns: int) -> Mapping[str, Held]:  # noqa: ARG001 - cache key
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.read_metadata(path)
        footer = file.metadata or {}
        entries = json.loads(footer.get(FOOTER_KEY, b"[]"))
        held = {entry.pop("stem"): Held(**entry) for entry in entries}
        return held if _is_sound(path, held, footer, file.num_rows) else {}
    except (OSError, pa.ArrowException, ValueError, TypeError, LookupError, AttributeError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise  # Arrow says of a damaged file that it is an OSError without a number
        return {}


def _is_sound(
    path: Path, held: Mapping[str, Held], footer: Mapping[bytes, bytes], rows: int
) -> bool:
    """Return whether a footer says what was written; one of an earlier release has no CRC."""
    crc = b"%08x" % zlib.crc32(footer.get(FOOTER_KEY, b""))
    firsts = [0, *accumulate(one.lines for one in held.values())]
    stems = list(held)
    ends = path.name.removesuffix(".parquet").split("..")  # of a half-written file: no stems
    return (
        footer.get(FOOTER_CRC_KEY, crc) == crc
        and firsts == [*(one.first for one in held.values()), rows]
        and stems == sorted(stems)
        and (path.suffix != ".parquet" or (ends[0], ends[-1]) == (stems[0], stems[-1]))
    )


def read_lines(
    path: Path, stem: str | None = None, selection: LogSelection = EVERYTHING
) -> Iterator[tuple[int, bytes]]:
    """Yield 1-based line numbers and lines without their newlines, in the order of writing.

    Args:
        path: a compacted file. It may be removed as soon as the first line is out.
        stem: only this segment's lines, numbered as they were in it.
        selection: row groups whose times it cannot mean are left out; the rest is not looked into.

    Raises:
        FileNotFoundError: no such file.
        ParquetError: damaged; what could be read was yielded before.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            if FOOTER_KEY not in (file.metadata.metadata or {}):
                raise ParquetError("not a compacted segment; move it out of the log's folder")
            held = held_segments(path)
            first, end = 0, file.metadata.num_rows
            if stem is not None:
                first, end = held[stem].first, held[stem].first + held[stem].lines
            yield from _between(file, first, end, selection)
            if not held:
                raise ParquetError(_ODD_FOOTER)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError, LookupError) as e:
        raise ParquetError(f"not a readable Parquet file: {' '.join(str(e).split())[:200]}") from e


def _between(
    file: ParquetFile, first: int, end: int, selection: LogSelection
) -> Iterator[tuple[int, bytes]]:
    position = 0
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        begins, position = position, position + group.num_rows
        if position <= first or begins >= end or not _meets(group, selection):
            continue
        number = begins
        for batch in file.iter_batches(_BATCH_LINES, [index], [LINE], use_threads=False):
            for line in batch.column(0).to_pylist():
                if first <= number < end:
                    yield number - first + 1, line
                number += 1
        if number != position:
            raise ParquetError(f"row group {index} has {number - begins} of {group.num_rows} lines")
    if position != file.metadata.num_rows:
        raise ParquetError(f"its row groups have {position} of {file.metadata.num_rows} lines")


def _meets(group: RowGroupMetaData, selection: LogSelection) -> bool:
    """Return whether a row group can hold a request that is meant, by its statistics."""
    if selection.since_us is None and selection.until_us is None:
        return True
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == INGEST_TIME and column.statistics is not None:
            held = column.statistics
            return not held.has_min_max or selection.may_keep_between(_us(held.min), _us(held.max))
    return True


def _us(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
