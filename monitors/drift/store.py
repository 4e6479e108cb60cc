"""Files of a drift job: written only when something in them has changed, and those of old.

Judged windows are kept in a database (`history.py`). Releases before that kept one JSON file each,

    <folder>/<model>/<version>/<length>-<time basis>/windows/2013-12-01T000000Z.json

which are read once, when the job first meets the database, and never again.
"""

from __future__ import annotations

import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from monitors.drift.record import WindowRecord
from monitors.errors import MonitorError

WINDOWS_FOLDER: Final = "windows"


class Change(StrEnum):
    """What a run did to a window or a file."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


def former_windows(folder: Path) -> list[WindowRecord]:
    """Return the windows that an earlier release kept in a job's folder, the earliest first.

    Raises:
        MonitorError: a file cannot be read.
    """
    paths = (folder / WINDOWS_FOLDER).glob("*.json")
    return sorted((_read(path) for path in paths), key=lambda record: record.window)


def write_if_changed(path: Path, data: bytes) -> Change:
    """Write a file atomically, unless it holds these very bytes already.

    Raises:
        MonitorError: it cannot be written.
    """
    try:
        held = path.read_bytes() if path.exists() else None
        if held == data:
            return Change.UNCHANGED
        make_folder(path.parent)
        _replace(path, data)
    except OSError as e:
        raise _not_writable(path, e) from e
    return Change.NEW if held is None else Change.CHANGED


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        MonitorError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _not_writable(folder, e) from e


def _not_writable(path: Path, error: OSError) -> MonitorError:
    where = error.filename or path
    return MonitorError(f"{where}: {error.strerror}; name a writable folder with --out")


def _replace(path: Path, data: bytes) -> None:
    fd, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).chmod(0o644)  # mkstemp's 0600 would hide the report from everybody else
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _read(path: Path) -> WindowRecord:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as e:
        raise MonitorError(f"{path}: {e}; remove it") from e
    return WindowRecord.from_json(value, path)
