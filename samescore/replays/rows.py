"""The results of a replay row by row: Arrow on the way, one Parquet file in the end.

A unit's rows travel as one compressed Arrow stream; the file gets them unit by unit, in the order
of the log, so that it is the same whoever did the work, and no more than a unit is in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consistency.arrow_bytes import arrow_stream
from consistency.compare import ulp_distance
from consistency.errors import ConfigError
from consistency.replay.report import STAGE_ORDER
from consistency.replay.rows import AGREES, RowResults

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter

ROWS_FILE: Final = "rows.parquet"

SCHEMA: Final = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("agrees", pa.bool_(), nullable=False),
        pa.field("diverges_at", pa.string()),
        pa.field("score_index", pa.int32()),
        pa.field("online", pa.float64()),
        pa.field("offline", pa.float64()),
        pa.field("difference", pa.float64()),
        pa.field("ulps", pa.int64()),
    ]
)
"""`diverges_at` is null where the row agrees. Of a row with several scores, the one that differs
most is shown, `score_index` says which. `difference` and `ulps` are null where one score is no
finite number and the other is not the very same; a NaN is a NaN, and null is no score."""

_GROUP_ROWS: Final = 1 << 16
_MOST_ULPS: Final = float(2**63 - 1024)  # the largest float64 below 2**63


class RowBuffer:
    """Collects the rows of one unit."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []

    def take(self, model: tuple[str, int], found: RowResults) -> None:
        """Take what was found of some rows; see `consistency.replay.core.OnRows`."""
        self._batches.append(_batch(model, found))

    def stream(self) -> bytes:
        """Return the rows as a compressed Arrow stream."""
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
            for batch in self._batches:
                writer.write_batch(batch)
        return bytes(sink.getvalue())


class RowsFile:
    """Writes `rows.parquet`, given each unit's rows in any order.

    Args:
        path: of the file; it gets this name when it is whole.

    Raises:
        ConfigError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._held: dict[int, Callable[[], bytes]] = {}
        self._next = 0
        self._pending: list[pa.RecordBatch] = []
        try:
            self._writer: ParquetWriter = pq.ParquetWriter(self._part, SCHEMA, compression="zstd")
        except OSError as e:
            raise ConfigError(f"{path}: {e.strerror}; name a writable folder with --out") from e

    def add(self, unit: int, stream: Callable[[], bytes]) -> None:
        """Take a unit's rows; they are written when those of every unit before it are.

        Args:
            unit: its number.
            stream: returns what `RowBuffer.stream` returned, from wherever it is kept.
        """
        self._held[unit] = stream
        while self._next in self._held:
            with arrow_stream(self._held.pop(self._next)()) as reader:
                self._pending.extend(reader)
            self._next += 1
            if sum(len(batch) for batch in self._pending) >= _GROUP_ROWS:
                self._flush()

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            ConfigError: a folder has that name.
        """
        self._flush()
        self._writer.close()
        try:
            self._part.replace(self._path)
        except OSError as e:
            self._part.unlink(missing_ok=True)
            raise ConfigError(f"{self._path}: {e.strerror}; name another folder with --out") from e

    def discard(self) -> None:
        """Leave nothing behind, after a failure."""
        self._writer.close()
        self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, SCHEMA)
            self._writer.write_table(table, row_group_size=_GROUP_ROWS)
            self._pending = []


def _batch(model: tuple[str, int], found: RowResults) -> pa.RecordBatch:
    sizes = found.origin.sizes
    count = sum(sizes)
    rows = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    stages = np.array([*STAGE_ORDER, None], object)  # AGREES, which is -1, is the last one
    columns = [
        pa.array(np.repeat(np.array(found.origin.request_ids, object), sizes), pa.string()),
        pa.array(rows),
        pa.array([model[0]] * count, pa.string()),
        pa.array(np.full(count, model[1], np.int64)),
        pa.array(found.diverges == AGREES),
        pa.array(stages[found.diverges], pa.string()),
        *_scores(found, count),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def _scores(found: RowResults, count: int) -> list[pa.Array]:
    if found.online is None or found.offline is None:
        return [pa.nulls(count, field.type) for field in list(SCHEMA)[6:]]
    a, b = (np.asarray(s, np.float64).reshape(count, -1) for s in (found.online, found.offline))
    with np.errstate(invalid="ignore", over="ignore"):
        diffs = np.abs(a - b)
    identical = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b)) | (a == b)
    odd = ~(np.isfinite(a) & np.isfinite(b)) & ~identical
    index = np.where(odd, np.inf, np.where(identical, 0.0, diffs)).argmax(axis=1)
    at = np.arange(count), index
    return [
        pa.array(index.astype(np.int32)),
        pa.array(a[at]),
        pa.array(b[at]),
        pa.array(np.where(identical[at], 0.0, diffs[at]), mask=odd[at]),
        pa.array(_ulps(a[at], b[at]), mask=odd[at]),
    ]


def _ulps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int64]:
    distance = np.zeros(len(a), np.int64)
    some = np.flatnonzero((a != b) & np.isfinite(a) & np.isfinite(b))
    distance[some] = np.minimum(ulp_distance(a[some], b[some]), _MOST_ULPS)
    return distance
