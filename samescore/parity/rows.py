"""The rows of the table: golden ones, logged ones, or a file's, and enough of them for a batch.

A batch of 1,024 needs 1,024 rows. Where there are fewer, they are repeated, each time in another
order: a row then meets other neighbours, at other places in its batch, which is what can move its
score. No new feature values come of it, and the table says how many rows are different ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from consistency.bundle import Bundle, GoldenSet
from consistency.errors import ConfigError
from consistency.features import FeatureBatch, feature_batch, take_rows
from consistency.log import RequestLogReader
from consistency.protocols import Damage
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType

MOST_ROWS: Final = 4096
LEAST_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that every cell scores.

    Attributes:
        features: the distinct rows.
        source: where they come from, in words.
        copies: how often each is scored.
    """

    features: FeatureBatch
    source: str
    copies: int

    @property
    def count(self) -> int:
        """Rows scored in each cell."""
        return self.features.rows * self.copies

    def write(self, path: Path) -> None:
        """Write the distinct rows for the cells."""
        nothing = np.zeros(self.features.rows)
        path.write_bytes(GoldenSet(None, self.features, nothing).to_parquet())


def repeated(features: FeatureBatch, copies: int) -> FeatureBatch:
    """Return the rows so many times, the first time as they are, then in other orders.

    Every process finds the same orders.
    """
    orders = [np.random.default_rng(i).permutation(features.rows) for i in range(1, copies)]
    return take_rows(features, np.concatenate([np.arange(features.rows), *orders]))


def gather(bundle: Bundle, log: Path | None, file: Path | None, largest_batch: int) -> Rows:
    """Return the rows to score.

    Args:
        bundle: whose golden rows are taken when neither of the others is given.
        log: a request log of this model.
        file: a Parquet file with a column for each feature.
        largest_batch: what must be filled.

    Raises:
        ConfigError: the source holds no row, or other features than the model's.
        LogError: no such log.
    """
    if log is not None and file is not None:
        raise ConfigError("rows come from a request log or from a file; give one of the two")
    if log is not None:
        features, source = _logged(bundle, log), f"logged in {log}"
    elif file is not None:
        features, source = _from_file(bundle.manifest.features, file), f"of {file}"
    else:
        features, source = bundle.golden().features, "golden"
    if not features.rows:
        raise ConfigError(f"there are no {source} rows; name others with --log or --rows")
    taken = take_rows(features, slice(0, MOST_ROWS))
    return Rows(taken, source, -(-max(LEAST_ROWS, largest_batch) // taken.rows))


def _logged(bundle: Bundle, log: Path) -> FeatureBatch:
    manifest = bundle.manifest
    batches = list(_first_rows(_batches(log, (manifest.name, manifest.version))))
    batches = [b for b in batches if b.schema == manifest.features]
    if not batches:
        raise ConfigError(
            f"{log} holds no feature row of {manifest.name}/{manifest.version} with this bundle's"
            " features; name the log of the server that served it"
        )
    columns = [b.columns() for b in batches]
    joined = {n: np.concatenate([c[n] for c in columns]) for n in manifest.features.names}
    return feature_batch(manifest.features, joined, {})


def _batches(log: Path, model: tuple[str, int]) -> Iterator[FeatureBatch]:
    for item in RequestLogReader(log):
        if isinstance(item, Damage) or item.model != model:
            continue
        features = item.features
        if features is not None and features.rows:
            yield features


def _first_rows(batches: Iterator[FeatureBatch]) -> Iterator[FeatureBatch]:
    seen = 0
    for batch in batches:
        yield batch
        seen += batch.rows
        if seen >= MOST_ROWS:
            return


def _from_file(schema: FeatureSchema, path: Path) -> FeatureBatch:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        missing = [n for n in schema.names if n not in file.schema_arrow.names]
        if missing:
            raise ConfigError(
                f"{path} has no column {missing[0]!r}; it needs one for each of the"
                f" {len(schema)} features, by name"
            )
        table = next(file.iter_batches(MOST_ROWS, columns=list(schema.names)), None)
        columns = {} if table is None else _columns(schema, table)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise ConfigError(f"rows {path}: {error}; give a Parquet file of feature rows") from error
    if not columns:
        raise ConfigError(f"rows {path}: it holds no row")
    return feature_batch(schema, columns, {})


def _columns(schema: FeatureSchema, table: object) -> dict[str, Column]:
    held: dict[str, list[object]] = table.to_pydict()  # type: ignore[attr-defined]  # pyarrow has no types
    found: dict[str, Column] = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        if kind in (FeatureType.STRING, FeatureType.TOKENS):
            column = np.empty(len(held[name]), object)
            column[:] = held[name]
        else:
            # null is a missing number; an integer or a truth value cannot be missing
            column = np.array(held[name], np.float64 if None in held[name] else None)
            column = column.astype(kind.numpy, casting="same_kind")
        found[name] = column
    return found
