"""The metric catalogue: every Prometheus name, help text, unit, label and bucket, once.

A metric stands here only when something in the house sets it. Rules and boards are built from this
package. It imports nothing but the standard library.
"""

from __future__ import annotations

from typing import Final

from monitors.metrics.jobs import (
    DRIFT_DETECTED,
    DRIFT_FEATURE_PSI,
    DRIFT_LAST_SUCCESS,
    DRIFT_ROWS,
    DRIFT_SCORE_PSI,
    DRIFT_WINDOW_END,
    REPLAY_AGREES,
    REPLAY_DIFFERING_ROWS,
    REPLAY_LAST_SUCCESS,
    REPLAY_ROWS,
)
from monitors.metrics.kinds import (
    PREFIX,
    Metric,
    MetricKind,
)
from monitors.metrics.objectives import (
    SLO_BUDGET_LEFT,
    SLO_BURN_RATE,
)
from monitors.metrics.requests import (
    FEATURE_MISSING,
    FEATURE_OUT_OF_RANGE,
    FEATURE_PSI,
    FEATURE_REFERENCE_MISSING,
    FEATURE_UNSEEN,
    HTTP_REJECTIONS,
    LATENCY_BUCKETS_SECONDS,
    LOG_DROPS,
    LOG_SAMPLED_OUT,
    OBSERVER_FAILURES,
    REQUESTS,
    ROWS,
    SCORE_ANOMALIES,
    SCORE_PSI,
    SCORES_CONSTANT,
    STAGE_LATENCY,
    SUITE_VIOLATIONS,
    WINDOW_ROWS,
    Rejection,
    ScoreAnomaly,
)
from monitors.metrics.servers import (
    ARRIVAL_WAIT,
    BACKEND_ATTEMPTS,
    BACKEND_EJECTIONS,
    BACKEND_IN_FLIGHT,
    BACKEND_NO_ROOM,
    BACKEND_RETRIES,
    BACKEND_WAITING,
    BACKEND_WORKERS,
    BUILD,
    SERVABLE_CREATED,
    SERVABLE_GATE,
    VERSION_LOAD_FAILED,
    WAIT_BUCKETS_SECONDS,
    WORKERS,
)

__all__ = [
    "ARRIVAL_WAIT",
    "BACKEND_ATTEMPTS",
    "BACKEND_EJECTIONS",
    "BACKEND_IN_FLIGHT",
    "BACKEND_NO_ROOM",
    "BACKEND_RETRIES",
    "BACKEND_WAITING",
    "BACKEND_WORKERS",
    "BUILD",
    "CATALOGUE",
    "DRIFT_CATALOGUE",
    "DRIFT_DETECTED",
    "DRIFT_FEATURE_PSI",
    "DRIFT_LAST_SUCCESS",
    "DRIFT_ROWS",
    "DRIFT_SCORE_PSI",
    "DRIFT_WINDOW_END",
    "FEATURE_MISSING",
    "FEATURE_OUT_OF_RANGE",
    "FEATURE_PSI",
    "FEATURE_REFERENCE_MISSING",
    "FEATURE_UNSEEN",
    "HTTP_REJECTIONS",
    "JOB_CATALOGUE",
    "LATENCY_BUCKETS_SECONDS",
    "LOG_DROPS",
    "LOG_SAMPLED_OUT",
    "OBSERVER_FAILURES",
    "PREFIX",
    "REPLAY_AGREES",
    "REPLAY_CATALOGUE",
    "REPLAY_DIFFERING_ROWS",
    "REPLAY_LAST_SUCCESS",
    "REPLAY_ROWS",
    "REQUESTS",
    "ROWS",
    "SCORES_CONSTANT",
    "SCORE_ANOMALIES",
    "SCORE_PSI",
    "SERVABLE_CREATED",
    "SERVABLE_GATE",
    "SLO_BUDGET_LEFT",
    "SLO_BURN_RATE",
    "SLO_CATALOGUE",
    "STAGE_LATENCY",
    "SUITE_VIOLATIONS",
    "VERSION_LOAD_FAILED",
    "WAIT_BUCKETS_SECONDS",
    "WINDOW_ROWS",
    "WORKERS",
    "Metric",
    "MetricKind",
    "Rejection",
    "ScoreAnomaly",
]

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
    BACKEND_ATTEMPTS,
    BACKEND_RETRIES,
    BACKEND_IN_FLIGHT,
    BACKEND_WAITING,
    BACKEND_NO_ROOM,
    ARRIVAL_WAIT,
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

SLO_CATALOGUE: Final = (SLO_BUDGET_LEFT, SLO_BURN_RATE)
"""What Prometheus itself records for boards, by the rules of an SLO file.

These series have the labels of targets as all others: the servers' `job`, and `all` as `instance`,
since a promise is one of all servers together."""

JOB_CATALOGUE: Final = (*DRIFT_CATALOGUE, *REPLAY_CATALOGUE)
"""Every metric that a scheduled job exports."""
