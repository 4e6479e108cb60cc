"""What scheduled jobs export: drift jobs and replays."""

from __future__ import annotations

from typing import Final

from monitors.metrics.kinds import Metric, MetricKind

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
