"""The files for Prometheus and Alertmanager are what these programs accept, and current."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import yaml

from monitors.alerting.rules import AlertRule, Severity
from tests.fixtures.cli import samescore
from tests.fixtures.prometheus import ALERTMANAGER_CONFIG, alertmanager, component, webhook
from tests.rules.test_runbooks import BUILT

FOLDER = ALERTMANAGER_CONFIG.parents[1] / "prometheus"
RECEIVERS = {Severity.CRITICAL: "pager", Severity.WARNING: "team", Severity.INFO: "board"}
CRITICAL = {"severity": "critical", "job": "j", "model": "m"}
WARNING = {"severity": "warning", "job": "j", "model": "m"}
PAGE = {"alertname": "SamescoreAvailabilityBudgetBurn", "job": "j", "model": "fast"}


def asked(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [component(program), *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_committed_rules_are_what_the_builder_builds() -> None:
    ran = samescore("rules", "build", "--out", FOLDER / "samescore-rules.yml", "--check")
    assert ran.code == 0, ran.out


def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    assert asked("promtool", "check", "config", FOLDER / "prometheus.yml").count("SUCCESS") == 3


def test_alertmanager_accepts_its_configuration() -> None:
    assert "SUCCESS" in asked("amtool", "check-config", ALERTMANAGER_CONFIG)


@pytest.mark.parametrize("alert", BUILT.values(), ids=lambda alert: alert.name)
def test_every_alert_reaches_the_receiver_of_its_severity(alert: AlertRule) -> None:
    labels = {**alert.to_dict()["labels"], "alertname": alert.name, "job": "j", "model": "m"}
    said = asked(
        "amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER_CONFIG}",
        *(f"{name}={value}" for name, value in labels.items()),
    )  # fmt: skip
    assert said.split() == [RECEIVERS[alert.severity]]


def test_inhibition_names_alerts_that_there_are_and_labels_that_they_have() -> None:
    rules = yaml.safe_load(ALERTMANAGER_CONFIG.read_text())["inhibit_rules"]
    matchers = [m for rule in rules for m in (*rule["source_matchers"], *rule["target_matchers"])]
    named = {m.rpartition("=")[2].strip() for m in matchers if m.startswith("alertname")}
    assert named
    assert named <= set(BUILT)
    known = {"alertname", "job", "instance", "model", "backend"}
    assert {label for rule in rules for label in rule["equal"]} <= known


@pytest.mark.slow
def test_an_instance_that_is_ejected_is_not_told_of_twice(tmp_path: Path) -> None:
    backend = {"severity": "warning", "job": "j", "backend": "grpc://b:8500"}
    sent = [
        {**backend, "alertname": "SamescoreBackendEjected", "instance": "a:8501"},
        {**backend, "alertname": "SamescoreBackendFailing"},
        {**backend, "alertname": "SamescoreBackendFailing", "backend": "grpc://c:8500"},
    ]
    with webhook() as hook, alertmanager(tmp_path, hook, group_wait="1s") as manager:
        manager.ask("/api/v2/alerts", [{"labels": labels} for labels in sent])
        hook.wait_until(lambda: len(hook.notices) >= 2, "two notices", 30)
        time.sleep(2)  # longer than the groups wait: the third would be here too
    assert {(n.alert, n.labels["backend"]) for n in hook.notices} == {
        ("SamescoreBackendEjected", "grpc://b:8500"),
        ("SamescoreBackendFailing", "grpc://c:8500"),
    }


@pytest.mark.slow
def test_what_is_critical_silences_the_warnings_of_the_same_model_alone(tmp_path: Path) -> None:
    sent = [
        {**CRITICAL, "alertname": "SamescoreHighErrorRatio"},
        {**WARNING, "alertname": "SamescoreHighLatency"},
        {**WARNING, "alertname": "SamescoreHighLatency", "model": "other"},
        {"severity": "critical", "alertname": "SamescoreMetricsAbsent", "job": "gone"},
        {**WARNING, "alertname": "SamescoreHighLatency", "job": "gone"},
        {"severity": "info", "alertname": "SamescoreDriftMetricsAbsent"},
        {**PAGE, "long_window": "1h", "severity": "critical"},
        {**PAGE, "long_window": "6h", "severity": "critical"},
        {**PAGE, "long_window": "1d", "severity": "warning"},
        {**PAGE, "long_window": "1d", "severity": "warning", "model": "slow"},
        {**PAGE, "alertname": "SamescoreHighErrorRatio", "severity": "critical"},
        {"severity": "critical", "alertname": "SamescoreReplayDiffers", "model": "p"},
        {"severity": "critical", "alertname": "SamescoreParityBudgetBurn", "model": "p"},
    ]
    with webhook() as hook, alertmanager(tmp_path, hook, group_wait="1s") as manager:
        manager.ask("/api/v2/alerts", [{"labels": labels} for labels in sent])
        hook.wait_until(lambda: len(hook.notices) >= 7, "seven notices", 30)
        time.sleep(2)  # longer than the groups wait: the others would be here too
    came = {(n.receiver, n.alert, n.labels.get("job"), n.labels.get("model")) for n in hook.notices}
    assert came == {
        ("pager", "SamescoreHighErrorRatio", "j", "m"),
        ("team", "SamescoreHighLatency", "j", "other"),
        ("pager", "SamescoreMetricsAbsent", "gone", None),
        ("pager", "SamescoreAvailabilityBudgetBurn", "j", "fast"),
        ("team", "SamescoreAvailabilityBudgetBurn", "j", "slow"),
        ("pager", "SamescoreReplayDiffers", None, "p"),
    }
    windows = {n.labels["long_window"] for n in hook.notices if n.labels.get("model") == "fast"}
    assert windows == {"1h", "6h"}, "both pages, and not the ticket"
