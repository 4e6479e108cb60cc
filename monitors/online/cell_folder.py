"""The folder of one server's cells, inside its log folder: made at the start, gone at the end.

Several servers may write to one log folder, so each has a folder of its own, and holds its lock for
as long as it lives. A folder whose lock can be had was left by a server that was killed: whoever
starts next removes it, since counters begin at 0 with every server.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

METRICS_FOLDER: Final = ".metrics"
"""Inside the log folder; readers of the log pass over it, as they do over every hidden name."""

_LOCK_FILE: Final = "server.lock"


class CellFolder:
    """A server's folder of cells; the process that makes it is the server, or its supervisor.

    Args:
        log: the log folder; made if it is not there.

    Attributes:
        path: the folder, empty of cells.

    Raises:
        OSError: the log folder cannot be written.
    """

    def __init__(self, log: Path) -> None:
        root = log / METRICS_FOLDER
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            _remove_abandoned(root)
            self.path = root / f"{os.getpid()}-{secrets.token_hex(3)}"
            self.path.mkdir()
            self._fd = _open_lock(self.path / _LOCK_FILE)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder; its counters end with the server."""
        if self._fd < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)
        self._fd = -1
        with suppress(OSError):  # another server still counts beside this one
            self.path.parent.rmdir()


def _remove_abandoned(root: Path) -> None:
    for folder in root.iterdir():
        if folder.is_dir() and not _is_locked(folder / _LOCK_FILE):
            shutil.rmtree(folder, ignore_errors=True)


def _is_locked(path: Path) -> bool:
    fd = _open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Let one server at a time make or remove folders."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
