"""The metric catalogue: every Prometheus name, help text, unit, label and bucket, once.

A metric stands here only when something in the house sets it. Rules and boards are built from this
page. It imports nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class MetricKind(StrEnum):
    """What Prometheus may do with the numbers."""

    COUNTER = "counter"
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


class Rejection(StrEnum):
    """Why a face refused a request before any servable saw it."""

    UNKNOWN_MODEL = "unknown_model"
    """No such model, or no such version of it."""
    TOO_LARGE = "too_large"
    """The body or the batch is over its limit."""
    MALFORMED = "malformed"
    """The path, the method or the body is not what the face takes."""
    UNAVAILABLE = "unavailable"
    """The server is starting, stopping or overloaded."""
    OTHER = "other"
    """Any other reason; the server's own log has it."""


LATENCY_BUCKETS_SECONDS: Final = (
    # A local stage takes microseconds (decode about 20, features 20 to 60, a tree model 200). With
    # nothing below 5 ms it would all lie in one bucket, and a stage could grow a hundredfold before
    # any quantile moved: 1-2.5-5 steps keep the error of a quantile below a factor of 2.5.
    *(0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5),
    # An SLO is exact only at a bucket bound: 20 ms is the budget for one record in process, and the
    # rest are the bounds that service objectives use, 200 to 500 ms above all.
    *(0.005, 0.01, 0.02, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0),
)

REQUESTS: Final = Metric(
    "samescore_requests_total",
    MetricKind.COUNTER,
    "Requests that reached a servable, by how they ended.",
    "requests",
    ("model", "version", "outcome"),
)
ROWS: Final = Metric(
    "samescore_rows_total",
    MetricKind.COUNTER,
    "Rows of the requests that reached a servable, by how the request ended.",
    "rows",
    ("model", "version", "outcome"),
)
STAGE_LATENCY: Final = Metric(
    "samescore_stage_latency_seconds",
    MetricKind.HISTOGRAM,
    "Time that a request spent in a stage; a stage that did not run is not counted.",
    "seconds",
    ("model", "version", "stage"),
    LATENCY_BUCKETS_SECONDS,
)
HTTP_REJECTIONS: Final = Metric(
    "samescore_http_rejections_total",
    MetricKind.COUNTER,
    "HTTP requests refused before they reached a servable; they are in no request log.",
    "requests",
    ("reason",),
)
LOG_DROPS: Final = Metric(
    "samescore_log_drops_total",
    MetricKind.COUNTER,
    "Scored requests that were answered although the request log could not be written.",
    "requests",
)
OBSERVER_FAILURES: Final = Metric(
    "samescore_observer_failures_total",
    MetricKind.COUNTER,
    "Exceptions of observers; the request was answered all the same.",
    "exceptions",
    ("observer",),
)
SERVABLE_GATE: Final = Metric(
    "samescore_servable_gate_info",
    MetricKind.INFO,
    "Versions that are available, and whether each reproduced its golden scores, to how many "
    "decimals.",
    "",
    ("model", "version", "gate", "decimals"),
)
BUILD: Final = Metric(
    "samescore_build_info",
    MetricKind.INFO,
    "Versions of samescore and of Python in this process.",
    "",
    ("version", "python"),
)

CATALOGUE: Final = (
    REQUESTS,
    ROWS,
    STAGE_LATENCY,
    HTTP_REJECTIONS,
    LOG_DROPS,
    OBSERVER_FAILURES,
    SERVABLE_GATE,
    BUILD,
)
"""Every metric that a server exports."""
