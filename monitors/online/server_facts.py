"""What is true of the server now: which versions it has, how many workers live, what it runs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from consistency.scored import ServableInfo
from monitors import metrics
from monitors.online.cells import CellStore
from monitors.online.exposition import gauge_family, info_family


class ServerFacts(Collector):
    """Collects what no request has to be counted for.

    Args:
        store: knows the workers.
        version: of samescore.
        servables: returns the servables that are available now.
    """

    def __init__(
        self, store: CellStore, *, version: str, servables: Callable[[], Iterable[ServableInfo]]
    ) -> None:
        self._store = store
        self._build = (version, platform.python_version())
        self._servables = servables

    def collect(self) -> Iterator[Family]:
        """Yield gates, workers and versions."""
        gates = (
            (info.name, str(info.version), info.gate, str(info.gate_decimals))
            for info in self._servables()
        )
        yield info_family(metrics.SERVABLE_GATE, gates)
        workers = gauge_family(metrics.WORKERS)
        workers.add_metric([], self._store.live_workers())
        yield workers
        yield info_family(metrics.BUILD, [self._build])
