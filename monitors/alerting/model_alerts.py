"""The alerts on what a model version was asked and what it answered."""

from __future__ import annotations

from typing import Final

from consistency.scored import Outcome
from monitors import metrics
from monitors.alerting.recordings import FEATURE, VERSION, commas
from monitors.alerting.rows import RowCondition, RowMark, RowsBehind
from monitors.alerting.rules import AlertRule, Severity
from monitors.alerting.writer import (
    FEATURE_NAME,
    INDEX,
    NUMBER,
    PERCENT,
    SERVABLE,
    AlertWriter,
    percent,
)
from monitors.metrics import Metric, ScoreAnomaly

FAILED: Final = RowCondition(outcomes=(Outcome.BACKEND_ERROR, Outcome.TIMEOUT))
"""Requests that the model or its backend failed."""
REFUSED: Final = RowCondition(outcomes=(Outcome.DATA_ERROR,))
"""Requests that were refused for their data."""
SCORED: Final = RowCondition(outcomes=(Outcome.OK,))
"""Requests that got a score."""

_OF_FEATURE: Final = ("model", "version", "feature")
_WINDOW_SECONDS: Final = 3600
"""The servers' sliding window, unless they were told otherwise."""


def on_requests(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on ratios of requests."""
    r, s, at = w.recorded, w.settings, w.window
    enough = f"and on ({commas(VERSION)})\n{r.requests.record} >= {s.min_requests}"
    slow = RowCondition(slower_than_seconds=s.latency_seconds)
    queued = RowCondition(slower_than_seconds=s.queue_seconds, stage="queue")
    return (
        w.alert(
            "HighLatency", Severity.WARNING,
            f"{r.slow.record} > {s.slow_ratio}\n{enough}",
            f"{SERVABLE} is slow",
            f"{PERCENT} of the requests to {SERVABLE} took longer than {s.latency_seconds} s "
            f"in the last {at}; {percent(s.slow_ratio)} may.",
            rows=RowsBehind(slow, w.lookback_seconds),
        ),
        w.alert(
            "RequestsQueue", Severity.WARNING,
            f"{r.queued.record} > {s.queue_ratio}\n{enough}",
            f"Requests to {SERVABLE} wait for their backend",
            f"{PERCENT} of the requests to {SERVABLE} waited longer than {s.queue_seconds} s in "
            f"the last {at} for an instance of the remote backend to have room; "
            f"{percent(s.queue_ratio)} may.",
            rows=RowsBehind(queued, w.lookback_seconds),
        ),
        w.alert(
            "HighErrorRatio", Severity.CRITICAL,
            f"{r.failed.record} > {s.error_ratio}\n{enough}",
            f"{SERVABLE} fails requests",
            f"{PERCENT} of the requests to {SERVABLE} ended in a backend error or a timeout "
            f"in the last {at}; {percent(s.error_ratio)} may.",
            rows=RowsBehind(FAILED, w.lookback_seconds),
        ),
        w.alert(
            "HighDataErrorRatio", Severity.WARNING,
            f"{r.refused.record} > {s.data_error_ratio}\n{enough}",
            f"{SERVABLE} refuses the data of its requests",
            f"{PERCENT} of the requests to {SERVABLE} were refused for their data in the "
            f"last {at}; {percent(s.data_error_ratio)} may.",
            rows=RowsBehind(REFUSED, w.lookback_seconds),
        ),
    )  # fmt: skip


def on_features(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on single features and rules of a suite."""
    shifted = (_feature_psi(w),) if w.settings.feature_psi else ()
    return (_unseen(w), _missing(w), *shifted, _violations(w))


def _unseen(w: AlertWriter) -> AlertRule:
    r, s = w.recorded, w.settings
    return w.alert(
        "UnseenCategories", Severity.WARNING,
        f"{r.unseen.record} > {s.unseen_ratio}\n{_enough_rows(w)}",
        f"{SERVABLE} meets unseen categories of {FEATURE_NAME}",
        f"In {PERCENT} of the rows that {SERVABLE} scored in the last {w.window}, feature "
        f"{FEATURE_NAME} was a category that training never saw; "
        f"{percent(s.unseen_ratio)} may be.",
        rows=RowsBehind(RowCondition(mark=RowMark.UNSEEN), w.lookback_seconds, _OF_FEATURE),
    )  # fmt: skip


def _missing(w: AlertWriter) -> AlertRule:
    r, s = w.recorded, w.settings
    trained = r.series(metrics.FEATURE_REFERENCE_MISSING)
    return w.alert(
        "MissingValues", Severity.WARNING,
        f"{r.missing.record}\n- on ({commas(FEATURE)})\n"
        f"max by ({commas(FEATURE)}) ({trained})\n> {s.missing_excess_ratio}\n{_enough_rows(w)}",
        f"{SERVABLE} misses values of {FEATURE_NAME}",
        f"Feature {FEATURE_NAME} of {SERVABLE} is missing more often than in the training "
        f"sample, by {PERCENT} of the rows that were scored in the last {w.window}; "
        f"{percent(s.missing_excess_ratio)} may be.",
        rows=RowsBehind(RowCondition(mark=RowMark.MISSING), w.lookback_seconds, _OF_FEATURE),
    )  # fmt: skip


def _feature_psi(w: AlertWriter) -> AlertRule:
    """Wakes nobody: real days differ, and whether that is drift the drift job judges."""
    limit = w.settings.feature_psi
    return w.alert(
        "FeaturePsiHigh", Severity.INFO,
        _in_window(w, metrics.FEATURE_PSI, f"> {limit}", FEATURE),
        f"Feature {FEATURE_NAME} of {SERVABLE} has shifted",
        f"The population stability index of feature {FEATURE_NAME} of {SERVABLE} against the "
        f"reference is {INDEX} nats; {limit} may be.",
        rows=RowsBehind(SCORED, _WINDOW_SECONDS),
    )  # fmt: skip


def _violations(w: AlertWriter) -> AlertRule:
    r, s = w.recorded, w.settings
    all_rows = r.increase(("job", "model"), metrics.ROWS)
    return w.alert(
        "SuiteViolations", Severity.WARNING,
        f"{r.violations.record} > {s.violation_ratio}\n"
        f"and on (job, model)\n{all_rows} >= {s.min_rows}",
        "{{ $labels.model }} gets rows that break {{ $labels.rule }}",
        f"{PERCENT} of the rows sent to {{{{ $labels.model }}}} in the last {w.window} broke "
        f"the rule {{{{ $labels.rule }}}} of its expectation suite (action: "
        f"{{{{ $labels.action }}}}); {percent(s.violation_ratio)} may.",
        rows=RowsBehind(RowCondition(mark=RowMark.BROKE_A_RULE), w.lookback_seconds, ("model",)),
    )  # fmt: skip


def on_scores(w: AlertWriter) -> tuple[AlertRule, ...]:
    """Return the alerts on scores."""
    s = w.settings
    kinds = f"=~{ScoreAnomaly.NAN}|{ScoreAnomaly.INFINITE}"
    anomalies = w.recorded.increase((*VERSION, "kind"), metrics.SCORE_ANOMALIES, kind=kinds)
    impossible = RowCondition(mark=RowMark.SCORE_NOT_FINITE)
    return (
        w.alert(
            "ScorePsiHigh", Severity.WARNING,
            _in_window(w, metrics.SCORE_PSI, f"> {s.score_psi}"),
            f"The scores of {SERVABLE} have shifted",
            f"The population stability index of the scores of {SERVABLE} against the "
            f"reference is {INDEX} nats; {s.score_psi} may be.",
            rows=RowsBehind(SCORED, _WINDOW_SECONDS),
        ),
        w.alert(
            "ScoresConstant", Severity.CRITICAL,
            _in_window(w, metrics.SCORES_CONSTANT, "== 1"),
            f"{SERVABLE} gives one and the same score",
            f"All scores of {SERVABLE} in the sliding window, at least {s.min_window_rows} "
            f"rows, are the same number.",
            rows=RowsBehind(SCORED, _WINDOW_SECONDS),
        ),
        w.alert(
            "ScoreAnomalies", Severity.CRITICAL, f"{anomalies} > 0",
            f"{SERVABLE} gives scores that are no numbers",
            f"{SERVABLE} gave about {NUMBER} scores of the kind {{{{ $labels.kind }}}} in "
            f"the last {w.window}.",
            for_seconds=0,
            rows=RowsBehind(impossible, s.window_seconds),
        ),
    )  # fmt: skip


def _enough_rows(w: AlertWriter) -> str:
    return f"and on ({commas(VERSION)})\n{w.recorded.rows.record} >= {w.settings.min_rows}"


def _in_window(
    w: AlertWriter, metric: Metric, condition: str, by: tuple[str, ...] = VERSION
) -> str:
    """Return a gauge of the sliding window, where it holds, once enough rows are in it."""
    r = w.recorded
    return (
        f"max by ({commas(by)}) (\n"
        f"  {r.series(metric)} {condition}\n"
        f"  and on (job, instance, model, version)\n"
        f"  {r.series(metrics.WINDOW_ROWS)} >= {w.settings.min_window_rows}\n)"
    )
