"""The rules of an SLO file are the Workbook's table, in proportion, and keep the conventions."""

from __future__ import annotations

import re
from dataclasses import replace

import promql_parser
import pytest

from monitors.alerting.rules import RuleGroup, duration, to_yaml
from monitors.alerting.settings import AlertSettings
from monitors.metrics import SLO_BUDGET_LEFT, SLO_BURN_RATE, SLO_CATALOGUE, STAGE_LATENCY
from monitors.slo.recordings import SloRecordings
from monitors.slo.rules import build_slo_rules
from monitors.slo.settings import Indicator, Objective, SloSettings
from monitors.slo.windows import Burn, base_seconds, burns, evaluation_seconds

DAY = 86_400
AVAILABLE = Objective("m", Indicator.AVAILABILITY, 0.999)
FAST = Objective("m", Indicator.LATENCY, 0.99, latency_seconds=0.2)
CLEAN = Objective("m", Indicator.DATA_QUALITY, 0.95, page=False)
SAME = Objective("m", Indicator.PARITY, 0.9999, period_seconds=DAY)
ALL = (AVAILABLE, FAST, CLEAN, SAME, replace(AVAILABLE, model="n", window_seconds=7 * DAY))


SHOWN = {metric.name for metric in SLO_CATALOGUE}
"""What boards show: one name for all objectives and windows."""


def rules(*promised: Objective) -> tuple[RuleGroup, ...]:
    return build_slo_rules(SloSettings(promised), AlertSettings())


def test_the_windows_of_thirty_days_are_those_of_the_workbook() -> None:
    assert burns(AVAILABLE) == (
        Burn(3_600, 300, 14.4, 120, True),
        Burn(21_600, 1_800, 6.0, 900, True),
        Burn(DAY, 7_200, 3.0, 3_600, False),
        Burn(3 * DAY, 21_600, 1.0, 10_800, False),
    )
    assert (base_seconds(AVAILABLE), evaluation_seconds(AVAILABLE)) == (300, 60)


def test_other_windows_are_in_proportion() -> None:
    fortnight = replace(AVAILABLE, window_seconds=15 * DAY)
    for half, whole in zip(burns(fortnight), burns(AVAILABLE), strict=True):
        assert (half.long_seconds, half.short_seconds) == (
            whole.long_seconds // 2,
            whole.short_seconds // 2,
        )
        assert (half.for_seconds, half.factor) == (whole.for_seconds // 2, whole.factor)
    assert evaluation_seconds(fortnight) == 30


@pytest.mark.parametrize(("objective", "factors"), [(0.5, [1.0]), (0.9, [6, 3, 1]), (0.8, [3, 1])])
def test_a_burn_that_cannot_be_has_no_alert(objective: float, factors: list[float]) -> None:
    assert [b.factor for b in burns(replace(AVAILABLE, objective=objective))] == factors


def test_every_expression_is_promql_and_reads_what_is_there() -> None:
    for group in rules(*ALL):
        recorded = {rule.record for rule in group.recordings}
        for expr in [*(r.expr for r in group.recordings), *(a.expr for a in group.alerts)]:
            promql_parser.parse(expr)
            assert set(re.findall(r"\w+:samescore_\w+:\w+", expr)) <= recorded
            assert not re.search(r"\bor\b|\bvector\(|avg_over_time|\bscalar\(", expr)


def test_a_ratio_is_a_sum_over_a_sum() -> None:
    for group in rules(*ALL):
        for rule in group.recordings:
            level, metric, operation = rule.record.split(":")
            assert level in ("job_model", "model")
            assert metric.startswith("samescore_slo_")
            if operation.startswith("ratio_") and not operation.endswith(("rate5m", "rate70s")):
                assert rule.expr.count("sum_over_time(") == 2


def test_boards_get_every_window_of_every_objective_under_one_name() -> None:
    for one in ALL:
        shown = [r for g in rules(one) for r in g.recordings if r.record in SHOWN]
        labels = [dict(rule.labels) for rule in shown]
        for found in labels:
            assert found | {"window": ""} == {
                "job": "samescore", "instance": "all", "model": one.model,
                "objective": one.indicator.value, "window": "",
            }  # fmt: skip
        windows = {s for b in burns(one) for s in (b.long_seconds, b.short_seconds)}
        assert [r.record for r in shown].count(SLO_BUDGET_LEFT.name) == 1
        assert [r.record for r in shown].count(SLO_BURN_RATE.name) == len(windows)
        assert labels[0]["window"] == duration(one.window_seconds)


def test_a_fast_burn_pages_unless_it_is_told_not_to() -> None:
    def severities(one: Objective) -> list[str]:
        return [a.severity.value for g in rules(one) for a in g.alerts if "Burn" in a.name]

    assert severities(AVAILABLE) == ["critical", "critical", "warning", "warning"]
    assert severities(CLEAN) == ["warning"] * 4


def test_names_and_labels_together_stand_once() -> None:
    groups = rules(*ALL, replace(FAST, model="n", window_seconds=7 * DAY))
    assert len({g.name for g in groups}) == len(groups)
    alerts = [(a.name, a.labels) for g in groups for a in g.alerts]
    records = [(r.record, r.labels) for g in groups for r in g.recordings]
    assert len(set(alerts)) == len(alerts)
    assert len(set(records)) == len(records)


def test_models_of_several_windows_have_a_group_for_each() -> None:
    two = rules(AVAILABLE, replace(FAST, window_seconds=7 * DAY))
    assert len({group.name for group in two}) == 2
    assert [group.interval_seconds for group in two] == [14, 60]
    assert "interval: 14s" in to_yaml(two, "")


def test_the_budget_is_exact() -> None:
    assert SloRecordings(AVAILABLE, "j").budget == "0.001"
    assert SloRecordings(replace(AVAILABLE, objective=0.99999), "j").budget == "0.00001"


def test_the_latency_bound_is_a_bucket_as_the_exporter_writes_it() -> None:
    for bound in STAGE_LATENCY.buckets:
        text = to_yaml(rules(replace(FAST, latency_seconds=bound)), "")
        assert f'le="{bound!r}"' in text
        assert f"--slower-than {bound!r}" in text


def test_the_text_is_the_same_every_time() -> None:
    assert to_yaml(rules(*ALL), "") == to_yaml(rules(*ALL), "")
