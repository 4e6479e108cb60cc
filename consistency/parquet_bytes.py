"""Parquet files that are held in memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow import Table


def parquet_table(data: bytes) -> Table:
    """Read a Parquet file in the calling thread alone.

    One of Arrow's threads that still holds a Python buffer when the interpreter ends aborts the
    process (pyarrow 26): a command that has done its work would exit with signal 6.

    Raises:
        pyarrow.ArrowException: `data` is no Parquet file.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(io.BytesIO(data), pre_buffer=False) as file:
        return file.read(use_threads=False)
