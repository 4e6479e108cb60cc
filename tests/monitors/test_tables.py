"""Whole tables: the same integers from numpy, pandas, Arrow and Parquet, whole or in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitors.errors import MonitorError
from monitors.reference import ReferenceSet
from monitors.tables import parquet_counts, table_counts

ROWS = 70_000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    values = rng.normal(size=ROWS)
    values[rng.random(ROWS) < 0.1] = np.nan
    values[:3] = [np.inf, -np.inf, 1e300]
    cities = np.array(["a", "b", "c", None], object)[rng.integers(0, 4, ROWS)]
    return pd.DataFrame(
        {
            "x": values,
            "n": rng.integers(0, 5, ROWS),
            "f32": rng.random(ROWS).astype(np.float32),
            "flag": rng.random(ROWS) < 0.3,
            "city": pd.Series(cities, dtype="str"),
            "text": pd.Series([f"comment number {i}" for i in range(ROWS)], dtype="str"),
            "tokens": pd.Series([["t"] * (i % 4) for i in range(ROWS)], dtype=object),
            "unused": 1,
        }
    )


@pytest.fixture(scope="module")
def reference(frame: pd.DataFrame) -> ReferenceSet:
    columns = as_columns(frame.head(20_000).drop(columns="unused"))
    return ReferenceSet.build(columns, np.arange(20_000.0))


def as_columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the frame as a pipeline gives it: numbers, and objects with None for missing."""
    columns = {}
    for name in map(str, frame.columns):
        column = frame[name]
        is_text = column.dtype == "str"
        held = column.astype(object).where(column.notna(), None) if is_text else column
        columns[name] = held.to_numpy()
    return columns


def plain(reference: ReferenceSet, frame: pd.DataFrame) -> dict[str, list[int]]:
    columns = {n: c for n, c in as_columns(frame).items() if n in reference.features}
    return {n: c.tolist() for n, c in reference.counts(columns).items()}


def as_lists(counts: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {n: c.tolist() for n, c in counts.items()}


def test_every_way_gives_the_same_integers(
    reference: ReferenceSet, frame: pd.DataFrame, tmp_path: Path
) -> None:
    wanted = plain(reference, frame)
    assert wanted.keys() == {*frame.columns, "tokens[tokens]", "text[length]"} - {"unused"}
    table = pa.table(frame)
    frame.to_parquet(tmp_path / "one.parquet", row_group_size=7_777)
    encoded = table.set_column(4, "city", table["city"].cast(pa.string()).dictionary_encode())
    assert as_lists(table_counts(reference, frame)) == wanted
    assert as_lists(table_counts(reference, table)) == wanted
    assert as_lists(table_counts(reference, encoded)) == wanted
    assert as_lists(parquet_counts(reference, tmp_path / "one.parquet")) == wanted


def test_parts_merge_to_the_single_pass_bit_for_bit(
    reference: ReferenceSet, frame: pd.DataFrame
) -> None:
    whole = table_counts(reference, frame)
    parts = [table_counts(reference, frame.iloc[i::7]) for i in range(7)]
    for name, counts in whole.items():
        assert np.sum([part[name] for part in parts], axis=0).tobytes() == counts.tobytes()


def test_what_is_kept_of_a_feature_is_at_most_200_bytes(
    reference: ReferenceSet, frame: pd.DataFrame
) -> None:
    assert all(c.nbytes <= 200 for c in table_counts(reference, frame).values())


def test_a_missing_column_and_a_broken_file_are_told(
    reference: ReferenceSet, frame: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(MonitorError, match="no column 'x'"):
        table_counts(reference, frame.drop(columns="x"))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    with pytest.raises(MonitorError, match=r"broken\.parquet"):
        parquet_counts(reference, broken)
    frame.head(0).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(MonitorError, match="no row"):
        parquet_counts(reference, tmp_path / "none.parquet")
