"""Parquet files that are held in memory."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consistency.parquet_bytes import parquet_table

_READ_AND_END = """
import sys
from consistency.parquet_bytes import parquet_table
import pyarrow
data = sys.stdin.buffer.read()
print(parquet_table(data).num_rows, pyarrow.io_thread_count() > 0)
"""


def written(rows: int) -> bytes:
    sink = io.BytesIO()
    values = {f"c{i}": np.arange(rows) * 0.1 for i in range(30)}
    pq.write_table(pa.table(values), sink)
    return sink.getvalue()


def test_what_was_written_is_read() -> None:
    table = parquet_table(written(1_000))
    assert table.num_rows == 1_000
    assert np.array_equal(table.column("c7").to_numpy(), np.arange(1_000) * 0.1)


def test_bytes_that_are_no_parquet_file_are_refused() -> None:
    with pytest.raises(pa.ArrowException):
        parquet_table(b"PAR1 and nothing else")


@pytest.mark.slow
def test_a_process_that_ends_right_after_it_ends_well() -> None:
    data = written(300)
    for _ in range(10):
        done = subprocess.run(
            [sys.executable, "-c", _READ_AND_END], input=data, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, b"300 True\n"), done.stderr
