"""Which instances of a remote backend get requests, from how many workers, and how many of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from monitors import metrics
from monitors.online.cells import CellStore
from monitors.online.exposition import gauge_family

_KIND: Final = "backends"
_OF_ONE: Final = 2
"""Cells of an instance: whether it gets requests, and how many it has. One more: who wait."""


class BackendHealth(Collector):
    """Keeps what is true of each instance now, and collects that of all workers, added up.

    What a dead worker said stays until the one that replaces it says otherwise.

    Args:
        store: holds the numbers.
    """

    def __init__(self, store: CellStore) -> None:
        self._store = store
        self._cells: memoryview | None = None
        self._places: dict[str, int] = {}

    def declare(self, backends: Sequence[str]) -> None:
        """Make a place for each instance, by its address; no request is at work yet.

        Raises:
            OSError: there is no room for them.
        """
        count = _OF_ONE * len(backends) + 1
        cells = self._store.cells(_KIND, {"backends": list(backends)}, count)
        self._places = {backend: _OF_ONE * place for place, backend in enumerate(backends)}
        self._cells = cells
        for place in (*(p + 1 for p in self._places.values()), count - 1):
            cells[place] = 0  # the requests of the worker that died in this slot are gone

    def set(self, backend: str, is_healthy: bool) -> None:
        """Note whether this worker sends requests to a declared instance. Safe in any thread."""
        if self._cells is not None:
            self._cells[self._places[backend]] = int(is_healthy)

    def in_flight(self, backend: str, requests: int) -> None:
        """Note how many requests of this worker a declared instance has."""
        if self._cells is not None:
            self._cells[self._places[backend] + 1] = requests

    def waiting(self, requests: int) -> None:
        """Note how many requests of this worker wait for an instance to have room."""
        if self._cells is not None:
            self._cells[_OF_ONE * len(self._places)] = requests

    def collect(self) -> Iterator[Family]:
        """Yield the gauges; without a remote backend they have no samples."""
        totals: dict[str, tuple[int, int]] = {}
        waiting: int | None = None
        for file in self._store.files(_KIND):
            *of_instances, waits = file.words.tolist()
            waiting = waits + (waiting or 0)
            pairs = zip(of_instances[::_OF_ONE], of_instances[1::_OF_ONE], strict=True)
            for backend, (healthy, busy) in zip(file.header["backends"], pairs, strict=True):
                before = totals.get(backend, (0, 0))
                totals[backend] = (before[0] + healthy, before[1] + busy)
        workers, in_flight, in_line = map(
            gauge_family,
            (metrics.BACKEND_WORKERS, metrics.BACKEND_IN_FLIGHT, metrics.BACKEND_WAITING),
        )
        for backend, (healthy, busy) in sorted(totals.items()):
            workers.add_metric((backend,), healthy)
            in_flight.add_metric((backend,), busy)
        if waiting is not None:
            in_line.add_metric((), waiting)
        yield from (workers, in_flight, in_line)
