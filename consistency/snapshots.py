"""Content-addressed snapshots of lookup tables.

A join reads a table that moves on. So that a replay can read the very rows that serving read, each
state of a table is frozen under the digest of its content, and the request log names that digest.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency.digest import digest_bytes, digest_json
from consistency.errors import SnapshotError
from consistency.features import FeatureStatus, Marked
from consistency.records import Column

_ID: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class LookupTable:
    """One snapshot, indexed by its key.

    Attributes:
        id: digest of the content.
        columns: column name to values, shape (R,): float64, int64 or str objects.
        keys: the columns that identify a row.
    """

    id: str
    columns: Mapping[str, Column]
    keys: tuple[str, ...]

    @cached_property
    def _row_of(self) -> dict[Any, int]:
        parts = [self.columns[k].tolist() for k in self.keys]
        keys = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
        index = dict(zip(keys, range(len(keys)), strict=True))
        if len(index) != len(keys):
            raise SnapshotError(
                f"snapshot {self.id}: key {self.keys} is not unique; "
                f"{len(keys) - len(index)} of {len(keys)} rows repeat one"
            )
        return index

    def rows(self, *keys: Column) -> NDArray[np.int64]:
        """Return the row index for each key, -1 where the table has none.

        Args:
            keys: one array of shape (N,) for each column in `keys`.
        """
        parts = [k.tolist() for k in keys]
        wanted: Iterable[Any] = parts[0] if len(parts) == 1 else zip(*parts, strict=True)
        find = self._row_of.get
        return np.array([find(key, -1) for key in wanted], np.int64)

    def take(self, column: str, rows: NDArray[np.int64]) -> Marked:
        """Return a column's values at rows; NaN (or None) marked NO_MATCH where a row is -1."""
        return Marked(self._padded[column][rows], _no_match(rows))

    def matrix(self, columns: tuple[str, ...]) -> NDArray[np.float64]:
        """Return float64 columns side by side, shape (R + 1, k); the last row is NaN.

        Index it with `rows`: -1 then reads the NaN row. Build it once, not once a request.
        """
        return np.column_stack([self._padded[c] for c in columns]).astype(np.float64)

    @cached_property
    def _padded(self) -> dict[str, Column]:
        """Each column with one more row, the missing value, at index -1."""
        return {
            name: np.append(values.astype(np.float64), np.nan)
            if values.dtype.kind in "fi"
            else np.append(values, np.array([None], object))
            for name, values in self.columns.items()
        }


def _no_match(rows: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    missed = rows < 0
    return (missed * np.uint8(FeatureStatus.NO_MATCH)).astype(np.uint8) if missed.any() else None


class SnapshotStore:
    """Snapshots in a folder: `<id>.arrow` each, and `<name>.current` naming the newest of a table.

    Args:
        root: the folder; made when the first snapshot is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, columns: Mapping[str, Column]) -> str:
        """Freeze a table, make it the current one of its name, and return its id.

        Args:
            name: the lookup's name (lower case, digits, underscores).
            columns: equally long arrays: float64, int64, or object arrays of str and None.
        """
        _check_name(name)
        arrays = {c: np.asarray(v) for c, v in columns.items()}
        snapshot = _digest_columns(arrays)
        self.root.mkdir(parents=True, exist_ok=True)
        path = self._path(snapshot)
        if not path.exists():
            _write_atomically(path, _to_arrow(arrays))
        _write_atomically(self.root / f"{name}.current", snapshot.encode())
        return snapshot

    def current(self, name: str) -> str | None:
        """Return the id of the newest snapshot of a table, or None when there is none."""
        _check_name(name)
        path = self.root / f"{name}.current"
        return path.read_text().strip() if path.exists() else None

    def get(self, snapshot: str, keys: tuple[str, ...]) -> LookupTable:
        """Read a snapshot and check that its content still has its digest.

        Raises:
            SnapshotError: it is not here, or damaged.
        """
        if not _ID.fullmatch(snapshot):
            raise SnapshotError(f"{snapshot!r} is no snapshot id (64 hex digits)")
        path = self._path(snapshot)
        if not path.exists():
            raise SnapshotError(
                f"snapshot {snapshot} is not in {self.root}; copy it from the machine that served "
                f"(a snapshot must live at least as long as the logs that name it)"
            )
        columns = _from_arrow(path)
        if _digest_columns(columns) != snapshot:
            raise SnapshotError(f"snapshot {path} is damaged: its content has another digest")
        return LookupTable(snapshot, columns, keys)

    def _path(self, snapshot: str) -> Path:
        return self.root / f"{snapshot}.arrow"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SnapshotError(f"{name!r} is no lookup name; use lower case, digits and underscores")


def _digest_columns(columns: Mapping[str, Column]) -> str:
    parts = []
    for name, values in sorted(columns.items()):
        if values.dtype.kind in "fi":
            content = digest_bytes(np.ascontiguousarray(values).tobytes())
        else:
            content = digest_json(values.tolist())
        parts.append([name, values.dtype.str, len(values), content])
    return digest_json(parts)


def _to_arrow(columns: Mapping[str, Column]) -> bytes:
    import pyarrow as pa

    # from_pandas=False keeps NaN apart from null
    table = pa.table({n: pa.array(v, from_pandas=False) for n, v in columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _from_arrow(path: Path) -> dict[str, Column]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as e:
        raise SnapshotError(f"snapshot {path} is damaged: {e}") from e
    out: dict[str, Column] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_string(column.type):
            out[name] = np.array(column.to_pylist(), object)
        else:
            out[name] = column.to_numpy().copy()
    return out


def _write_atomically(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    Path(stream.name).replace(path)
