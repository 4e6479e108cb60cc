"""What a server says of itself: its versions, workers, queues, and the backend behind it."""

from __future__ import annotations

from typing import Final

from monitors.metrics.kinds import Metric, MetricKind

WAIT_BUCKETS_SECONDS: Final = (0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""An idle event loop wakes up within a millisecond or two; there is nothing to tell below."""

SERVABLE_GATE: Final = Metric(
    "samescore_servable_gate_info",
    MetricKind.INFO,
    "Versions that are available, and whether each reproduced its golden scores, to how many "
    "decimals.",
    "",
    ("model", "version", "gate", "decimals"),
)

SERVABLE_CREATED: Final = Metric(
    "samescore_servable_created_timestamp_seconds",
    MetricKind.GAUGE,
    "When the bundle of an available version was made.",
    "seconds since the epoch",
    ("model", "version"),
)

VERSION_LOAD_FAILED: Final = Metric(
    "samescore_version_load_failed",
    MetricKind.GAUGE,
    "1 for a version that should be available and could not be loaded; /models says why.",
    "boolean",
    ("model", "version"),
)

BACKEND_EJECTIONS: Final = Metric(
    "samescore_backend_ejections_total",
    MetricKind.COUNTER,
    "How often a worker has stopped to send requests to an instance of the remote backend.",
    "ejections",
    ("backend",),
)

BACKEND_WORKERS: Final = Metric(
    "samescore_backend_workers",
    MetricKind.GAUGE,
    "Workers that send requests to an instance of the remote backend; 0: it is ejected everywhere.",
    "processes",
    ("backend",),
)

BACKEND_ATTEMPTS: Final = Metric(
    "samescore_backend_attempts_total",
    MetricKind.COUNTER,
    "Requests sent to an instance of the remote backend, second attempts included, by how it ended "
    "there.",
    "attempts",
    ("backend", "result"),
)

BACKEND_RETRIES: Final = Metric(
    "samescore_backend_retries_total",
    MetricKind.COUNTER,
    "Requests that were sent to another instance since this one certainly computed nothing.",
    "requests",
    ("backend",),
)

BACKEND_IN_FLIGHT: Final = Metric(
    "samescore_backend_in_flight",
    MetricKind.GAUGE,
    "Requests that an instance of the remote backend has now, from all workers.",
    "requests",
    ("backend",),
)

BACKEND_WAITING: Final = Metric(
    "samescore_backend_waiting",
    MetricKind.GAUGE,
    "Requests that wait now for an instance of the remote backend to have room, in all workers.",
    "requests",
)

BACKEND_NO_ROOM: Final = Metric(
    "samescore_backend_no_room_total",
    MetricKind.COUNTER,
    "Requests whose deadline passed while they waited for an instance to have room.",
    "requests",
)

ARRIVAL_WAIT: Final = Metric(
    "samescore_arrival_wait_seconds",
    MetricKind.HISTOGRAM,
    "Time that a request which arrived would have waited until a worker looked at it; asked ten "
    "times a second.",
    "seconds",
    (),
    WAIT_BUCKETS_SECONDS,
)

WORKERS: Final = Metric(
    "samescore_workers",
    MetricKind.GAUGE,
    "Worker processes that are alive.",
    "processes",
)

BUILD: Final = Metric(
    "samescore_build_info",
    MetricKind.INFO,
    "Versions of samescore and of Python in this process.",
    "",
    ("version", "python"),
)
