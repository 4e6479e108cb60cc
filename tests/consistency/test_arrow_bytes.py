"""Arrow files and streams that are held in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consistency.arrow_bytes import arrow_file_table, arrow_stream

_READ_AND_END = """
import os, sys
import pyarrow
from consistency.arrow_bytes import arrow_file_table, arrow_stream
from consistency.snapshots import _from_arrow
data = sys.stdin.buffer.read()
before = len(os.listdir("/proc/self/task"))
if sys.argv[1] == "file":
    rows = arrow_file_table(data).num_rows
elif sys.argv[1] == "stream":
    rows = arrow_stream(data).read_all().num_rows
else:
    rows = len(_from_arrow(data)["c0"])
print(rows, len(os.listdir("/proc/self/task")) - before)
"""
ROWS = 50_000
VALUES = {f"c{i}": np.arange(ROWS) * 0.1 for i in range(30)}


def written(open_sink: Callable[..., Any], compression: str | None = "zstd") -> bytes:
    table, sink = pa.table(VALUES), pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with open_sink(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=10_000)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_what_was_written_is_read(compression: str | None) -> None:
    table = arrow_file_table(written(pa.ipc.new_file, compression))
    with arrow_stream(written(pa.ipc.new_stream, compression)) as reader:
        streamed = pa.Table.from_batches(reader)
    for found in (table, streamed):
        assert found.num_rows == ROWS
        assert np.array_equal(found.column("c7").to_numpy(), VALUES["c7"])


@pytest.mark.parametrize(
    "data",
    [b"", b"ARROW1\0\0 and nothing else", b"\xff" * 100],
    ids=["nothing", "a beginning", "noise"],
)
def test_bytes_that_are_something_else_are_refused(data: bytes) -> None:
    with pytest.raises((pa.ArrowException, OSError)):
        arrow_file_table(data)
    with pytest.raises((pa.ArrowException, OSError)):
        arrow_stream(data).read_all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "open_sink"),
    [("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream), ("snapshot", pa.ipc.new_file)],
)
def test_reading_starts_no_thread_and_the_process_ends_well(
    what: str, open_sink: Callable[..., Any]
) -> None:
    """Compressed, since there Arrow's threads would come in."""
    data = written(open_sink)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _READ_AND_END, what],
            input=data, capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, b"%d 0\n" % ROWS), done.stderr
