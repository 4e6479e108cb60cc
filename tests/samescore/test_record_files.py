from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consistency.errors import ConfigError, DataError
from samescore.record_files import read_record_file


def test_json_lines_come_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"a": 9007199254740993}\n\n{"a": null}\n{}\n')
    assert list(read_record_file(path)) == [{"a": 2**53 + 1}, {"a": None}, {}]


def test_parquet_keeps_types_nulls_and_nans_apart(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    columns = {
        "i": pa.array([2**53 + 1, None]),
        "f": pa.array([math.nan, 0.1]),
        "s": pa.array(["東京", None]).dictionary_encode(),
        "t": pa.array([["a"], []]),
    }
    pq.write_table(pa.table(columns), path)
    first, second = read_record_file(path)
    assert (first["i"], second["i"]) == (2**53 + 1, None)
    assert math.isnan(first["f"])
    assert (first["s"], first["t"], second["t"]) == ("東京", ["a"], [])


def test_mistakes_name_the_place(tmp_path: Path) -> None:
    lines, times, torn = (tmp_path / n for n in ("r.jsonl", "t.parquet", "torn.parquet"))
    lines.write_text('{"a": 1}\n{"a"')
    with pytest.raises(DataError, match="line 2: no JSON"):
        list(read_record_file(lines))
    pq.write_table(pa.table({"at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)])}), times)
    with pytest.raises(ConfigError, match=r"column 'at' is timestamp.*write it as text"):
        list(read_record_file(times))
    torn.write_bytes(times.read_bytes()[:-9])
    with pytest.raises(ConfigError, match="no readable Parquet file"):
        list(read_record_file(torn))
    with pytest.raises(ConfigError, match="name a file of records"):
        list(read_record_file(tmp_path / "none.jsonl"))
