"""The log as one flat table for analysts: a line a row, a column a feature.

Two passes: the first finds the columns, the second writes them, so that memory does not grow with
the log. Numbers keep every bit. What a format cannot hold is counted, column by column, and handed
to the caller to say.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from consistency.errors import ConfigError, LogError
from consistency.log.columnar.export_sinks import ExportFormat, Sink, open_sink
from consistency.log.columnar.flat import FlatColumns
from consistency.log.lines.entry import LoggedRequest
from consistency.log.reader import RequestLogReader
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.protocols import Damage

_BATCH_ROWS: Final = 4096


@dataclass(slots=True)
class Exported:
    """What an export did.

    Attributes:
        requests: in the table.
        rows: lines of the table.
        without_rows: requests that have no line, since their payload could not be decoded.
        damage: lines of the log that could not be read.
        columns: of the table.
        nulled: values that the format cannot hold and has as null, by column.
    """

    requests: int = 0
    rows: int = 0
    without_rows: int = 0
    damage: int = 0
    columns: list[str] = field(default_factory=list)
    nulled: Counter[str] = field(default_factory=Counter)


def export_log(
    folder: Path,
    out: Path,
    form: ExportFormat,
    selection: LogSelection = EVERYTHING,
    step: Callable[[], None] = lambda: None,
) -> Exported:
    """Write the chosen requests as one table, whole or not at all.

    Args:
        folder: the log.
        out: a file outside of the log's folder; replaced if it is there.
        form: of the file.
        selection: which requests.
        step: called once a request and pass.

    Raises:
        LogError: no such folder; `out` cannot be written; the log has got a request with other
            columns meanwhile.
        ConfigError: `out` lies in the log; a feature has two types among the chosen requests.
    """
    reader = RequestLogReader(folder, selection)
    if out.resolve().parent == folder.resolve():
        raise ConfigError(f"--out {out} lies within the log; its readers would take it for a part")
    columns = FlatColumns()
    for request in _requests(reader, step):
        columns.see(request)
    temp = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with open_sink(temp, form, columns.schema()) as sink:
            done = _write(RequestLogReader(folder, selection), columns, sink, step)
        temp.replace(out)
    except OSError as e:
        raise LogError(f"--out {out}: {e.strerror or e}; give a writable place") from e
    finally:
        temp.unlink(missing_ok=True)
    return done


def _requests(reader: RequestLogReader, step: Callable[[], None]) -> Iterator[LoggedRequest]:
    for item in reader:
        if isinstance(item, LoggedRequest):
            step()
            yield item


def _write(
    reader: RequestLogReader, columns: FlatColumns, sink: Sink, step: Callable[[], None]
) -> Exported:
    done = Exported(columns=columns.names(), nulled=sink.nulled)
    rows: list[dict[str, Any]] = []
    for item in reader:
        if isinstance(item, Damage):
            done.damage += 1
            continue
        step()
        if not columns.knows(item):
            raise LogError(
                f"request {item.request_id} has come with columns of its own while the log was "
                f"exported; name a time with --until"
            )
        done.requests += 1
        done.without_rows += not item.rows
        done.rows += item.rows
        rows.extend(columns.rows_of(item))
        if len(rows) >= _BATCH_ROWS:
            sink.write(rows)
            rows = []
    sink.write(rows)
    return done
