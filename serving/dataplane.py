"""The one request path: every protocol face only translates into it and out of it.

payload -> codec -> guards -> feature pipeline -> backend -> post-process -> log -> observers
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consistency.errors import LogError
from consistency.protocols import Guard, LogWriter, Observer
from consistency.scored import Payload, ScoredRequest
from serving.run import Reply, RequestRun
from serving.servable import Servable

logger = logging.getLogger(__name__)


class OnLogFailure(StrEnum):
    """What happens to a request whose log line cannot be written.

    reject: it is not answered with a score. drop: it is answered, and the drop is counted.
    """

    REJECT = "reject"
    DROP = "drop"


class Servables(Protocol):
    """Where the data plane gets what serves a model; the serving core's manager is one."""

    def acquire(self, name: str, version: int | None) -> AbstractContextManager[Servable]:
        """Return a servable that stays loaded until the context ends.

        Raises:
            ModelNotFoundError: not available.
        """
        ...


@dataclass(frozen=True, slots=True)
class DataPlaneSettings:
    """Bounds and choices.

    Attributes:
        max_rows: rows in one request.
        on_log_failure: what happens to a request that cannot be logged.
    """

    max_rows: int = 1024
    on_log_failure: OnLogFailure = OnLogFailure.REJECT


@dataclass(frozen=True, slots=True)
class Incidents:
    """Counters for what no scored request shows; wired to the metrics by the composition root.

    Attributes:
        observer_failed: called with the observer's name.
        log_dropped: called for each request that is answered without a log line.
    """

    observer_failed: Callable[[str], None] = lambda _name: None
    log_dropped: Callable[[], None] = lambda: None


class DataPlane:
    """Scores requests, one after another, each logged before it is answered.

    Args:
        servables: the loaded models.
        log: where each request is written first.
        guards: may refuse a request, in order.
        observers: see each request afterwards.
        settings: bounds and choices.
        incidents: counters.
    """

    def __init__(
        self,
        servables: Servables,
        log: LogWriter,
        *,
        guards: Sequence[Guard] = (),
        observers: Sequence[Observer] = (),
        settings: DataPlaneSettings | None = None,
        incidents: Incidents | None = None,
    ) -> None:
        self._servables = servables
        self._log = log
        self._guards = tuple(guards)
        self._observers = tuple(observers)
        self._settings = settings or DataPlaneSettings()
        self._incidents = incidents or Incidents()
        self._id_prefix = f"{time.time_ns() // 1_000_000:x}-{secrets.token_hex(4)}-"
        self._sequence = itertools.count(1)

    async def score(
        self, name: str, version: int | None, payload: Payload, label: str | None = None
    ) -> Reply:
        """Score one wire request.

        Args:
            name: the model.
            version: or None for the largest that is available.
            payload: the bytes as received, and the codec that reads them.
            label: the version label that was asked for, for the log.

        Returns:
            The scored request, logged; its outcome says whether there are scores.

        Raises:
            ModelNotFoundError: nothing serves this model and version; not logged.
            LimitError: more rows than allowed; not logged.
            LogError: it could not be logged, and `on_log_failure` is `reject`.
        """
        run = RequestRun(payload, label, f"{self._id_prefix}{next(self._sequence):x}")
        with self._servables.acquire(name, version) as servable:
            request = await run.through(servable, self._guards, self._settings.max_rows)
        self._record(request)
        return Reply(request, servable.opaque is not None, run.opaque_answer)

    def _record(self, request: ScoredRequest) -> None:
        try:
            self._log.write(request)
        except LogError:
            if self._settings.on_log_failure is OnLogFailure.REJECT:
                raise
            logger.exception("request %s is answered without a log line", request.request_id)
            self._incidents.log_dropped()
        for observer in self._observers:
            try:
                observer.observe(request)
            except Exception:
                logger.exception("observer %s failed", observer.name)
                self._incidents.observer_failed(observer.name)
