"""Follows a configuration file that the operator edits (`--model_config_file_poll_wait_seconds`).

As upstream, the configuration is applied at every poll, changed or not: a label that named a
version still loading gets its turn. Better than there: while a reload waits for a model that does
not come, an edited file is taken up, not left until that model arrives.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.model_server.configuration.model_config import read_config
from serving.model_server.status import StatusError

_LOG: Final = logging.getLogger(__name__)


class ConfigFile:
    """Reads the file again and again, from `start` to `stop`; what it cannot use is logged.

    Args:
        path: of the file.
        reload: applies a configuration; it may wait for long.
        interval_seconds: between two looks.
    """

    def __init__(
        self, path: Path, reload: Callable[[ModelServerConfig], None], interval_seconds: float
    ) -> None:
        self._path, self._reload, self._interval_seconds = path, reload, interval_seconds
        self._stopping = threading.Event()
        self._at_work: tuple[ModelServerConfig, threading.Thread] | None = None
        self._told = ""

    def start(self) -> None:
        """Begin; the first look comes after one interval."""
        threading.Thread(target=self._run, name="config-file", daemon=True).start()

    def stop(self) -> None:
        """Look no more; a reload that waits is left to its core."""
        self._stopping.set()

    def look(self) -> None:
        """Read the file and apply it, unless a reload of the same is still at work."""
        try:
            config = read_config(self._path)
        except StatusError as e:
            self._tell(f"Failed to read ModelServerConfig file: {e.message}")
            return
        if self._at_work is not None:
            applied, thread = self._at_work
            if thread.is_alive() and applied == config:
                return
        thread = threading.Thread(target=self._apply, args=(config,), name="reload", daemon=True)
        self._at_work = (config, thread)
        thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_seconds):
            self.look()

    def _apply(self, config: ModelServerConfig) -> None:
        try:
            self._reload(config)
        except StatusError as e:
            self._tell(f"PollFilesystemAndReloadConfig failed to ReloadConfig: {e.message}")
        except Exception:  # noqa: BLE001 - the next poll tries again
            _LOG.exception("the configuration in %s could not be applied", self._path)
        else:
            self._told = ""

    def _tell(self, problem: str) -> None:
        """Log a problem when it arises, not at every poll."""
        if problem != self._told:
            self._told = problem
            _LOG.error("%s", problem)
