"""What a server counts of requests, their rows, features and scores."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from monitors.metrics.kinds import Metric, MetricKind


class Rejection(StrEnum):
    """Why a face refused a request before any servable saw it."""

    UNKNOWN_MODEL = "unknown_model"
    """No such model, or no such version of it."""
    TOO_LARGE = "too_large"
    """The body or the batch is over its limit."""
    MALFORMED = "malformed"
    """The path, the method or the body is not what the face takes."""
    UNAVAILABLE = "unavailable"
    """The server is at its bound of connections or requests, or the request could not be logged."""
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
    "Rows that broke a row-level rule of the suite: rejected, flagged or only counted.",
    "rows",
    ("model", "rule", "action"),
)
