"""Content-addressed snapshots of lookup tables.

A join reads a table that moves on. So that a replay can read the very rows that serving read, each
state of a table is frozen under the digest of its content, and the request log names that digest.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from consistency.arrow_bytes import arrow_file_table
from consistency.digest import digest_bytes
from consistency.errors import SnapshotError
from consistency.features import FeatureStatus, Marked
from consistency.records import MAX_EXACT_INT_IN_FLOAT64, Column

SNAPSHOT_FOLDER: Final = ".snapshots"
"""The store's place in a base folder of bundles, unless another is named."""

_ID: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, eq=False)
class LookupTable:
    """One snapshot, indexed by its key; hashable, so that derived tables can be cached by it.

    Attributes:
        id: digest of the content.
        columns: column name to values, shape (R,): float64, int64, bool, or objects (str and None).
        keys: the columns that identify a row.
    """

    id: str
    columns: Mapping[str, Column]
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        for key in self.keys:
            if key not in self.columns:
                raise SnapshotError(
                    f"snapshot {self.id} has no key column {key!r}; it has {sorted(self.columns)}"
                )

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

        Raises:
            SnapshotError: not as many arrays as key columns, or the key is not unique.
        """
        if len(keys) != len(self.keys):
            raise SnapshotError(f"{len(keys)} arrays of keys; the table has the keys {self.keys}")
        parts = [k.tolist() for k in keys]
        wanted: Iterable[Any] = parts[0] if len(parts) == 1 else zip(*parts, strict=True)
        find = self._row_of.get
        return np.array([find(key, -1) for key in wanted], np.int64)

    def take(self, column: str, rows: NDArray[np.int64]) -> Marked:
        """Return a column's values at rows; NaN (or None) marked NO_MATCH where a row is -1.

        Numbers come as float64; integers that it cannot hold exactly stay integers, in an object
        column.
        """
        return Marked(self._padded[column][rows], _no_match(rows))

    def matrix(self, columns: tuple[str, ...]) -> NDArray[np.float64]:
        """Return float64 columns side by side, shape (R + 1, k); the last row is NaN.

        Index it with `rows`: -1 then reads the NaN row. Build it once, not once a request.
        """
        return np.column_stack([self._padded[c] for c in columns]).astype(np.float64)

    @cached_property
    def _padded(self) -> dict[str, Column]:
        """Each column with one more row, the missing value, at index -1."""
        return {name: _with_missing(values) for name, values in self.columns.items()}


def _with_missing(values: Column) -> Column:
    if values.dtype.kind in "fb" or (values.dtype.kind == "i" and _fits_float64(values)):
        return np.append(values.astype(np.float64), np.nan)
    return np.append(values.astype(object), np.array([None], object))


def _fits_float64(integers: NDArray[np.int64]) -> bool:
    limit = MAX_EXACT_INT_IN_FLOAT64
    return bool(((integers >= -limit) & (integers <= limit)).all())


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
            columns: equally long: numbers, booleans, or strings and None. Numbers are kept as
                float64 or int64.

        Raises:
            SnapshotError: a column that cannot be kept exactly, or of another length.
        """
        _check_name(name)
        data = _to_arrow({c: _kept(c, np.asarray(v)) for c, v in columns.items()})
        snapshot = digest_bytes(data)
        self.root.mkdir(parents=True, exist_ok=True)
        path = self._path(snapshot)
        if not path.exists():
            _write_atomically(path, data)
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
        data = path.read_bytes()
        # Before anything reads it: damaged Arrow metadata can crash the process.
        if digest_bytes(data) != snapshot:
            raise SnapshotError(f"snapshot {path} is damaged: its content has another digest")
        return LookupTable(snapshot, _from_arrow(data), keys)

    def _path(self, snapshot: str) -> Path:
        return self.root / f"{snapshot}.arrow"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SnapshotError(f"{name!r} is no lookup name; use lower case, digits and underscores")


def _kept(name: str, values: Column) -> Column:
    """Return a column as it is kept and read back: float64, int64, bool, or objects."""
    kind = values.dtype.kind
    if kind == "U":
        values, kind = values.astype(object), "O"
    exact: dict[str, DTypeLike] = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}
    if kind in exact and values.dtype.itemsize <= 8:
        kept = values.astype(exact[kind])
        if kind != "u" or not (kept < 0).any():
            return kept
    if kind == "O" and all(v is None or isinstance(v, str) for v in values.flat):
        return values
    raise SnapshotError(
        f"column {name!r} ({values.dtype}) cannot be kept exactly; give float64, int64, bool, or "
        f"an object array of str and None"
    )


def _to_arrow(columns: Mapping[str, Column]) -> bytes:
    import pyarrow as pa

    try:
        # from_pandas=False keeps NaN apart from null
        arrays = {n: pa.array(v, _arrow_type(v), from_pandas=False) for n, v in columns.items()}
        table = pa.table(arrays)
    except (pa.ArrowException, UnicodeError) as e:
        raise SnapshotError(f"the table cannot be kept: {e}") from e
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _arrow_type(values: Column) -> object:
    import pyarrow as pa

    # A column that holds only None would become one of Arrow's type null.
    return pa.string() if values.dtype.kind == "O" else None


def _from_arrow(data: bytes) -> dict[str, Column]:
    import pyarrow as pa

    table = arrow_file_table(data)
    out: dict[str, Column] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_string(column.type):
            out[name] = np.array(column.to_pylist(), object)
        else:
            out[name] = column.to_numpy().copy()
    return out


def _write_atomically(path: Path, data: bytes) -> None:
    # Not tempfile: only the owner can read its files, and who serves is often another user.
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
