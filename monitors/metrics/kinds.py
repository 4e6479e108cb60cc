"""What a metric is: name, help text, unit, labels, buckets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "samescore"
"""The first word of every name, those that Prometheus records included."""


class MetricKind(StrEnum):
    """What Prometheus may do with the numbers."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"
    """A gauge that is always 1: the facts are its labels."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as it is scraped, unit and `_total` or `_info` included.
        help: one sentence for the person who meets it on a board.
        unit: what one is, for axes.
        labels: label names, in the order in which values are given.
        buckets: ascending upper bounds (`le`) of a histogram, in its unit, without +Inf.
    """

    name: str
    kind: MetricKind
    help: str
    unit: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
