"""The page that Prometheus reads, and the catalogue's metrics as its families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from monitors.metrics import Metric


class Collectors(Collector):
    """Several collectors as one.

    Args:
        parts: asked one after the other; no two of them may yield the same metric.
    """

    def __init__(self, parts: Sequence[Collector]) -> None:
        self._parts = tuple(parts)

    def collect(self) -> Iterator[Family]:
        """Yield what each part yields."""
        for part in self._parts:
            yield from part.collect()


def exposition(collector: Collector, accept: str = "") -> tuple[bytes, str]:
    """Return the body of a /metrics page and its content type.

    Args:
        collector: what to expose.
        accept: the scraper's Accept header: OpenMetrics for those who ask for it.
    """
    encode, content_type = choose_encoder(accept)
    return encode(collector), content_type


def counter_family(metric: Metric) -> CounterMetricFamily:
    """Return an empty family of a counter."""
    return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)


def gauge_family(metric: Metric) -> GaugeMetricFamily:
    """Return an empty family of a gauge."""
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def histogram_family(metric: Metric) -> HistogramMetricFamily:
    """Return an empty family of a histogram."""
    return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def info_family(metric: Metric, facts: Iterable[tuple[str, ...]]) -> InfoMetricFamily:
    """Return the family of an info metric, with one sample for each of the facts."""
    # The family appends `_info` itself; all facts are labels, so the value adds none.
    family = InfoMetricFamily(metric.name.removesuffix("_info"), metric.help, labels=metric.labels)
    for values in facts:
        family.add_metric(values, {})
    return family
