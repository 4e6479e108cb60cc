"""Keeps judged windows: one JSON file each, written only when something in it has changed.

    <folder>/<model>/<version>/<length>-<time basis>/windows/2013-12-01T000000Z.json

A file that would not change is not touched: running the job again leaves every byte and every
modification time as it was.
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
    """What a run did to a window's file."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class WindowStore:
    """The judged windows of one job: one model version, window length and time basis.

    Args:
        folder: of the job; made when the first window is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> list[WindowRecord]:
        """Return every window that was kept, the earliest first.

        Raises:
            MonitorError: a file cannot be read.
        """
        paths = (self.folder / WINDOWS_FOLDER).glob("*.json")
        return sorted((_read(path) for path in paths), key=lambda record: record.window)

    def save(self, record: WindowRecord) -> Change:
        """Keep a window.

        Raises:
            MonitorError: the file cannot be written.
        """
        name = record.window.start.replace(":", "")
        data = orjson.dumps(
            record.to_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )
        return write_if_changed(self.folder / WINDOWS_FOLDER / f"{name}.json", data)


def write_if_changed(path: Path, data: bytes) -> Change:
    """Write a file atomically, unless it holds these very bytes already.

    Raises:
        MonitorError: it cannot be written.
    """
    try:
        held = path.read_bytes() if path.exists() else None
        if held == data:
            return Change.UNCHANGED
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
    except OSError as e:
        raise MonitorError(
            f"{e.filename or path}: {e.strerror}; name a writable folder with --out"
        ) from e
    return Change.NEW if held is None else Change.CHANGED


def find_jobs(folder: Path) -> list[Path]:
    """Return the folders below `folder` (or it itself) that hold judged windows, by path."""
    found = (p.parent for p in folder.rglob(WINDOWS_FOLDER) if any(p.glob("*.json")))
    return sorted(found)


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
        raise MonitorError(f"{path}: {e}; remove the file, the next run makes it anew") from e
    return WindowRecord.from_json(value, path)
