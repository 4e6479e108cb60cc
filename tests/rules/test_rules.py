"""Each alert fires when it should and is silent when it should be: asked of the real promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from monitors.alerting.alerts import build_rules
from monitors.alerting.rules import AlertRule, to_yaml
from tests.fixtures.prometheus import component
from tests.rules.cases import CASES, SETTINGS, TOO_FEW, Case, Firing

GROUPS = build_rules(SETTINGS)
ALERTS = {alert.name: alert for group in GROUPS for alert in group.alerts}


@pytest.fixture(scope="session")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(to_yaml(GROUPS, "for the tests"))
    return path


def promtool(*arguments: object) -> str:
    """Run promtool and return all it says; it must be content."""
    done = subprocess.run(
        [component("promtool"), *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def rendered(template: str, labels: dict[str, str], value: str) -> str:
    """Fill a template as Prometheus would: the value as the case says."""
    quoted = re.sub(r"{{ \$labels\.(\w+) \| urlquery }}", lambda m: quote(labels[m[1]]), template)
    filled = re.sub(r"{{ \$labels\.(\w+) }}", lambda m: labels[m[1]], quoted)
    return re.sub(r"{{ \$value[^}]*}}", value, filled)


def told(alert: AlertRule, firing: Firing) -> dict[str, Any]:
    """Return what promtool has to be told of a firing alert."""
    annotations = alert.to_dict()["annotations"].items()
    return {
        "exp_labels": {**firing.labels, "severity": alert.severity.value},
        "exp_annotations": {n: rendered(t, firing.labels, firing.value) for n, t in annotations},
    }


def expected(alert: AlertRule, case: Case) -> list[dict[str, Any]]:
    return [told(alert, firing) for firing in case.firing if firing.alert == alert.name]


def test_the_rules_are_sound(rule_file: Path) -> None:
    number = sum(len(group.recordings) + len(group.alerts) for group in GROUPS)
    assert f"SUCCESS: {number} rules found" in promtool("check", "rules", rule_file)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.about}: {case.name}")
def test_the_right_alert_fires_and_no_other(case: Case, rule_file: Path, tmp_path: Path) -> None:
    test = {
        "interval": "1m",
        "input_series": case.series(),
        "alert_rule_test": [
            {
                "eval_time": f"{case.at}m",
                "alertname": alert.name,
                "exp_alerts": expected(alert, case),
            }
            for alert in ALERTS.values()
        ],
    }
    file = tmp_path / "test.yml"
    whole = {"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(whole))
    promtool("test", "rules", file)


def test_every_alert_is_seen_firing_and_seen_silent() -> None:
    firing = {f.alert for case in CASES for f in case.firing}
    silent = {case.about for case in CASES if not case.firing}
    assert firing == silent == set(ALERTS)


def test_every_ratio_is_seen_silent_with_too_little_traffic() -> None:
    ratios = {alert.name for alert in ALERTS.values() if ":ratio_" in alert.expr}
    assert {case.about for case in CASES if case.name.endswith(TOO_FEW)} >= ratios
    assert not [case.name for case in CASES if case.name.endswith(TOO_FEW) and case.firing]


def test_promtool_sees_an_alert_that_should_not_fire(rule_file: Path, tmp_path: Path) -> None:
    """The tests above could fail: with the expectation left out, promtool objects."""
    loud = next(case for case in CASES if case.firing)
    mute = Case(loud.name, loud.about, loud.changes, at=loud.at)
    with pytest.raises(AssertionError, match=loud.about):
        test_the_right_alert_fires_and_no_other(mute, rule_file, tmp_path)
