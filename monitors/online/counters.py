"""Counters with labels in cells: what happens beside the scored requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from monitors import metrics
from monitors.metrics import Metric, Rejection
from monitors.online.cells import CellStore
from monitors.online.exposition import counter_family

logger = logging.getLogger(__name__)

Series: TypeAlias = tuple[str, tuple[str, ...]]
"""A metric's name and its label values."""

_KIND: Final = "counters"
_REASONS: Final = frozenset(Rejection)
_FAMILIES: Final = (
    metrics.HTTP_REJECTIONS,
    metrics.OBSERVER_FAILURES,
    metrics.LOG_DROPS,
    metrics.LOG_SAMPLED_OUT,
    metrics.SUITE_VIOLATIONS,
    metrics.BACKEND_EJECTIONS,
    metrics.BACKEND_ATTEMPTS,
    metrics.BACKEND_RETRIES,
    metrics.BACKEND_NO_ROOM,
)


class EventCounters(Collector):
    """Counts events by label, and collects those of all workers.

    Every method may be called from any thread.

    Args:
        store: holds the counts.
        observers: names of the observers whose failures begin at 0.
    """

    def __init__(self, store: CellStore, observers: Iterable[str] = ()) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._places: dict[Series, tuple[memoryview, int]] = {}
        self.declare(metrics.HTTP_REJECTIONS, [(reason,) for reason in Rejection])
        self.declare(metrics.LOG_DROPS, [()])
        self.declare(metrics.LOG_SAMPLED_OUT, [()])
        self.declare(metrics.OBSERVER_FAILURES, [(name,) for name in observers])

    def declare(self, metric: Metric, label_sets: Iterable[tuple[str, ...]]) -> None:
        """Let counters begin at 0, so that a rate sees the first event.

        Args:
            metric: a counter of the catalogue that this class collects.
            label_sets: label values, in the metric's order.

        Raises:
            OSError: there is no room for them.
        """
        series: list[Series] = [(metric.name, tuple(map(str, labels))) for labels in label_sets]
        with self._lock:
            new = [each for each in dict.fromkeys(series) if each not in self._places]
            if new:
                cells = self._store.cells(_KIND, {"series": new}, len(new))
                self._places.update((each, (cells, i)) for i, each in enumerate(new))

    def add(self, metric: Metric, labels: tuple[str, ...] = (), amount: int = 1) -> None:
        """Count events; what was not declared begins here."""
        series = (metric.name, tuple(map(str, labels)))
        if series not in self._places:
            try:
                self.declare(metric, [labels])
            except OSError as e:  # counting must not break what is counted
                logger.warning("%s%s is not counted: %s", *series, e)
                return
        with self._lock:
            cells, place = self._places[series]
            cells[place] += amount

    def rejected(self, reason: str) -> None:
        """Count a request that was refused before a servable; see `Rejection` for the reasons."""
        # A label must stay bounded whatever a caller passes.
        known = reason if reason in _REASONS else Rejection.OTHER
        self.add(metrics.HTTP_REJECTIONS, (known,))

    def observer_failed(self, name: str) -> None:
        """Count an exception of the observer of that name."""
        self.add(metrics.OBSERVER_FAILURES, (name,))

    def log_dropped(self, requests: int = 1) -> None:
        """Count requests that were answered without being logged."""
        self.add(metrics.LOG_DROPS, amount=requests)

    def log_sampled_out(self) -> None:
        """Count a request that was not meant to be logged."""
        self.add(metrics.LOG_SAMPLED_OUT)

    def backend_ejected(self, address: str) -> None:
        """Count an instance of a remote backend that gets no more requests."""
        self.add(metrics.BACKEND_EJECTIONS, (address,))

    def backend_attempted(self, address: str, result: str) -> None:
        """Count a request that was sent to an instance, by how it ended there."""
        self.add(metrics.BACKEND_ATTEMPTS, (address, result))

    def backend_retried(self, address: str) -> None:
        """Count a request that this instance did not take and another gets."""
        self.add(metrics.BACKEND_RETRIES, (address,))

    def backend_had_no_room(self) -> None:
        """Count a request that no instance could take before its deadline."""
        self.add(metrics.BACKEND_NO_ROOM)

    def collect(self) -> Iterator[Family]:
        """Yield the counters of all workers, added up."""
        totals: dict[Series, int] = {}
        for file in self._store.files(_KIND):
            for (name, labels), count in zip(file.header["series"], file.words, strict=True):
                series = (name, tuple(labels))
                totals[series] = totals.get(series, 0) + int(count)
        for metric in _FAMILIES:
            family = counter_family(metric)
            for (name, labels), total in sorted(totals.items()):
                if name == metric.name:
                    family.add_metric(labels, total)
            yield family
