"""The request log: every scored request, written before its reply.

A log is a folder of segments, one writer process each. An open segment (`*.jsonl.open`) is JSON
Lines whose last field is a CRC-32 of the line before it; a sealed one (`*.jsonl`) has been repaired
of its torn tail. `lines/` is the line, `writer.py` writes, `reader.py` reads, `segments.py` knows
the files, `columnar/` makes Parquet and exports of them.
"""

from consistency.log.lines.entry import LoggedRequest
from consistency.log.reader import RequestLogReader
from consistency.log.settings import LogSettings
from consistency.log.writer import RequestLogWriter

__all__ = ["LogSettings", "LoggedRequest", "RequestLogReader", "RequestLogWriter"]
