"""The golden set: raw records with the features and scores that they must give."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from consistency.errors import BundleError
from consistency.features import FeatureBatch, feature_batch
from consistency.parquet_bytes import parquet_table
from consistency.records import Column, Record
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Scores

ArrowColumn: TypeAlias = Any  # pyarrow has no types

_FEATURE: Final = "feature:"


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """N golden rows.

    Attributes:
        records: the raw records, or None for a model that is sent feature rows.
        features: their feature rows.
        scores: their offline scores, float64, shape (N,) or (N, k).
    """

    records: Sequence[Record] | None
    features: FeatureBatch
    scores: Scores

    @property
    def rows(self) -> int:
        """N."""
        return self.features.rows

    def to_parquet(self) -> bytes:
        """Return the set as a Parquet file: `record` (JSON text), a column a feature, `score`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts: list[str | None] = [None] * self.rows
        if self.records is not None:
            texts = [orjson.dumps(r).decode() for r in self.records]
        arrays = {"record": pa.array(texts, pa.string())}
        for name, values in self.features.columns().items():
            # from_pandas=False keeps NaN apart from null
            held = values.tolist() if values.dtype == object else np.ascontiguousarray(values)
            arrays[_FEATURE + name] = pa.array(held, from_pandas=False)
        scores = self.scores if self.scores.ndim == 1 else self.scores.tolist()
        arrays["score"] = pa.array(scores, from_pandas=False)
        sink = io.BytesIO()
        pq.write_table(pa.table(arrays), sink)
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, data: bytes, schema: FeatureSchema, where: object) -> GoldenSet:
        """Read what `to_parquet` wrote.

        Raises:
            BundleError: no Parquet file, or other features than the schema's.
        """
        import pyarrow as pa

        try:
            table = parquet_table(data)
            columns = {
                n: _column(table.column(_FEATURE + n), t)
                for n, t in zip(schema.names, schema.types, strict=True)
            }
            texts = table.column("record").to_pylist()
            scores = np.array(table.column("score").to_pylist(), np.float64)
            records = None if texts and texts[0] is None else [orjson.loads(t) for t in texts]
        except (pa.ArrowException, KeyError, OSError, ValueError) as e:
            raise BundleError(where, f"unusable golden set: {e}; bundle the model anew") from e
        return cls(records, feature_batch(schema, columns, {}), scores)


def _column(column: ArrowColumn, kind: FeatureType) -> Column:
    if kind is FeatureType.TOKENS:
        out = np.empty(len(column), object)
        out[:] = column.to_pylist()
        return out
    if kind is FeatureType.STRING:
        return np.array(column.to_pylist(), object)
    return np.asarray(column.to_numpy(), kind.numpy)
