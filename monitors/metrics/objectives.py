"""What Prometheus itself records of objectives, by the rules of an SLO file."""

from __future__ import annotations

from typing import Final

from monitors.metrics.kinds import Metric, MetricKind

SLO_BUDGET_LEFT: Final = Metric(
    "job_model:samescore_slo_budget_left:ratio",
    MetricKind.GAUGE,
    "Share of the error budget of an objective that is left in its window; below 0: overspent.",
    "ratio",
    ("model", "objective", "window"),
)

SLO_BURN_RATE: Final = Metric(
    "job_model:samescore_slo_burn_rate:ratio",
    MetricKind.GAUGE,
    "How fast an error budget burned over a window; at 1 it is spent just when its own ends.",
    "times",
    ("model", "objective", "window"),
)
