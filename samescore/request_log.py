"""The request log of one server process, wired: writer, what stands before it, retention."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from consistency.errors import LogError
from consistency.log import LogSettings, RequestLogWriter
from consistency.log.front import LogIncidents, open_front
from consistency.log.redaction import Redaction
from consistency.log.retention import RetentionKeeper
from consistency.pipeline import BoundPipeline, WrappedPipeline
from consistency.protocols import LogWriter
from serving.core.loader import Loader
from serving.servable import Servable

logger = logging.getLogger(__name__)


@runtime_checkable
class _TracedPipeline(Protocol):
    """A bound pipeline that knows what its features are computed from."""

    def features_from(self, fields: Iterable[str]) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class RedactionCheck:
    """A loader that tells of features that are computed from redacted fields and logged as such.

    Attributes:
        inner: does the loading.
        redaction: what is kept out of the log.
    """

    inner: Loader[Servable]
    redaction: Redaction

    def load(self) -> Servable:
        """See `Loader.load`."""
        servable = self.inner.load()
        self._tell(servable.info.name, servable.pipeline)
        return servable

    def unload(self, servable: Servable) -> None:
        """See `Loader.unload`."""
        self.inner.unload(servable)

    def _tell(self, model: str, pipeline: BoundPipeline | None) -> None:
        while isinstance(pipeline, WrappedPipeline):
            pipeline = pipeline.inner
        if pipeline is None:
            return
        heads = {name.split(".")[0] for name in self.redaction.fields} & pipeline.inputs.names
        if not heads:
            return
        if not isinstance(pipeline, _TracedPipeline):
            logger.warning(
                "model %s reads %s, which the log redacts; which of its features show it, nobody "
                "can tell: name them with --log-redact-feature", model, ", ".join(sorted(heads)),
            )  # fmt: skip
            return
        for feature in pipeline.features_from(heads):
            if feature not in self.redaction.features:
                logger.warning(
                    "model %s: feature %s is computed from a field that the log redacts, and is "
                    "logged; add --log-redact-feature %s, or let it be if it shows nothing",
                    model, feature, feature,
                )  # fmt: skip


class ServerLog:
    """What a server logs to; segments that dead writers left are sealed first.

    Args:
        settings: how the log is written.

    Raises:
        LogError: the log folder cannot be written.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._writer = RequestLogWriter(settings)
        for sealed in self._writer.recovered:
            logger.info("sealed %s of a dead writer, %d torn bytes", sealed.path, sealed.torn_bytes)
        self._front: LogWriter = self._writer
        self._keeper: RetentionKeeper | None = None

    def open(self, incidents: LogIncidents, *, refuses: bool) -> LogWriter:
        """Return what requests are written to, and begin to remove what is past its retention.

        Args:
            incidents: counters of requests that are not logged.
            refuses: whether a request that a full spool has no room for gets an error.

        Raises:
            LogError: the log folder cannot be written.
        """
        settings = self._settings
        if settings.retention.is_bounded:
            try:
                self._keeper = RetentionKeeper(settings.folder, settings.retention)
            except OSError as e:
                raise LogError(
                    f"log {settings.folder}: {e.strerror}; give a writable folder"
                ) from e
        self._front = open_front(self._writer, settings, incidents, refuses=refuses)
        return self._front

    def close(self) -> None:
        """Write what waits, and seal the log."""
        if self._keeper is not None:
            self._keeper.close()
        self._front.close()
