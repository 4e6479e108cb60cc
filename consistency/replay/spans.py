"""Which segments a selection by time can leave unread.

A nightly replay of a log of a month must not read the month. The first and the last line of a
segment, or the statistics of a compacted one, say when its requests came.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from consistency.log.columnar.parquet import INGEST_TIME, held_segments
from consistency.log.lines.line import LineError, decode_line
from consistency.log.segments import PARQUET_SUFFIX
from consistency.log.selection import LogSelection

SLACK_US: Final = 3_600_000_000
"""Lines stand in the order of their replies, and clocks are set: an hour is more than both."""

_TAIL_BYTES: Final = 1 << 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def may_hold(path: Path, stem: str, selection: LogSelection) -> bool:
    """Return whether a segment can hold a request that is meant; True when that is not known.

    Args:
        path: the file that `list_segments` named.
        stem: the segment, one of several in a merged file.
        selection: only its times are looked at.
    """
    if selection.since_us is None and selection.until_us is None:
        return True
    compacted = path.name.endswith(PARQUET_SUFFIX)
    span = _compacted_span(path, stem) if compacted else _lines_span(path)
    if span is None:
        return True
    return selection.may_keep_between(span[0] - SLACK_US, span[1] + SLACK_US)


def _lines_span(path: Path) -> tuple[int, int] | None:
    try:
        with path.open("rb") as stream:
            first = stream.readline()
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _TAIL_BYTES))
            last = stream.read(_TAIL_BYTES).rstrip(b"\n").rpartition(b"\n")[2]
        return _time_of(first.rstrip(b"\n")), _time_of(last)
    except (OSError, LineError, ValueError):  # moved on, torn, or damaged: the replay will tell
        return None


def _time_of(line: bytes) -> int:
    return decode_line(line).ingest_time_us


def _compacted_span(path: Path, stem: str) -> tuple[int, int] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = held_segments(path).get(stem)
    if held is None:
        return None
    try:
        file = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return None
    times: list[int] = []
    position = 0
    for index in range(file.num_row_groups):
        group = file.row_group(index)
        begins, position = position, position + group.num_rows
        if begins < held.first + held.lines and position > held.first:
            column = group.column(file.schema.names.index(INGEST_TIME))
            if column.statistics is None or not column.statistics.has_min_max:
                return None
            times += [_us(column.statistics.min), _us(column.statistics.max)]
    return (min(times), max(times)) if times else None


def _us(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
