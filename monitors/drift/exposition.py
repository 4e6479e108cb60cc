"""The last judged window as Prometheus metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

from monitors import metrics
from monitors.drift.judgement import Verdict
from monitors.drift.record import WindowRecord
from monitors.job_exposition import gauge, push_model

JOB: Final = "samescore_drift"
"""The Pushgateway's grouping key begins with `job`."""


def drift_metrics(latest: WindowRecord, now_s: float) -> CollectorRegistry:
    """Return the job's metrics.

    Args:
        latest: the last window that was judged; it has a verdict.
        now_s: when the job ended, in seconds since the epoch.
    """
    registry = CollectorRegistry()
    labels = (latest.subject.model, str(latest.subject.version))
    score_psi = latest.judgement.score_psi
    if score_psi is not None:
        gauge(metrics.DRIFT_SCORE_PSI, registry).labels(*labels).set(score_psi)
    features = gauge(metrics.DRIFT_FEATURE_PSI, registry)
    for measure in latest.judgement.features:
        features.labels(*labels, measure.name).set(measure.psi)
    drifted = latest.judgement.verdict is Verdict.DRIFT
    gauge(metrics.DRIFT_DETECTED, registry).labels(*labels).set(drifted)
    gauge(metrics.DRIFT_ROWS, registry).labels(*labels).set(latest.counts.rows)
    gauge(metrics.DRIFT_WINDOW_END, registry).labels(*labels).set(latest.window.end_s)
    gauge(metrics.DRIFT_LAST_SUCCESS, registry).labels(*labels).set(now_s)
    return registry


def push(url: str, registry: CollectorRegistry, model: str, version: int) -> None:
    """Replace the metrics of this model version on a Pushgateway; see `push_model`."""
    push_model(url, JOB, registry, model, version, "the windows are judged and kept")
