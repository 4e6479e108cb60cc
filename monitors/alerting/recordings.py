"""The recorded ratios that the alerts compare, and the PromQL they are made of.

A ratio is a sum over a sum, so that ten servers count as one. No expression makes an answer out of
missing data.
"""

from __future__ import annotations

from typing import Final

from consistency.scored import Outcome
from monitors import metrics
from monitors.alerting.rules import RecordingRule, duration, selector
from monitors.alerting.settings import AlertSettings
from monitors.metrics import Metric

VERSION: Final = ("job", "model", "version")
FEATURE: Final = (*VERSION, "feature")
SUITE: Final = ("job", "model", "rule", "action")
REASON: Final = ("job", "reason")
SERVER: Final = ("job", "instance")
BACKEND: Final = ("job", "backend")

_FAILED: Final = f"=~{Outcome.BACKEND_ERROR}|{Outcome.TIMEOUT}"
_NOT_ANSWERED: Final = "!~ok|no_such_version"
"""An instance that has just unloaded a version says so, and another one answers: no failure."""


class Recordings:
    """The recording rules of one job and one rate window.

    Args:
        settings: see `AlertSettings`.

    Attributes:
        requests: requests in the window, by model version.
        slow, queued, failed, refused: ratios of them.
        rows: scored rows in the window, by model version.
        unseen, missing: ratios of them, by feature.
        violations: ratio of all rows that broke a rule of the expectation suite.
        attempts: requests sent to an instance of the remote backend in the window.
        not_answered: ratio of them.
        late: ratio of the looked-at arrivals on a server that waited too long.
        rejected: ratio of all HTTP requests that reached no servable, by reason.
    """

    def __init__(self, settings: AlertSettings) -> None:
        self._job = settings.job
        self._window = duration(settings.window_seconds)
        self.requests = self._number("requests", metrics.REQUESTS, VERSION)
        self.slow = self._ratio(VERSION, "requests_slow", self._slow(settings.latency_seconds))
        self.queued = self._ratio(VERSION, "requests_queued", self._queued(settings.queue_seconds))
        self.failed = self._ratio(VERSION, "requests_failed", self._ended(_FAILED))
        self.refused = self._ratio(VERSION, "requests_data_error", self._ended(Outcome.DATA_ERROR))
        self.rows = self._number("rows_scored", metrics.ROWS, VERSION, outcome=Outcome.OK)
        self.unseen = self._ratio(
            FEATURE, "feature_unseen", self._of_scored_rows(metrics.FEATURE_UNSEEN)
        )
        self.missing = self._ratio(
            FEATURE, "feature_missing", self._of_scored_rows(metrics.FEATURE_MISSING)
        )
        self.violations = self._ratio(SUITE, "suite_violations", self._broken())
        self.attempts = self._number("backend_attempts", metrics.BACKEND_ATTEMPTS, BACKEND)
        self.not_answered = self._ratio(BACKEND, "backend_not_answered", self._unanswered())
        self.late = self._ratio(SERVER, "arrivals_late", self._late(settings.queue_seconds))
        self.rejected = self._ratio(REASON, "http_rejected", self._turned_away())

    def series(self, metric: Metric, **labels: str) -> str:
        """Return the selector of a metric of this job."""
        return selector(metric, job=self._job, **labels)

    def increase(self, by: tuple[str, ...], metric: Metric, **labels: str) -> str:
        """Return by how much a counter grew in the window, summed."""
        return f"sum by ({commas(by)}) (increase({self.series(metric, **labels)}[{self._window}]))"

    def _rate(self, by: tuple[str, ...], metric: Metric, *, suffix: str = "", **labels: str) -> str:
        series = selector(metric, suffix=suffix, job=self._job, **labels)
        return f"sum by ({commas(by)}) (rate({series}[{self._window}]))"

    def _slow(self, latency_seconds: float) -> str:
        everything = self._rate(VERSION, metrics.STAGE_LATENCY, suffix="_count", stage="total")
        slow = self._over(VERSION, metrics.STAGE_LATENCY, latency_seconds, stage="total")
        return f"{slow}\n/\n{everything}"

    def _queued(self, queue_seconds: float) -> str:
        """Of all requests: one that waited for nothing is not in its stage's histogram."""
        everything = self._rate(VERSION, metrics.STAGE_LATENCY, suffix="_count", stage="total")
        queued = self._over(VERSION, metrics.STAGE_LATENCY, queue_seconds, stage="queue")
        return f"{queued}\n/\n{everything}"

    def _late(self, queue_seconds: float) -> str:
        looks = self._rate(SERVER, metrics.ARRIVAL_WAIT, suffix="_count")
        return f"{self._over(SERVER, metrics.ARRIVAL_WAIT, queue_seconds)}\n/\n{looks}"

    def _unanswered(self) -> str:
        part = self._rate(BACKEND, metrics.BACKEND_ATTEMPTS, result=_NOT_ANSWERED)
        return f"{part}\n/\n{self._rate(BACKEND, metrics.BACKEND_ATTEMPTS)}"

    def _over(self, by: tuple[str, ...], metric: Metric, seconds: float, **labels: str) -> str:
        """Return the rate of what took longer than a bucket bound."""
        everything = self._rate(by, metric, suffix="_count", **labels)
        bound = repr(seconds)  # as the exporter writes its `le`
        in_time = self._rate(by, metric, suffix="_bucket", **labels, le=bound)
        return f"(\n  {everything}\n  -\n  {in_time}\n)"

    def _ended(self, outcome: str) -> str:
        part = self._rate(VERSION, metrics.REQUESTS, outcome=outcome)
        return f"{part}\n/\n{self._rate(VERSION, metrics.REQUESTS)}"

    def _of_scored_rows(self, metric: Metric) -> str:
        rows = self._rate(VERSION, metrics.ROWS, outcome=Outcome.OK)
        part = self._rate(FEATURE, metric)
        return f"{part}\n/ on ({commas(VERSION)}) group_left ()\n{rows}"

    def _broken(self) -> str:
        part = self._rate(SUITE, metrics.SUITE_VIOLATIONS)
        rows = self._rate(("job", "model"), metrics.ROWS)
        return f"{part}\n/ on (job, model) group_left ()\n{rows}"

    def _turned_away(self) -> str:
        """Of all that came: rejected ones have no model, so they are in no other ratio."""
        job = ("job",)
        part, rejected = (self._rate(by, metrics.HTTP_REJECTIONS) for by in (REASON, job))
        everything = f"(\n  {rejected}\n  + on (job)\n  {self._rate(job, metrics.REQUESTS)}\n)"
        return f"{part}\n/ on (job) group_left ()\n{everything}"

    def _number(
        self, what: str, metric: Metric, level: tuple[str, ...], **labels: str
    ) -> RecordingRule:
        expr = self.increase(level, metric, **labels)
        return self._named(level, what, f"increase{self._window}", expr)

    def _ratio(self, level: tuple[str, ...], what: str, expr: str) -> RecordingRule:
        return self._named(level, what, f"ratio_rate{self._window}", expr)

    def _named(self, level: tuple[str, ...], what: str, operation: str, expr: str) -> RecordingRule:
        return RecordingRule(f"{'_'.join(level)}:{metrics.PREFIX}_{what}:{operation}", expr)


def commas(labels: tuple[str, ...]) -> str:
    """Return label names as `by` and `on` take them."""
    return ", ".join(labels)
