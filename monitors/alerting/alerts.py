"""The alert rules, built from the metric catalogue; nothing is read and no clock is looked at.

A ratio is no alert before enough requests are behind it. Data that are missing have alerts of their
own; no other expression answers in their place.
"""

from __future__ import annotations

from typing import Final

from consistency.scored import GateState
from monitors import metrics
from monitors.alerting.recordings import FEATURE, VERSION, Recordings, commas
from monitors.alerting.rules import AlertRule, RuleGroup, Severity, duration
from monitors.alerting.settings import AlertSettings
from monitors.metrics import Metric, ScoreAnomaly

PREFIX: Final = "Samescore"

_SERVABLE: Final = "{{ $labels.model }}/{{ $labels.version }}"
_FEATURE: Final = "{{ $labels.feature }}"
_SERVER: Final = "{{ $labels.instance }}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"
_VARIABLES: Final = ("instance", "model", "version")
"""The variables of the boards that are labels of alerts."""
_NUMBER: Final = '{{ $value | printf "%.0f" }}'


def build_rules(settings: AlertSettings) -> tuple[RuleGroup, ...]:
    """Return the recording rules and the alerts, in groups.

    Args:
        settings: thresholds, times and addresses.
    """
    return _Alerts(settings).groups()


class _Alerts:
    """Writes the alerts of one job.

    Args:
        settings: see `AlertSettings`.
    """

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        self._recorded = Recordings(settings)
        self._window = duration(settings.window_seconds)

    def groups(self) -> tuple[RuleGroup, ...]:
        r, s = self._recorded, self._settings
        of_requests = (r.requests, r.slow, r.failed, r.refused)
        of_rows = (r.rows, r.unseen, r.missing, r.violations)
        servers = (*self._presence(), *self._incidents(), *(self._workers() if s.workers else ()))
        groups: tuple[RuleGroup, ...] = (
            RuleGroup("samescore-requests", of_requests, self._requests()),
            RuleGroup("samescore-features", of_rows, self._features()),
            RuleGroup("samescore-scores", (), self._scores()),
            RuleGroup("samescore-servers", (), servers),
        )
        if s.drift_period_seconds:
            groups = (*groups, RuleGroup("samescore-drift-job", (), self._drift_job()))
        return (*groups, RuleGroup("samescore-replays", (), self._replays()))

    def _requests(self) -> tuple[AlertRule, ...]:
        r, s, at = self._recorded, self._settings, self._window
        enough = f"and on ({commas(VERSION)})\n{r.requests.record} >= {s.min_requests}"
        return (
            self._alert(
                "HighLatency", Severity.WARNING,
                f"{r.slow.record} > {s.slow_ratio}\n{enough}",
                f"{_SERVABLE} is slow",
                f"{_PERCENT} of the requests to {_SERVABLE} took longer than {s.latency_seconds} s "
                f"in the last {at}; {_percent(s.slow_ratio)} may.",
            ),
            self._alert(
                "HighErrorRatio", Severity.CRITICAL,
                f"{r.failed.record} > {s.error_ratio}\n{enough}",
                f"{_SERVABLE} fails requests",
                f"{_PERCENT} of the requests to {_SERVABLE} ended in a backend error or a timeout "
                f"in the last {at}; {_percent(s.error_ratio)} may.",
            ),
            self._alert(
                "HighDataErrorRatio", Severity.WARNING,
                f"{r.refused.record} > {s.data_error_ratio}\n{enough}",
                f"{_SERVABLE} refuses the data of its requests",
                f"{_PERCENT} of the requests to {_SERVABLE} were refused for their data in the "
                f"last {at}; {_percent(s.data_error_ratio)} may.",
            ),
        )  # fmt: skip

    def _features(self) -> tuple[AlertRule, ...]:
        r, s, at = self._recorded, self._settings, self._window
        enough = f"and on ({commas(VERSION)})\n{r.rows.record} >= {s.min_rows}"
        trained = r.series(metrics.FEATURE_REFERENCE_MISSING)
        all_rows = r.increase(("job", "model"), metrics.ROWS)
        return (
            self._alert(
                "UnseenCategories", Severity.WARNING,
                f"{r.unseen.record} > {s.unseen_ratio}\n{enough}",
                f"{_SERVABLE} meets unseen categories of {_FEATURE}",
                f"In {_PERCENT} of the rows that {_SERVABLE} scored in the last {at}, feature "
                f"{_FEATURE} was a category that training never saw; "
                f"{_percent(s.unseen_ratio)} may be.",
            ),
            self._alert(
                "MissingValues", Severity.WARNING,
                f"{r.missing.record}\n- on ({commas(FEATURE)})\n"
                f"max by ({commas(FEATURE)}) ({trained})\n> {s.missing_excess_ratio}\n{enough}",
                f"{_SERVABLE} misses values of {_FEATURE}",
                f"Feature {_FEATURE} of {_SERVABLE} is missing more often than in the training "
                f"sample, by {_PERCENT} of the rows that were scored in the last {at}; "
                f"{_percent(s.missing_excess_ratio)} may be.",
            ),
            self._alert(
                "SuiteViolations", Severity.WARNING,
                f"{r.violations.record} > {s.violation_ratio}\n"
                f"and on (job, model)\n{all_rows} >= {s.min_rows}",
                "{{ $labels.model }} gets rows that break {{ $labels.rule }}",
                f"{_PERCENT} of the rows sent to {{{{ $labels.model }}}} in the last {at} broke "
                f"the rule {{{{ $labels.rule }}}} of its expectation suite (action: "
                f"{{{{ $labels.action }}}}); {_percent(s.violation_ratio)} may.",
            ),
        )  # fmt: skip

    def _scores(self) -> tuple[AlertRule, ...]:
        s = self._settings
        kinds = f"=~{ScoreAnomaly.NAN}|{ScoreAnomaly.INFINITE}"
        anomalies = self._recorded.increase((*VERSION, "kind"), metrics.SCORE_ANOMALIES, kind=kinds)
        return (
            self._alert(
                "ScorePsiHigh", Severity.WARNING,
                self._in_window(metrics.SCORE_PSI, f"> {s.score_psi}"),
                f"The scores of {_SERVABLE} have shifted",
                f"The population stability index of the scores of {_SERVABLE} against the "
                f'reference is {{{{ $value | printf "%.3f" }}}} nats; {s.score_psi} may be.',
            ),
            self._alert(
                "ScoresConstant", Severity.CRITICAL,
                self._in_window(metrics.SCORES_CONSTANT, "== 1"),
                f"{_SERVABLE} gives one and the same score",
                f"All scores of {_SERVABLE} in the sliding window, at least {s.min_window_rows} "
                f"rows, are the same number.",
            ),
            self._alert(
                "ScoreAnomalies", Severity.CRITICAL, f"{anomalies} > 0",
                f"{_SERVABLE} gives scores that are no numbers",
                f"{_SERVABLE} gave about {_NUMBER} scores of the kind {{{{ $labels.kind }}}} in "
                f"the last {self._window}.",
                for_seconds=0,
            ),
        )  # fmt: skip

    def _in_window(self, metric: Metric, condition: str) -> str:
        """Return a gauge of the sliding window, where it holds, once enough rows are in it."""
        r, s = self._recorded, self._settings
        return (
            f"max by ({commas(VERSION)}) (\n"
            f"  {r.series(metric)} {condition}\n"
            f"  and on (job, instance, model, version)\n"
            f"  {r.series(metrics.WINDOW_ROWS)} >= {s.min_window_rows}\n)"
        )

    def _presence(self) -> tuple[AlertRule, ...]:
        r, job = self._recorded, self._settings.job
        build, gate = r.series(metrics.BUILD), r.series(metrics.SERVABLE_GATE)
        unverified = r.series(metrics.SERVABLE_GATE, gate=GateState.UNVERIFIED)
        return (
            self._alert(
                "MetricsAbsent", Severity.CRITICAL, f"absent({build})",
                f"No metrics of job {job}",
                f"Prometheus has no metrics of any server of the job {job}: none is up, none can "
                f"be reached, or the scrape configuration gives the job another name.",
            ),
            self._alert(
                "NothingServed", Severity.CRITICAL,
                f"group by (job, instance) ({build})\nunless on (job, instance)\n"
                f"group by (job, instance) ({gate})",
                f"{_SERVER} serves no model",
                f"{_SERVER} is up, but no version of any model is available on it.",
            ),
            self._alert(
                "GateUnverified", Severity.WARNING,
                f"max by ({commas(VERSION)}, decimals) ({unverified}) == 1",
                f"{_SERVABLE} is served unverified",
                f"{_SERVABLE} did not reproduce its golden scores to {{{{ $labels.decimals }}}} "
                f"decimals on the machine that serves it; --gate report let it go live.",
            ),
        )  # fmt: skip

    def _workers(self) -> tuple[AlertRule, ...]:
        r, least = self._recorded, self._settings.workers
        alert = self._alert(
            "WorkersMissing", Severity.WARNING, f"{r.series(metrics.WORKERS)} < {least}",
            f"{_SERVER} has lost workers",
            f"{{{{ $value }}}} worker processes of {_SERVER} are alive; there should be {least}.",
        )  # fmt: skip
        return (alert,)

    def _incidents(self) -> tuple[AlertRule, ...]:
        r, at = self._recorded, self._window
        drops = r.increase(("job", "instance"), metrics.LOG_DROPS)
        failures = r.increase(("job", "instance", "observer"), metrics.OBSERVER_FAILURES)
        return (
            self._alert(
                "LogDrops", Severity.CRITICAL, f"{drops} > 0",
                f"{_SERVER} loses log lines",
                f"{_SERVER} answered about {_NUMBER} requests in the last {at} that are not in "
                f"its request log.",
                for_seconds=0,
            ),
            self._alert(
                "ObserverFailures", Severity.WARNING, f"{failures} > 0",
                f"{{{{ $labels.observer }}}} fails on {_SERVER}",
                f"The observer {{{{ $labels.observer }}}} of {_SERVER} failed about {_NUMBER} "
                f"times in the last {at}; what it measures lacks those requests.",
                for_seconds=0,
            ),
        )  # fmt: skip

    def _drift_job(self) -> tuple[AlertRule, ...]:
        period = self._settings.drift_period_seconds
        every, last = duration(period), metrics.DRIFT_LAST_SUCCESS.name
        return (
            self._alert(
                "DriftJobMissed", Severity.WARNING,
                f"time() - max by (model) ({last}) > {2 * period}",
                "No drift verdict on {{ $labels.model }}",
                f"The drift job last judged {{{{ $labels.model }}}} "
                f"{{{{ $value | humanizeDuration }}}} ago; it should every {every}.",
                for_seconds=0,
            ),
            self._alert(
                "DriftMetricsAbsent", Severity.INFO, f"absent({last})",
                "No drift job reports",
                f"Prometheus has no metrics of a drift job, which should run every {every}.",
                for_seconds=2 * period,
            ),
        )  # fmt: skip

    def _replays(self) -> tuple[AlertRule, ...]:
        """Without a replay that reported once there is no alert: not everybody schedules one."""
        period = self._settings.replay_period_seconds
        last = metrics.REPLAY_LAST_SUCCESS.name
        differs = self._alert(
            "ReplayDiffers", Severity.CRITICAL,
            f"min by ({commas(VERSION)}) ({metrics.REPLAY_AGREES.name}) == 0",
            f"The replay of {_SERVABLE} differs",
            f"The last scheduled replay of {_SERVABLE} did not reproduce what was answered, or "
            f"its log has lost lines.",
            for_seconds=0,
        )  # fmt: skip
        if not period:
            return (differs,)
        missed = self._alert(
            "ReplayMissed", Severity.WARNING,
            f"time() - max by (model) ({last}) > {2 * period}",
            "No replay of {{ $labels.model }}",
            f"{{{{ $labels.model }}}} was last replayed "
            f"{{{{ $value | humanizeDuration }}}} ago; it should be every {duration(period)}.",
            for_seconds=0,
        )  # fmt: skip
        return (differs, missed)

    def _alert(
        self,
        name: str,
        severity: Severity,
        expr: str,
        summary: str,
        description: str,
        *,
        for_seconds: int | None = None,
    ) -> AlertRule:
        s, full = self._settings, f"{PREFIX}{name}"
        return AlertRule(
            name=full,
            expr=expr,
            for_seconds=s.for_seconds if for_seconds is None else for_seconds,
            severity=severity,
            summary=summary,
            description=description,
            runbook_url=f"{s.runbook_url.rstrip('/')}/{full}{s.runbook_suffix}",
            dashboard_url=_board(s.dashboard_url, description),
        )


def _board(url: str, description: str) -> str:
    """Return the board's address with its variables set to the labels that the alert speaks of."""
    named = [label for label in _VARIABLES if f"$labels.{label} " in description]
    chosen = "&".join(f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in named)
    return f"{url}{'&' if '?' in url else '?'}{chosen}" if chosen else url


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.4g}%"
