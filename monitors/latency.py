"""Counts requests and rows by outcome and times by stage, for every scored request.

A `prometheus_client` histogram costs about 0.5 µs an observation, and a request has seven: so the
counts are plain lists here, and become Prometheus' objects only when somebody scrapes.
"""

from __future__ import annotations

import platform
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from operator import attrgetter
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from consistency.scored import STAGES, Outcome, ScoredRequest, ServableInfo
from monitors import metrics
from monitors.metrics import Rejection

_BOUNDS_NS: Final = [round(bound * 1e9) for bound in metrics.STAGE_LATENCY.buckets]
_LE: Final = [*map(repr, metrics.STAGE_LATENCY.buckets), "+Inf"]
_REASONS: Final = frozenset(Rejection)
_stage_times: Final = attrgetter(*(f"{stage}_ns" for stage in STAGES))


class _Series:
    """The numbers of one model version; every label set starts at 0, so that rates see the first.

    `stages` holds, for each stage, its bucket counts (not cumulative) and, last, the sum in ns.
    """

    __slots__ = ("requests", "rows", "stages")

    def __init__(self) -> None:
        self.requests = dict.fromkeys(Outcome, 0)
        self.rows = dict.fromkeys(Outcome, 0)
        self.stages = [[0] * (len(_LE) + 1) for _ in STAGES]


class RequestMetrics(Collector):
    """Observer of scored requests and collector of their metrics.

    Every method may be called from any thread; a scrape sees each request wholly or not at all.

    Args:
        version: of samescore, for `samescore_build_info`.
        servables: returns the servables that are available now; asked at each scrape.
    """

    def __init__(
        self, *, version: str, servables: Callable[[], Iterable[ServableInfo]] = tuple
    ) -> None:
        self._build = (version, platform.python_version())
        self._servables = servables
        self._lock = threading.Lock()
        self._series: dict[tuple[str, int], _Series] = {}
        self._rejections: Counter[str] = Counter(dict.fromkeys(Rejection, 0))
        self._observer_failures: Counter[str] = Counter()
        self._log_drops = 0

    @property
    def name(self) -> str:
        """See `Observer.name`."""
        return "request_metrics"

    def observe(self, request: ScoredRequest) -> None:
        """Count a request, its rows and the times of the stages that ran."""
        servable = request.servable
        key = (servable.name, servable.version)
        times = _stage_times(request.latency)
        outcome = request.outcome
        with self._lock:
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = _Series()
            series.requests[outcome] += 1
            series.rows[outcome] += request.rows
            for counts, time_ns in zip(series.stages, times, strict=True):
                if time_ns:  # 0: the stage did not run; no clock shows 0 ns for one that did
                    counts[bisect_left(_BOUNDS_NS, time_ns)] += 1
                    counts[-1] += time_ns

    def rejected(self, reason: str) -> None:
        """Count a request that was refused before a servable; see `Rejection` for the reasons."""
        # A label must stay bounded whatever a caller passes.
        known = reason if reason in _REASONS else Rejection.OTHER
        with self._lock:
            self._rejections[known] += 1

    def observer_failed(self, name: str) -> None:
        """Count an exception of the observer of that name."""
        with self._lock:
            self._observer_failures[name] += 1

    def log_dropped(self) -> None:
        """Count a request that was answered without being logged."""
        with self._lock:
            self._log_drops += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the catalogue's metrics with their present values."""
        servables = list(self._servables())
        with self._lock:
            for info in servables:
                self._series.setdefault((info.name, info.version), _Series())
            families = [*self._request_families(), *self._other_families(servables)]
        yield from families

    def _request_families(self) -> Iterator[Metric]:
        requests, rows = _counter(metrics.REQUESTS), _counter(metrics.ROWS)
        latency = HistogramMetricFamily(
            metrics.STAGE_LATENCY.name,
            metrics.STAGE_LATENCY.help,
            labels=metrics.STAGE_LATENCY.labels,
        )
        for (model, version), series in self._series.items():
            for family, numbers in ((requests, series.requests), (rows, series.rows)):
                for outcome, number in numbers.items():
                    family.add_metric([model, str(version), outcome], number)
            for stage, (*counts, sum_ns) in zip(STAGES, series.stages, strict=True):
                buckets = list(zip(_LE, accumulate(counts), strict=True))
                latency.add_metric([model, str(version), stage], buckets, sum_ns / 1e9)
        yield from (requests, rows, latency)

    def _other_families(self, servables: Iterable[ServableInfo]) -> Iterator[Metric]:
        rejections = _counter(metrics.HTTP_REJECTIONS)
        for reason, number in self._rejections.items():
            rejections.add_metric([reason], number)
        failures = _counter(metrics.OBSERVER_FAILURES)
        for observer, number in self._observer_failures.items():
            failures.add_metric([observer], number)
        drops = _counter(metrics.LOG_DROPS)
        drops.add_metric([], self._log_drops)
        gates = (
            (info.name, str(info.version), info.gate, str(info.gate_decimals)) for info in servables
        )
        yield from (rejections, failures, drops)
        yield from (_info(metrics.SERVABLE_GATE, gates), _info(metrics.BUILD, [self._build]))


def exposition(registry: Collector, accept: str = "") -> tuple[bytes, str]:
    """Return the body of a /metrics page and its content type.

    Args:
        registry: what to expose.
        accept: the scraper's Accept header: OpenMetrics for those who ask for it.
    """
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _counter(metric: metrics.Metric) -> CounterMetricFamily:
    return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)


def _info(metric: metrics.Metric, facts: Iterable[tuple[str, ...]]) -> InfoMetricFamily:
    # The family appends `_info` itself; all facts are labels, so the value adds none.
    family = InfoMetricFamily(metric.name.removesuffix("_info"), metric.help, labels=metric.labels)
    for values in facts:
        family.add_metric(values, {})
    return family
