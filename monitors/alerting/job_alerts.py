"""The alerts on scheduled jobs: what they found, and whether they run at all."""

from __future__ import annotations

from monitors import metrics
from monitors.alerting.model_alerts import SCORED
from monitors.alerting.recordings import commas
from monitors.alerting.rows import RowsBehind
from monitors.alerting.rules import AlertRule, Severity, duration
from monitors.alerting.writer import AGE, SERVABLE, AlertWriter

_PUSHED: tuple[str, ...] = ("model", "version")
"""The labels of a job's metrics: a push has no `job` of the servers."""


def on_drift_job(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on the drift job; none when the settings say that there is none."""
    period = w.settings.drift_period_seconds
    if not period:
        return ()
    every, last = duration(period), metrics.DRIFT_LAST_SUCCESS.name
    return (
        _drifted(w, period),
        w.alert(
            "DriftJobMissed", Severity.WARNING,
            f"time() - max by (model) ({last}) > {2 * period}",
            "No drift verdict on {{ $labels.model }}",
            f"The drift job last judged {{{{ $labels.model }}}} {AGE} ago; it should every "
            f"{every}.",
            for_seconds=0,
        ),
        w.alert(
            "DriftMetricsAbsent", Severity.INFO, f"absent({last})",
            "No drift job reports",
            f"Prometheus has no metrics of a drift job, which should run every {every}.",
            for_seconds=2 * period,
        ),
    )  # fmt: skip


def _drifted(w: AlertWriter, period: int) -> AlertRule:
    """A verdict counts while it is young: a retired version's stays on a Pushgateway for ever."""
    return w.alert(
        "DriftDetected", Severity.WARNING,
        f"max by ({commas(_PUSHED)}) ({metrics.DRIFT_DETECTED.name}) == 1\n"
        f"and on ({commas(_PUSHED)})\n"
        f"time() - max by ({commas(_PUSHED)}) ({metrics.DRIFT_LAST_SUCCESS.name}) < {2 * period}",
        f"{SERVABLE} has drifted",
        f"The drift job found that the last window of {SERVABLE} differs from the reference by "
        f"more than its noise and by more than its threshold.",
        for_seconds=0,
        rows=RowsBehind(SCORED, 2 * period),
    )  # fmt: skip


def on_replays(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Without a replay that reported once there is no alert: not everybody schedules one."""
    period = w.settings.replay_period_seconds
    last = metrics.REPLAY_LAST_SUCCESS.name
    differs = w.alert(
        "ReplayDiffers", Severity.CRITICAL,
        f"min by ({commas(_PUSHED)}) ({metrics.REPLAY_AGREES.name}) == 0",
        f"The replay of {SERVABLE} differs",
        f"The last scheduled replay of {SERVABLE} did not reproduce what was answered, or "
        f"its log has lost lines.",
        for_seconds=0,
    )  # fmt: skip
    if not period:
        return (differs,)
    missed = w.alert(
        "ReplayMissed", Severity.WARNING,
        f"time() - max by (model) ({last}) > {2 * period}",
        "No replay of {{ $labels.model }}",
        f"{{{{ $labels.model }}}} was last replayed {AGE} ago; it should be every "
        f"{duration(period)}.",
        for_seconds=0,
    )  # fmt: skip
    return (differs, missed)
