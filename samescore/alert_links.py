"""From an alert to the logged requests behind it.

An alert's definition holds beside its expression what a logged request must be (`AlertRule.rows`).
Here it is looked up by the alert's name and put together with what only the firing alert knows: its
labels, and when it fired.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from consistency.log import LoggedRequest
from consistency.log.selection import LogSelection
from monitors.alerting.alerts import build_rules
from monitors.alerting.rows import RowCondition, RowMark
from monitors.alerting.rules import AlertRule
from monitors.alerting.settings import AlertSettings
from monitors.metrics import STAGE_LATENCY
from monitors.reference import ReferenceSet
from monitors.slo.rules import build_slo_rules
from monitors.slo.settings import Indicator, Objective, SloSettings

_US: Final = 1_000_000
_EXAMPLE: Final = SloSettings(
    tuple(
        Objective(
            "model",
            indicator,
            0.99,
            latency_seconds=0.2 if indicator is Indicator.LATENCY else None,
            period_seconds=86_400 if indicator is Indicator.PARITY else None,
        )
        for indicator in Indicator
    )
)
"""Stands for the user's file: the alerts of objectives have the same names whatever is in it."""


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Which requests are asked for.

    Attributes:
        alert: its name.
        condition: what a request must be.
        lookback_seconds: how long before the alert fired.
        feature: the label of the alert; None for any.
        references: the frozen distribution of the bundle that served; see `RowCondition.rows_of`.
    """

    alert: str
    condition: RowCondition
    lookback_seconds: int
    feature: str | None = None
    references: ReferenceSet | None = None

    def within(self, selection: LogSelection, at_us: int) -> LogSelection:
        """Return a selection, narrowed to the alert's time and outcomes where it names none.

        Args:
            selection: what was asked for beside the alert.
            at_us: when the alert fired, in microseconds since the epoch.
        """
        until = at_us if selection.until_us is None else selection.until_us
        since = selection.since_us
        if since is None:
            since = until - self.lookback_seconds * _US
        outcomes = selection.outcomes or frozenset(self.condition.outcomes)
        return replace(selection, since_us=since, until_us=until, outcomes=outcomes)

    def find(
        self, requests: Iterable[LoggedRequest]
    ) -> Iterator[tuple[LoggedRequest, tuple[int, ...]]]:
        """Yield each request that is behind the alert, with those of its rows that are."""
        for request in requests:
            rows = self.condition.rows_of(request, self.feature, self.references)
            if rows is not None:
                yield request, rows


def alert_query(
    name: str,
    *,
    lookback_seconds: int | None = None,
    slower_than_seconds: float | None = None,
    feature: str | None = None,
    bundle: Path | None = None,
) -> AlertQuery:
    """Look up an alert.

    Args:
        name: as in the rules.
        lookback_seconds: None for that of the alert with the rules' default times.
        slower_than_seconds: the latency bound with which the rules were built; None for the
            default.
        feature: the alert's label `feature`.
        bundle: that served, for what only its frozen reference can tell.

    Raises:
        ConfigError: no such alert, none with logged requests, or an option does not fit it.
        BundleError: no such bundle.
    """
    rule = _alert(name)
    if rule.rows is None:
        raise ConfigError(
            f"--alert {name}: no logged requests are behind it; its runbook, docs/runbooks/"
            f"{name}.md, says where to look"
        )
    condition = _with_bound(rule, rule.rows.condition, slower_than_seconds)
    of_rows = condition.mark not in (None, RowMark.SCORE_NOT_FINITE)
    if feature is not None and not of_rows:
        raise ConfigError(f"--feature {feature}: {name} is about no feature; leave it out")
    lookback = rule.rows.lookback_seconds if lookback_seconds is None else lookback_seconds
    data = b"" if bundle is None else open_bundle(bundle).reference()
    references = ReferenceSet.from_bytes(data) if data else None
    return AlertQuery(name, condition, lookback, feature, references)


def _alert(name: str) -> AlertRule:
    settings = AlertSettings(workers=1, feature_psi=0.25)
    groups = (*build_rules(settings), *build_slo_rules(_EXAMPLE, settings))
    known: dict[str, AlertRule] = {}
    for alert in (a for group in groups for a in group.alerts):
        known.setdefault(alert.name, alert)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"--alert {name}: no such alert; {meant}")
    return known[name]


def _with_bound(rule: AlertRule, condition: RowCondition, given: float | None) -> RowCondition:
    bound = condition.slower_than_seconds
    if bound is None:
        if given is not None:
            raise ConfigError(
                f"--slower-than {given}: {rule.name} is about no latency; leave it out"
            )
        return condition
    if given is None:
        if rule.name.endswith("BudgetBurn"):
            raise ConfigError(
                f"--alert {rule.name}: its bound stands in your SLO file; give latency_seconds of "
                f"the model as --slower-than SECONDS"
            )
        return condition
    if given not in STAGE_LATENCY.buckets:
        raise ConfigError(
            f"--slower-than {given}: the rules compare bucket bounds alone; take one of "
            f"{', '.join(map(str, STAGE_LATENCY.buckets))}"
        )
    return replace(condition, slower_than_seconds=given)
