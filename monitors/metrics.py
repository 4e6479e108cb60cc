"""The metric catalogue: every Prometheus name, help text, unit, label and bucket, once.

A metric stands here only when something in the house sets it. Rules and boards are built from this
page. It imports nothing but the standard library.
"""

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


class ScoreAnomaly(StrEnum):
    """What is wrong with a score that no healthy model gives."""

    NAN = "nan"
    INFINITE = "infinite"
    OUT_OF_RANGE = "out_of_range"
    """Below or above every score of the reference."""


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
LOG_SAMPLED_OUT: Final = Metric(
    "samescore_log_sampled_out_total",
    MetricKind.COUNTER,
    "Requests that reached a servable and that sampling kept out of the request log.",
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
SCORE_ANOMALIES: Final = Metric(
    "samescore_score_anomalies_total",
    MetricKind.COUNTER,
    "Scores that no healthy model gives: nan, infinite, or outside the reference's range.",
    "scores",
    ("model", "version", "kind"),
)
SCORES_CONSTANT: Final = Metric(
    "samescore_scores_constant",
    MetricKind.GAUGE,
    "1 while all scores of the sliding window are one and the same number, else 0.",
    "boolean",
    ("model", "version"),
)
FEATURE_MISSING: Final = Metric(
    "samescore_feature_missing_total",
    MetricKind.COUNTER,
    "Scored rows in which a feature was missing: null, absent, NaN, or a lookup without a row.",
    "rows",
    ("model", "version", "feature"),
)
FEATURE_REFERENCE_MISSING: Final = Metric(
    "samescore_feature_reference_missing_ratio",
    MetricKind.GAUGE,
    "Share of the training sample's rows in which a feature was missing.",
    "ratio",
    ("model", "version", "feature"),
)
FEATURE_UNSEEN: Final = Metric(
    "samescore_feature_unseen_total",
    MetricKind.COUNTER,
    "Scored rows in which a feature was a category that training never saw.",
    "rows",
    ("model", "version", "feature"),
)
FEATURE_OUT_OF_RANGE: Final = Metric(
    "samescore_feature_out_of_range_total",
    MetricKind.COUNTER,
    "Scored rows in which a feature was below or above every value of the training sample.",
    "rows",
    ("model", "version", "feature"),
)
SCORE_PSI: Final = Metric(
    "samescore_score_psi",
    MetricKind.GAUGE,
    "Population stability index of the scores of the sliding window against the reference.",
    "nats",
    ("model", "version"),
)
FEATURE_PSI: Final = Metric(
    "samescore_feature_psi",
    MetricKind.GAUGE,
    "Population stability index of a feature in the sliding window against the reference.",
    "nats",
    ("model", "version", "feature"),
)
WINDOW_ROWS: Final = Metric(
    "samescore_window_rows",
    MetricKind.GAUGE,
    "Rows in the sliding window of the population stability indices.",
    "rows",
    ("model", "version"),
)
SUITE_VIOLATIONS: Final = Metric(
    "samescore_suite_violations_total",
    MetricKind.COUNTER,
    "Rows that broke a row-level rule of the expectation suite, rejected or flagged.",
    "rows",
    ("model", "rule", "action"),
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
WORKERS: Final = Metric(
    "samescore_workers",
    MetricKind.GAUGE,
    "Worker processes that are alive.",
    "processes",
)
DRIFT_SCORE_PSI: Final = Metric(
    "samescore_drift_score_psi",
    MetricKind.GAUGE,
    "Population stability index of the scores of the last window that the drift job judged.",
    "nats",
    ("model", "version"),
)
DRIFT_FEATURE_PSI: Final = Metric(
    "samescore_drift_feature_psi",
    MetricKind.GAUGE,
    "Population stability index of a feature in the last window that the drift job judged.",
    "nats",
    ("model", "version", "feature"),
)
DRIFT_DETECTED: Final = Metric(
    "samescore_drift_detected",
    MetricKind.GAUGE,
    "1 when the last window that the drift job judged has drifted, else 0.",
    "boolean",
    ("model", "version"),
)
DRIFT_ROWS: Final = Metric(
    "samescore_drift_rows",
    MetricKind.GAUGE,
    "Rows in the last window that the drift job judged.",
    "rows",
    ("model", "version"),
)
DRIFT_WINDOW_END: Final = Metric(
    "samescore_drift_window_end_timestamp_seconds",
    MetricKind.GAUGE,
    "End of the last window that the drift job judged.",
    "seconds since the epoch",
    ("model", "version"),
)
DRIFT_LAST_SUCCESS: Final = Metric(
    "samescore_drift_last_success_timestamp_seconds",
    MetricKind.GAUGE,
    "When the drift job last ended with a verdict, drift or none.",
    "seconds since the epoch",
    ("model", "version"),
)
REPLAY_ROWS: Final = Metric(
    "samescore_replay_rows",
    MetricKind.GAUGE,
    "Rows that the last scheduled replay compared with what was answered.",
    "rows",
    ("model", "version"),
)
REPLAY_DIFFERING_ROWS: Final = Metric(
    "samescore_replay_differing_rows",
    MetricKind.GAUGE,
    "Rows of the last scheduled replay that differ in a stage (a later stage follows an earlier).",
    "rows",
    ("model", "version", "stage"),
)
REPLAY_AGREES: Final = Metric(
    "samescore_replay_agrees",
    MetricKind.GAUGE,
    "1 when the last scheduled replay agreed and its log was whole, else 0.",
    "boolean",
    ("model", "version"),
)
REPLAY_LAST_SUCCESS: Final = Metric(
    "samescore_replay_last_success_timestamp_seconds",
    MetricKind.GAUGE,
    "When a scheduled replay last ended with a verdict, whichever.",
    "seconds since the epoch",
    ("model", "version"),
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
    LOG_SAMPLED_OUT,
    OBSERVER_FAILURES,
    SERVABLE_GATE,
    SERVABLE_CREATED,
    VERSION_LOAD_FAILED,
    SCORE_ANOMALIES,
    SCORES_CONSTANT,
    FEATURE_MISSING,
    FEATURE_REFERENCE_MISSING,
    FEATURE_UNSEEN,
    FEATURE_OUT_OF_RANGE,
    SCORE_PSI,
    FEATURE_PSI,
    WINDOW_ROWS,
    SUITE_VIOLATIONS,
    BACKEND_EJECTIONS,
    BACKEND_WORKERS,
    WORKERS,
    BUILD,
)
"""Every metric that a server exports."""

DRIFT_CATALOGUE: Final = (
    DRIFT_SCORE_PSI,
    DRIFT_FEATURE_PSI,
    DRIFT_DETECTED,
    DRIFT_ROWS,
    DRIFT_WINDOW_END,
    DRIFT_LAST_SUCCESS,
)
"""Every metric that the drift job exports."""

REPLAY_CATALOGUE: Final = (
    REPLAY_ROWS,
    REPLAY_DIFFERING_ROWS,
    REPLAY_AGREES,
    REPLAY_LAST_SUCCESS,
)
"""Every metric that a replay exports."""

JOB_CATALOGUE: Final = (*DRIFT_CATALOGUE, *REPLAY_CATALOGUE)
"""Every metric that a scheduled job exports."""
