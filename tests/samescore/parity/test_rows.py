from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consistency.bundle import GoldenSet, open_bundle
from consistency.errors import ConfigError
from samescore.parity.rows import LEAST_ROWS, gather, repeated
from tests.fixtures.tiny import Tiny


def test_golden_rows_are_repeated_until_a_batch_is_full(tiny: Tiny) -> None:
    rows = gather(open_bundle(tiny.bundle), None, None, 64)
    assert (rows.source, rows.features.rows) == ("golden", 40)
    assert rows.count >= LEAST_ROWS
    assert gather(open_bundle(tiny.bundle), None, None, 3000).count >= 3000


def test_copies_are_the_same_rows_in_other_orders(tiny: Tiny) -> None:
    features = open_bundle(tiny.bundle).golden().features
    found = repeated(features, 3)
    matrix, once = found.matrix(), features.matrix()
    assert np.array_equal(matrix[:40], once, equal_nan=True)
    for copy in (matrix[40:80], matrix[80:]):
        assert not np.array_equal(copy, once, equal_nan=True)
        assert sorted(map(str, copy.tolist())) == sorted(map(str, once.tolist()))
    assert np.array_equal(repeated(features, 3).matrix(), matrix, equal_nan=True)


def test_what_a_cell_reads_is_what_was_gathered(tiny: Tiny, tmp_path: Path) -> None:
    bundle = open_bundle(tiny.bundle)
    rows = gather(bundle, None, None, 1)
    rows.write(tmp_path / "rows.parquet")
    data = (tmp_path / "rows.parquet").read_bytes()
    held = GoldenSet.from_parquet(data, bundle.manifest.features, "here").features
    assert np.array_equal(held.matrix(), rows.features.matrix(), equal_nan=True)


def write_rows(path: Path, tiny: Tiny, drop: str = "", rows: int = 5) -> Path:
    features = open_bundle(tiny.bundle).golden().features
    columns = {n: pa.array(c[:rows], from_pandas=True) for n, c in features.columns().items()}
    columns.pop(drop, None)
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_of_a_file_keep_every_bit_and_null_is_missing(tiny: Tiny, tmp_path: Path) -> None:
    bundle = open_bundle(tiny.bundle)
    found = gather(bundle, None, write_rows(tmp_path / "rows.parquet", tiny), 1)
    assert found.features.rows == 5
    expected = bundle.golden().features.matrix()[:5]
    assert np.isnan(expected).any()
    assert np.array_equal(found.features.matrix(), expected, equal_nan=True)


def test_a_file_without_a_feature_is_refused_by_name(tiny: Tiny, tmp_path: Path) -> None:
    bundle = open_bundle(tiny.bundle)
    name = bundle.manifest.features.names[2]
    path = write_rows(tmp_path / "rows.parquet", tiny, drop=name)
    with pytest.raises(ConfigError, match=f"no column '{name}'"):
        gather(bundle, None, path, 1)


def test_an_empty_file_and_no_parquet_file_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    bundle = open_bundle(tiny.bundle)
    with pytest.raises(ConfigError, match="holds no row"):
        gather(bundle, None, write_rows(tmp_path / "rows.parquet", tiny, rows=0), 1)
    (tmp_path / "text").write_text("amount\n1\n")
    with pytest.raises(ConfigError, match="Parquet"):
        gather(bundle, None, tmp_path / "text", 1)


def test_a_log_and_a_file_at_once_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        gather(open_bundle(tiny.bundle), tmp_path, tmp_path, 1)
