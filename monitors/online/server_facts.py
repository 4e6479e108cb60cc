"""What is true of the server now: which versions it has, how many workers live, what it runs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from consistency.scored import ServableInfo
from monitors import metrics
from monitors.online.cells import CellStore
from monitors.online.exposition import gauge_family, info_family


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What is true of versions at one moment.

    Attributes:
        created: model, version and when its bundle was made, in seconds since the epoch; of those
            that are available and come from a bundle.
        load_failed: model and version of those that should be available and could not be loaded.
    """

    created: tuple[tuple[str, int, float], ...] = ()
    load_failed: tuple[tuple[str, int], ...] = ()


NO_VERSIONS: Final = VersionFacts()


class ServerFacts(Collector):
    """Collects what no request has to be counted for.

    Args:
        store: knows the workers.
        version: of samescore.
        servables: returns the servables that are available now.
        versions: returns what is true of versions now.
    """

    def __init__(
        self,
        store: CellStore,
        *,
        version: str,
        servables: Callable[[], Iterable[ServableInfo]],
        versions: Callable[[], VersionFacts] = lambda: NO_VERSIONS,
    ) -> None:
        self._store = store
        self._build = (version, platform.python_version())
        self._servables, self._versions = servables, versions

    def collect(self) -> Iterator[Family]:
        """Yield gates, workers and versions."""
        gates = (
            (info.name, str(info.version), info.gate, str(info.gate_decimals))
            for info in self._servables()
        )
        yield info_family(metrics.SERVABLE_GATE, gates)
        yield from self._of_versions()
        workers = gauge_family(metrics.WORKERS)
        workers.add_metric([], self._store.live_workers())
        yield workers
        yield info_family(metrics.BUILD, [self._build])

    def _of_versions(self) -> Iterator[Family]:
        facts = self._versions()
        created = gauge_family(metrics.SERVABLE_CREATED)
        for model, version, seconds in facts.created:
            created.add_metric((model, str(version)), seconds)
        yield created
        failed = gauge_family(metrics.VERSION_LOAD_FAILED)
        for model, version in facts.load_failed:
            failed.add_metric((model, str(version)), 1)
        yield failed
