"""Arrow files and streams that are held in memory, read in the calling thread alone.

By default Arrow decompresses in threads of its own (pyarrow 26), and one that still holds a Python
buffer when the interpreter ends aborts the process; see `consistency.parquet_bytes`. What is not
compressed starts none today; that, too, is asked for here rather than relied on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow import RecordBatchStreamReader, Table
    from pyarrow.ipc import IpcReadOptions


def arrow_file_table(data: bytes) -> Table:
    """Return the table in an Arrow file (the IPC format that can be read at random).

    Raises:
        pyarrow.ArrowException, OSError: `data` is no Arrow file.
    """
    import pyarrow as pa

    return pa.ipc.open_file(pa.BufferReader(data), options=_in_this_thread()).read_all()


def arrow_stream(data: bytes) -> RecordBatchStreamReader:
    """Return a reader of an Arrow stream; a context manager that yields record batches.

    Raises:
        pyarrow.ArrowException, OSError: `data` is no Arrow stream; also while it is read.
    """
    import pyarrow as pa

    return pa.ipc.open_stream(pa.BufferReader(data), options=_in_this_thread())


def _in_this_thread() -> IpcReadOptions:
    import pyarrow as pa

    return pa.ipc.IpcReadOptions(use_threads=False)
