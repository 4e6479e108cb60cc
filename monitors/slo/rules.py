"""The burn-rate alerts of an SLO file, and the alerts on promises that nobody measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from monitors import metrics
from monitors.alerting.model_alerts import FAILED, REFUSED
from monitors.alerting.rows import RowCondition, RowsBehind
from monitors.alerting.rules import AlertRule, RuleGroup, Severity, duration, selector
from monitors.alerting.settings import AlertSettings
from monitors.alerting.writer import AGE, PERCENT, AlertWriter, percent
from monitors.slo.recordings import SloRecordings
from monitors.slo.settings import Indicator, Objective, SloSettings
from monitors.slo.windows import Burn, burns, evaluation_seconds

_MODEL: Final = "{{ $labels.model }}"
_NAMES: Final[Mapping[Indicator, str]] = {
    Indicator.AVAILABILITY: "AvailabilityBudgetBurn",
    Indicator.LATENCY: "LatencyBudgetBurn",
    Indicator.DATA_QUALITY: "DataQualityBudgetBurn",
    Indicator.PARITY: "ParityBudgetBurn",
}
_HAPPENED: Final[Mapping[Indicator, str]] = {
    Indicator.AVAILABILITY: "of the requests to {model} failed",
    Indicator.LATENCY: "of the requests to {model} took longer than {bound} s",
    Indicator.DATA_QUALITY: "of the requests to {model} were refused for their data",
    Indicator.PARITY: "of the replayed rows of {model} differ from what was answered",
}


def build_slo_rules(slo: SloSettings, settings: AlertSettings) -> tuple[RuleGroup, ...]:
    """Return a group for each model and window: recordings first, then its alerts.

    Args:
        slo: the promises.
        settings: job and addresses.
    """
    w = AlertWriter(settings)

    def place(one: Objective) -> tuple[str, int]:
        return one.model, one.window_seconds

    groups = groupby(sorted(slo.objectives, key=place), key=place)
    return tuple(_group(w, slo, model, tuple(found)) for (model, _), found in groups)


def _group(
    w: AlertWriter, slo: SloSettings, model: str, promised: tuple[Objective, ...]
) -> RuleGroup:
    recordings = [SloRecordings(one, w.settings.job) for one in promised]
    alerts = [
        alert
        for one, recorded in zip(promised, recordings, strict=True)
        for alert in (*_burn_alerts(w, slo, one, recorded), *_unmeasured(w, one))
    ]
    return RuleGroup(
        f"samescore-slo-{model}-{duration(promised[0].window_seconds)}",
        tuple(rule for recorded in recordings for rule in recorded.rules()),
        tuple(alerts),
        evaluation_seconds(promised[0]),
    )


def _burn_alerts(
    w: AlertWriter, slo: SloSettings, one: Objective, recorded: SloRecordings
) -> Iterator[AlertRule]:
    for burn in burns(one):
        long, short = (duration(s) for s in (burn.long_seconds, burn.short_seconds))
        limit = f"> {burn.factor:g} * {recorded.budget}"
        ratios = [recorded.ratio(s) for s in (burn.long_seconds, burn.short_seconds)]
        burning = "\nand\n".join(f"{recorded.series(ratio)} {limit}" for ratio in ratios)
        enough = recorded.enough(burn, slo.min_events, slo.min_bad_events)
        yield w.alert(
            _NAMES[one.indicator],
            Severity.CRITICAL if burn.is_fast and one.page else Severity.WARNING,
            f"{burning}\nand\n{enough}",
            f"{_MODEL} burns its {one.indicator.replace('_', ' ')} budget",
            f"{PERCENT} {_happened(one)} in the last {long}, and as fast in the last {short}: "
            f"{_SPEED[burn.factor]} what an objective of {percent(one.objective)} in "
            f"{duration(one.window_seconds)} allows.",
            for_seconds=burn.for_seconds,
            labels=(("model", one.model), ("long_window", long), ("short_window", short)),
            rows=_rows(one, burn),
        )


_SPEED: Final[Mapping[float, str]] = {
    14.4: "more than 14.4 times",
    6.0: "more than 6 times",
    3.0: "more than 3 times",
    1.0: "more than",
}


def _happened(one: Objective) -> str:
    return _HAPPENED[one.indicator].format(model=_MODEL, bound=one.latency_seconds)


def _rows(one: Objective, burn: Burn) -> RowsBehind | None:
    """Return the requests behind a burn; those behind parity only a replay can tell."""
    conditions = {
        Indicator.AVAILABILITY: FAILED,
        Indicator.DATA_QUALITY: REFUSED,
        Indicator.LATENCY: RowCondition(slower_than_seconds=one.latency_seconds),
    }
    if one.indicator not in conditions:
        return None
    lookback = burn.long_seconds + burn.for_seconds
    return RowsBehind(conditions[one.indicator], lookback, ("model",))


def _unmeasured(w: AlertWriter, one: Objective) -> Iterator[AlertRule]:
    """A promise of parity that nobody measures: no replay ever, or none for two periods."""
    if one.indicator is not Indicator.PARITY or one.period_seconds is None:
        return
    last = selector(metrics.REPLAY_LAST_SUCCESS, model=one.model)
    every, limit = duration(one.period_seconds), 2 * one.period_seconds
    yield w.alert(
        "ParityUnmeasured", Severity.WARNING, f"absent({last})",
        f"No replay of {_MODEL} has ever reported",
        f"{_MODEL} has a parity objective, and Prometheus has no metrics of a replay of it, which "
        f"should run every {every}.",
        for_seconds=limit,
        labels=(("model", one.model), ("reason", "never")),
    )  # fmt: skip
    yield w.alert(
        "ParityUnmeasured", Severity.WARNING, f"time() - max by (model) ({last}) > {limit}",
        f"{_MODEL} was not replayed",
        f"{_MODEL} has a parity objective and was last replayed {AGE} ago; it should be every "
        f"{every}.",
        for_seconds=0,
        labels=(("model", one.model), ("reason", "late")),
    )  # fmt: skip
