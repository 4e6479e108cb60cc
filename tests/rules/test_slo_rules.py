"""The rules of an SLO file fire when they should and are silent when they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from monitors.alerting.rules import AlertRule, to_yaml
from monitors.alerting.settings import AlertSettings
from monitors.slo.rules import build_slo_rules
from tests.rules.cases import TOO_FEW, Case
from tests.rules.slo_cases import HEALTHY, SLO, SLO_CASES
from tests.rules.test_rules import promtool, told

pytestmark = pytest.mark.slow

GROUPS = build_slo_rules(SLO, AlertSettings())
ALERTS = [alert for group in GROUPS for alert in group.alerts]
NAMES = sorted({alert.name for alert in ALERTS})


@pytest.fixture(scope="session")
def slo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slo") / "rules.yml"
    path.write_text(to_yaml(GROUPS, "for the tests"))
    return path


def series(case: Case) -> list[dict[str, str]]:
    values = {**HEALTHY, **case.changes}
    return [
        {"series": str(one), "values": text if "x" in text else f"{text}x{case.at + 1}"}
        for one, text in values.items()
    ]


def expected(name: str, case: Case) -> list[dict[str, Any]]:
    return [
        told(rule, firing)
        for firing in case.firing
        if firing.alert == name
        for rule in ALERTS
        if is_of(rule, name, firing.labels)
    ]


def is_of(rule: AlertRule, name: str, labels: dict[str, str]) -> bool:
    return rule.name == name and dict(rule.labels).items() <= labels.items()


def test_the_rules_are_sound(slo_file: Path) -> None:
    number = sum(len(group.recordings) + len(group.alerts) for group in GROUPS)
    assert f"SUCCESS: {number} rules found" in promtool("check", "rules", slo_file)


@pytest.mark.parametrize("case", SLO_CASES, ids=lambda case: f"{case.about}: {case.name}")
def test_the_right_alert_fires_and_no_other(case: Case, slo_file: Path, tmp_path: Path) -> None:
    test = {
        "interval": "1m",
        "input_series": series(case),
        "alert_rule_test": [
            {"eval_time": f"{case.at}m", "alertname": name, "exp_alerts": expected(name, case)}
            for name in NAMES
        ],
    }
    file = tmp_path / "test.yml"
    whole = {"rule_files": [str(slo_file)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(whole))
    promtool("test", "rules", file)


def test_every_alert_and_window_is_seen_firing_and_every_alert_is_seen_silent() -> None:
    firing = {(f.alert, f.labels.get("long_window")) for case in SLO_CASES for f in case.firing}
    assert {name for name, _ in firing} == set(NAMES)
    assert {window for _, window in firing} == {"1h", "6h", "1d", "3d", None}
    assert {case.about for case in SLO_CASES if not case.firing} == set(NAMES)


def test_every_budget_is_seen_silent_with_too_little_traffic() -> None:
    """Whatever the ratio; a promise that is not measured is no matter of traffic."""
    budgets = {name for name in NAMES if name.endswith("BudgetBurn")}
    assert {case.about for case in SLO_CASES if case.name.endswith(TOO_FEW)} == budgets
    assert not [case.name for case in SLO_CASES if case.name.endswith(TOO_FEW) and case.firing]
