"""What the alert rules can be told: where, how fast, how much."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from consistency.errors import ConfigError
from monitors.metrics import ARRIVAL_WAIT, STAGE_LATENCY

EXAMPLE_RUNBOOK_URL: Final = "https://example.com/samescore/runbooks"
EXAMPLE_DASHBOARD_URL: Final = "https://example.com/grafana/d/samescore-model"

_RATIOS: Final = (
    "slow_ratio",
    "queue_ratio",
    "error_ratio",
    "data_error_ratio",
    "unseen_ratio",
    "missing_excess_ratio",
    "violation_ratio",
    "rejection_ratio",
    "backend_failure_ratio",
)
_AT_LEAST: Final = {
    "window_seconds": 1,
    "for_seconds": 0,
    "min_requests": 1,
    "min_rows": 1,
    "min_window_rows": 1,
    "workers": 0,
    "model_age_seconds": 0,
    "drift_period_seconds": 0,
    "replay_period_seconds": 0,
}


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Everything that the alert rules can be told.

    Attributes:
        job: the `job` label under which Prometheus scrapes the servers.
        runbook_url: the folder that holds one page for each alert.
        runbook_suffix: what follows the alert's name in its page's address.
        dashboard_url: the board of a model.
        latency_seconds: a request that takes longer is slow; a bucket bound of the latency.
        slow_ratio: more slow requests than this are too many; 0 to 1, as all ratios here.
        queue_seconds: a request that waits longer, for a worker to look at it or for an instance of
            the remote backend to have room, has queued; a bucket bound of the arrivals' waits.
        queue_ratio: more of them than this are too many.
        error_ratio: of requests that the model or its backend failed.
        data_error_ratio: of requests refused for their data.
        unseen_ratio: of scored rows in which one feature is a category that training never saw.
        missing_excess_ratio: of scored rows in which one feature is missing, over and above the
            share in the training sample.
        violation_ratio: of rows that break one rule of the expectation suite.
        rejection_ratio: of HTTP requests that were refused before they reached a servable.
        backend_failure_ratio: of requests sent to one instance of the remote backend that it did
            not answer as it should.
        score_psi: population stability index of the scores, in nats.
        feature_psi: of one feature, for an alert that wakes nobody; 0: none, since real days differ
            by more than any constant, and the drift job judges with what it knows of them.
        min_requests: fewer in the rate window say nothing about a ratio of requests.
        min_rows: fewer in the rate window say nothing about a ratio of rows.
        min_window_rows: fewer in the sliding window say nothing about the scores in it.
        window_seconds: the rate window.
        for_seconds: how long a state must hold; lost log lines and impossible scores wait for
            nothing.
        workers: how many each server should have; 0: no alert on missing ones.
        model_age_seconds: a model whose newest available version is older is stale; 0: no alert.
        drift_period_seconds: between two runs of the drift job; 0: no alerts on that job.
        replay_period_seconds: between two scheduled replays; 0: no alert on missed ones.
    """

    job: str = "samescore"
    runbook_url: str = EXAMPLE_RUNBOOK_URL
    runbook_suffix: str = ".html"
    dashboard_url: str = EXAMPLE_DASHBOARD_URL
    latency_seconds: float = 0.2
    slow_ratio: float = 0.05
    queue_seconds: float = 0.1
    queue_ratio: float = 0.05
    error_ratio: float = 0.01
    data_error_ratio: float = 0.05
    unseen_ratio: float = 0.05
    missing_excess_ratio: float = 0.1
    violation_ratio: float = 0.01
    rejection_ratio: float = 0.05
    backend_failure_ratio: float = 0.05
    score_psi: float = 0.25
    feature_psi: float = 0.0
    min_requests: int = 100
    min_rows: int = 100
    min_window_rows: int = 1000
    window_seconds: int = 300
    for_seconds: int = 300
    workers: int = 0
    model_age_seconds: int = 0
    drift_period_seconds: int = 86_400
    replay_period_seconds: int = 86_400

    def __post_init__(self) -> None:
        for name, metric in (("latency_seconds", STAGE_LATENCY), ("queue_seconds", ARRIVAL_WAIT)):
            if getattr(self, name) not in metric.buckets:
                raise _unusable(
                    name, getattr(self, name),
                    f"only a bucket bound is counted exactly; take one of "
                    f"{', '.join(map(str, metric.buckets))}",
                )  # fmt: skip
        for name in _RATIOS:
            if not 0 < getattr(self, name) < 1:
                raise _unusable(name, getattr(self, name), "give a ratio between 0 and 1")
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise _unusable(name, getattr(self, name), f"give {least} or more")
        if not self.score_psi > 0:
            raise _unusable("score_psi", self.score_psi, "give an index above 0, in nats")
        if not self.feature_psi >= 0:
            raise _unusable("feature_psi", self.feature_psi, "give an index, or 0 for no alert")
        self._check_texts()

    def _check_texts(self) -> None:
        for name in (f.name for f in fields(self) if f.type == "str"):
            value = getattr(self, name)
            # A text ends up inside PromQL, YAML and Go templates.
            if not value.isprintable() or "{{" in value or (not value and name != "runbook_suffix"):
                raise _unusable(name, repr(value), "give printable text without '{{'")


def _unusable(name: str, value: object, remedy: str) -> ConfigError:
    option = f"--{name.replace('_', '-')}"
    return ConfigError(f"alert rules: {name} ({option}) is {value}; {remedy}")
