"""The online monitors of one server process, wired: observers, counters, the page of metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from consistency.errors import LogError
from consistency.protocols import Observer
from consistency.scored import ServableInfo
from monitors import metrics
from monitors.errors import MonitorError
from monitors.online.arrival_waits import ArrivalWaits
from monitors.online.backend_health import BackendHealth
from monitors.online.cell_folder import CellFolder
from monitors.online.cells import CellStore
from monitors.online.counters import EventCounters
from monitors.online.exposition import Collectors, exposition
from monitors.online.latency import RequestMetrics
from monitors.online.observer import RowMonitor
from monitors.online.server_facts import NO_VERSIONS, ServerFacts, VersionFacts
from monitors.online.window import WindowSettings
from samescore import __version__
from serving.backends.fleet_events import FleetEvents
from serving.backends.instance_errors import Attempt
from serving.backends.settings import BackendSettings
from serving.core.loader import Loader
from serving.servable import Servable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where a worker process of several counts.

    Attributes:
        cells: the folder that the supervising process has made.
        slot: the worker's number; the one that replaces a dead worker has the same.
    """

    cells: Path
    slot: int


class Monitoring:
    """Everything that watches this process's requests.

    Args:
        log: the log folder; the counts are in a hidden folder inside it.
        window: the sliding window.
        servables: returns the servables that are available now.
        place: of this worker; None for a server that is a single process.
        versions: returns what is true of versions now.

    Raises:
        LogError: the folder cannot be written.
    """

    def __init__(
        self,
        log: Path,
        window: WindowSettings,
        servables: Callable[[], Iterable[ServableInfo]],
        place: WorkerPlace | None = None,
        versions: Callable[[], VersionFacts] = lambda: NO_VERSIONS,
    ) -> None:
        self._folder: CellFolder | None = None
        try:
            if place is None:
                self._folder = CellFolder(log)
                place = WorkerPlace(self._folder.path, 0)
            self._store = CellStore(place.cells, place.slot)
            self.requests = RequestMetrics(self._store, servables=servables)
            self.rows = RowMonitor(self._store, window=window, servables=servables)
            self.backends = BackendHealth(self._store)
            self.arrivals = ArrivalWaits(self._store)
            self.counters = EventCounters(self._store, [o.name for o in self.observers])
        except OSError as e:
            raise LogError(f"log {log}: no metrics: {e.strerror}; give a writable folder") from e
        facts = ServerFacts(
            self._store, version=__version__, servables=servables, versions=versions
        )
        self._collectors = Collectors(
            [self.requests, self.rows, self.counters, self.backends, self.arrivals, facts]
        )

    @property
    def observers(self) -> tuple[Observer, ...]:
        """What sees each scored request, in order."""
        return (self.requests, self.rows)

    def watch(self, backend: BackendSettings) -> FleetEvents:
        """Return what counts what happens with a backend's instances, beginning at 0.

        Raises:
            LogError: the counts cannot be kept.
        """
        addresses = [str(address) for address in backend.addresses]
        try:
            self.backends.declare(addresses)
            for metric in (metrics.BACKEND_EJECTIONS, metrics.BACKEND_RETRIES):
                self.counters.declare(metric, [(a,) for a in addresses])
            self.counters.declare(
                metrics.BACKEND_ATTEMPTS, [(a, ended) for a in addresses for ended in Attempt]
            )
            self.counters.declare(metrics.BACKEND_NO_ROOM, [()])
        except OSError as e:
            raise LogError(f"log: no metrics: {e.strerror}; give a writable folder") from e
        return FleetEvents(
            ejected=self.counters.backend_ejected,
            health=self.backends.set,
            attempted=self.counters.backend_attempted,
            retried=self.counters.backend_retried,
            in_flight=self.backends.in_flight,
            waiting=self.backends.waiting,
            no_room=self.counters.backend_had_no_room,
        )

    def turned_away(self) -> None:
        """Count a request that found the server at its bound."""
        self.counters.rejected(metrics.Rejection.UNAVAILABLE)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return the body of /metrics, of all workers together, and its content type.

        Args:
            accept: the scraper's Accept header; request ids go to those who ask for OpenMetrics.
        """
        return exposition(self._collectors, accept)

    def close(self) -> None:
        """Count no more. The counts of a single process go; those of workers stay."""
        self._store.close()
        if self._folder is not None:
            self._folder.close()


@dataclass(frozen=True, slots=True)
class WatchedLoader:
    """A loader whose servables the monitors know before their first request.

    Attributes:
        inner: does the loading.
        rows: gets the frozen reference.
    """

    inner: Loader[Servable]
    rows: RowMonitor

    def load(self) -> Servable:
        """See `Loader.load`."""
        servable = self.inner.load()
        reference = b"" if servable.bundle is None else servable.bundle.reference()
        try:
            self.rows.prepare(servable.info, servable.schema.names, reference)
        except MonitorError as e:  # it serves as well without: monitors fail nothing
            logger.warning("%s is not compared: %s", servable.info.name, e)
            self.rows.prepare(servable.info, servable.schema.names, b"")
        return servable

    def unload(self, servable: Servable) -> None:
        """See `Loader.unload`."""
        self.inner.unload(servable)
