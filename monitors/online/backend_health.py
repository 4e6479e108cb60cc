"""Which instances of a remote backend get requests, from how many workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from monitors import metrics
from monitors.online.cells import CellStore
from monitors.online.exposition import gauge_family

_KIND: Final = "backends"


class BackendHealth(Collector):
    """Keeps a 1 or a 0 for each instance, and collects those of all workers, added up.

    What a dead worker said stays until the one that replaces it says otherwise.

    Args:
        store: holds the numbers.
    """

    def __init__(self, store: CellStore) -> None:
        self._store = store
        self._cells: memoryview | None = None
        self._places: dict[str, int] = {}

    def declare(self, backends: Sequence[str]) -> None:
        """Make a place for each instance, by its address.

        Raises:
            OSError: there is no room for them.
        """
        cells = self._store.cells(_KIND, {"backends": list(backends)}, len(backends))
        self._places = {backend: place for place, backend in enumerate(backends)}
        self._cells = cells

    def set(self, backend: str, is_healthy: bool) -> None:
        """Note whether this worker sends requests to a declared instance. Safe in any thread."""
        if self._cells is not None:
            self._cells[self._places[backend]] = int(is_healthy)

    def collect(self) -> Iterator[Family]:
        """Yield the gauge; without a remote backend it has no samples."""
        totals: dict[str, int] = {}
        for file in self._store.files(_KIND):
            for backend, healthy in zip(file.header["backends"], file.words, strict=True):
                totals[backend] = totals.get(backend, 0) + int(healthy)
        family = gauge_family(metrics.BACKEND_WORKERS)
        for backend, workers in sorted(totals.items()):
            family.add_metric((backend,), workers)
        yield family
