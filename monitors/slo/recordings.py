"""The recorded series of one objective: bad events, all events, and their ratio by window.

Long windows are sums over what was recorded in the shortest one, so that three days cost no more
than the recorded samples, and the ratio stays one of sums: a busy minute weighs more than a quiet
one. (An average of recorded ratios, as Sloth's rules have it for the whole window, gives the one
failure of an idle night the weight of a busy hour.)
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from consistency.scored import Outcome
from monitors import metrics
from monitors.alerting.recordings import commas
from monitors.alerting.rules import RecordingRule, duration, matchers, selector
from monitors.metrics import PREFIX, Metric
from monitors.slo.settings import Indicator, Objective
from monitors.slo.windows import Burn, base_seconds, burns, evaluation_seconds

_BAD_OUTCOMES: Final[Mapping[Indicator, str]] = {
    Indicator.AVAILABILITY: f"=~{Outcome.BACKEND_ERROR}|{Outcome.TIMEOUT}",
    Indicator.DATA_QUALITY: Outcome.DATA_ERROR,
}
_YOUNG_PERIODS: Final = 2
"""A replay that is older is no measurement; a Pushgateway keeps that of a retired version."""


class SloRecordings:
    """The recording rules of one objective.

    Args:
        one: the objective.
        job: the `job` label of the servers.

    Attributes:
        by: the labels of all these series.
        bad: bad events, a second; of a parity objective, rows of the last replay.
        events: all events, likewise.
    """

    def __init__(self, one: Objective, job: str) -> None:
        self._one, self._job = one, job
        self._base = duration(base_seconds(one))
        is_parity = one.indicator is Indicator.PARITY
        self.by = ("model",) if is_parity else ("job", "model")
        own = {} if is_parity else {"job": job}
        self.selected = matchers({**own, "model": one.model})
        bad, events = self._replayed() if is_parity else self._requests()
        operation = "rows" if is_parity else f"rate{self._base}"
        self.bad = self._named("bad", operation, bad)
        self.events = self._named("events", operation, events)

    def rules(self) -> tuple[RecordingRule, ...]:
        """Return all of them, those first that others are made of."""
        whole = self._one.window_seconds
        windows = sorted({s for b in burns(self._one) for s in (b.long_seconds, b.short_seconds)})
        ratios, left = [self.ratio(seconds) for seconds in windows], self._budget_left()
        return (
            self.bad,
            self.events,
            *ratios,
            left,
            self._shown(metrics.SLO_BUDGET_LEFT, whole, self.series(left)),
            *(
                self._shown(metrics.SLO_BURN_RATE, s, f"{self.series(ratio)} / {self.budget}")
                for s, ratio in zip(windows, ratios, strict=True)
            ),
        )  # fmt: skip

    def ratio(self, seconds: int) -> RecordingRule:
        """Return the share of bad events in a window."""
        is_base = seconds == base_seconds(self._one)
        over = [
            self.series(rule) if is_base else self._summed(rule, seconds)
            for rule in (self.bad, self.events)
        ]
        return self._named("error", f"ratio_rate{duration(seconds)}", "\n/\n".join(over))

    def enough(self, burn: Burn, min_events: int, min_bad_events: int) -> str:
        """Return the guard of an alert: so many events, and bad ones, in its long window."""
        if self._one.indicator is Indicator.PARITY:
            return f"{self.series(self.events)} >= {min_events}"
        every = evaluation_seconds(self._one)
        return "\nand\n".join(
            f"{self._summed(rule, burn.long_seconds)} * {every} >= {least}"
            for rule, least in ((self.events, min_events), (self.bad, min_bad_events))
        )

    def series(self, rule: RecordingRule) -> str:
        """Return the selector of a recorded series of this model."""
        return f"{rule.record}{self.selected}"

    @property
    def budget(self) -> str:
        """The share of events that may be bad, exactly as the objective was written."""
        return str(1 - Decimal(repr(self._one.objective)))

    def _budget_left(self) -> RecordingRule:
        window = self._one.window_seconds
        spent = f"{self._summed(self.bad, window)}\n/\n{self._summed(self.events, window)}"
        return self._named(
            "budget_left", f"ratio_rate{duration(window)}", f"1 - (\n{spent}\n) / {self.budget}"
        )

    def _shown(self, metric: Metric, seconds: int, expr: str) -> RecordingRule:
        """Return a series for boards, of one name for all objectives and windows."""
        labels = {
            "job": self._job,  # what a replay pushes has none of the servers'
            "instance": "all",
            "model": self._one.model,
            "objective": self._one.indicator.value,
            "window": duration(seconds),
        }
        return RecordingRule(metric.name, expr, tuple(labels.items()))

    def _summed(self, rule: RecordingRule, seconds: int) -> str:
        return f"sum_over_time({self.series(rule)}[{duration(seconds)}])"

    def _requests(self) -> tuple[str, str]:
        one = self._one
        if one.indicator is Indicator.LATENCY:
            latency = metrics.STAGE_LATENCY
            everything = self._rate(latency, "_count", stage="total")
            bound = repr(one.latency_seconds)  # as the exporter writes its `le`
            in_time = self._rate(latency, "_bucket", stage="total", le=bound)
            return f"{everything}\n-\n{in_time}", everything
        bad = self._rate(metrics.REQUESTS, outcome=_BAD_OUTCOMES[one.indicator])
        return bad, self._rate(metrics.REQUESTS)

    def _rate(self, metric: Metric, suffix: str = "", **labels: str) -> str:
        series = selector(metric, suffix=suffix, job=self._job, model=self._one.model, **labels)
        return f"sum by ({commas(self.by)}) (rate({series}[{self._base}]))"

    def _replayed(self) -> tuple[str, str]:
        """A row that differs in one stage differs in those that follow: the most is the number."""
        assert self._one.period_seconds is not None
        model = self._one.model
        old = _YOUNG_PERIODS * self._one.period_seconds
        last = selector(metrics.REPLAY_LAST_SUCCESS, model=model)
        young = f"time() - max by (model, version) ({last}) <= {old}"
        differing, rows = (
            f"sum by (model) (\n  max by (model, version) ({selector(metric, model=model)})\n"
            f"  and on (model, version)\n  {young}\n)"
            for metric in (metrics.REPLAY_DIFFERING_ROWS, metrics.REPLAY_ROWS)
        )
        return differing, rows

    def _named(self, what: str, operation: str, expr: str) -> RecordingRule:
        level = "_".join(self.by)
        name = f"{level}:{PREFIX}_slo_{self._one.indicator}_{what}:{operation}"
        return RecordingRule(name, expr, (("model", self._one.model),))
