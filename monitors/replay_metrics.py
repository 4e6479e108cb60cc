"""A replay's verdict as Prometheus metrics, for replays that a scheduler runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from consistency.replay import ModelReport, ReplayReport
from monitors import metrics
from monitors.job_exposition import gauge, push_model

JOB: Final = "samescore_replay"
"""The Pushgateway's grouping key begins with `job`."""


def replay_metrics(report: ReplayReport, now_s: float) -> CollectorRegistry:
    """Return the metrics of a replay that replayed something.

    Args:
        report: of the replay.
        now_s: when it ended, in seconds since the epoch.
    """
    return _registry(report.models, report.lost_lines, now_s)


def push(url: str, report: ReplayReport, now_s: float) -> None:
    """Replace the metrics of each model version in a report on a Pushgateway.

    Raises:
        ConfigError: the URL is none.
        MonitorError: the Pushgateway does not take them.
    """
    for name, model in report.models.items():
        registry = _registry({name: model}, report.lost_lines, now_s)
        push_model(url, JOB, registry, *_labels(name), "the replay is done")


def _registry(
    models: Mapping[str, ModelReport], lost_lines: int, now_s: float
) -> CollectorRegistry:
    registry = CollectorRegistry()
    rows = gauge(metrics.REPLAY_ROWS, registry)
    differing = gauge(metrics.REPLAY_DIFFERING_ROWS, registry)
    agrees = gauge(metrics.REPLAY_AGREES, registry)
    last = gauge(metrics.REPLAY_LAST_SUCCESS, registry)
    for name, model in models.items():
        labels = tuple(map(str, _labels(name)))
        rows.labels(*labels).set(model.rows)
        for stage, found in model.stages.items():
            differing.labels(*labels, stage).set(found.rows - found.rows_agreeing)
        # a line that cannot be read may have been any model's: none is known to agree
        agrees.labels(*labels).set(model.agrees and not lost_lines)
        last.labels(*labels).set(now_s)
    return registry


def _labels(name: str) -> tuple[str, int]:
    model, _, version = name.rpartition("/")
    return model, int(version)
