"""The rules keep the conventions, and hide nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import promql_parser
import pytest
import yaml

from consistency.errors import ConfigError
from monitors.alerting.alerts import PREFIX, build_rules
from monitors.alerting.rules import AlertRule, RecordingRule, Severity, duration, selector, to_yaml
from monitors.alerting.settings import AlertSettings
from monitors.metrics import CATALOGUE, JOB_CATALOGUE, STAGE_LATENCY, MetricKind

ALL = AlertSettings(workers=2, model_age_seconds=86_400, feature_psi=0.25)
GROUPS = build_rules(ALL)
RECORDINGS = [rule for group in GROUPS for rule in group.recordings]
ALERTS = [rule for group in GROUPS for rule in group.alerts]
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
EACH_RECORDING = pytest.mark.parametrize("rule", RECORDINGS, ids=lambda rule: rule.record)
EACH_RULE = pytest.mark.parametrize(
    "rule", [*RECORDINGS, *ALERTS], ids=lambda rule: getattr(rule, "name", "") or rule.record
)
METRICS = (*CATALOGUE, *JOB_CATALOGUE)
SERIES = {
    f"{metric.name}{suffix}": metric
    for metric in METRICS
    for suffix in (("_bucket", "_count", "_sum") if metric.kind is MetricKind.HISTOGRAM else ("",))
}


def alert(name: str, **changes: Any) -> AlertRule:
    rules = build_rules(replace(ALL, **changes))
    return next(a for g in rules for a in g.alerts if a.name == f"{PREFIX}{name}")


def selectors(expr: object) -> list[promql_parser.VectorSelector]:
    """Find every selector in a parsed expression."""
    if isinstance(expr, promql_parser.VectorSelector):
        return [expr]
    if isinstance(expr, promql_parser.MatrixSelector):
        return [expr.vector_selector]
    parts = [getattr(expr, name, None) for name in ("lhs", "rhs", "expr")]
    found = [s for part in parts if part is not None for s in selectors(part)]
    return found + [s for part in getattr(expr, "args", ()) for s in selectors(part)]


def names(expr: str) -> set[str]:
    return {str(s.name) for s in selectors(promql_parser.parse(expr))}


# ---------------------------------------------------------------------------------------- names


@EACH_RULE
def test_every_series_is_in_the_catalogue_or_recorded(rule: AlertRule | RecordingRule) -> None:
    assert names(rule.expr)
    assert names(rule.expr) <= SERIES.keys() | {r.record for r in RECORDINGS}


@EACH_RULE
def test_every_label_that_is_matched_is_one_of_the_metric(
    rule: AlertRule | RecordingRule,
) -> None:
    for found in selectors(promql_parser.parse(rule.expr)):
        if found.name in SERIES:
            known = {*SERIES[str(found.name)].labels, "job", "le"}
            assert {matcher.name for matcher in found.matchers.matchers} <= known


def test_every_recording_is_used_by_an_alert() -> None:
    used = set().union(*(names(a.expr) for a in ALERTS))
    assert {r.record for r in RECORDINGS} <= used


@EACH_RECORDING
def test_a_recorded_name_is_level_metric_operations(rule: RecordingRule) -> None:
    level, metric, operation = rule.record.split(":")
    by = re.findall(r"by \(([^)]*)\)", rule.expr)
    assert level == by[0].replace(", ", "_")
    assert metric.startswith("samescore_")
    assert re.fullmatch(r"(increase|ratio_rate)5m", operation)


@EACH_RECORDING
def test_a_ratio_is_a_sum_over_a_sum(rule: RecordingRule) -> None:
    if ":ratio_" in rule.record:
        assert "/" in rule.expr
        assert rule.expr.count("sum by (") >= 2
        assert "avg" not in rule.expr


@EACH_ALERT
def test_an_alert_has_all_that_the_person_on_call_needs(alert: AlertRule) -> None:
    assert re.fullmatch(r"Samescore([A-Z][a-z]+)+", alert.name)
    assert alert.severity in set(Severity)
    assert alert.summary
    assert not alert.summary.endswith(".")
    assert alert.description.endswith(".")
    assert alert.runbook_url == f"{ALL.runbook_url}/{alert.name}.html"
    assert alert.dashboard_url.startswith(ALL.dashboard_url)


@EACH_ALERT
def test_a_template_names_only_labels_that_the_alert_carries(alert: AlertRule) -> None:
    kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", alert.expr))))
    for series in names(alert.expr):
        kept |= set(re.findall(r"\w+", series.split(":")[0].replace("_", " ")))
        if series in SERIES:
            kept |= {"job", "instance", *SERIES[series].labels}
    text = alert.summary + alert.description + alert.dashboard_url
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept


def test_names_of_alerts_stand_once() -> None:
    assert len({a.name for a in ALERTS}) == len(ALERTS)


# -------------------------------------------------------------------------------------- emptiness


@EACH_RULE
def test_no_expression_hides_an_empty_answer(rule: AlertRule | RecordingRule) -> None:
    assert not re.search(r"\bor\b|\bvector\(|_over_time\(|\bscalar\(", rule.expr)


@EACH_ALERT
def test_a_ratio_is_no_alert_before_enough_is_behind_it(alert: AlertRule) -> None:
    if any(":ratio_" in name for name in names(alert.expr)):
        assert re.search(r"and on \([^)]*\)\n.* >= 100$", alert.expr)


def test_absence_has_alerts_of_its_own() -> None:
    absent = [a for a in ALERTS if a.expr.startswith("absent(")]
    assert [a.name for a in absent] == ["SamescoreMetricsAbsent", "SamescoreDriftMetricsAbsent"]


# --------------------------------------------------------------------------------------- settings


def test_the_latency_bound_is_a_bucket_as_the_exporter_writes_it() -> None:
    for bound in STAGE_LATENCY.buckets:
        groups = build_rules(AlertSettings(latency_seconds=bound))
        assert f'le="{bound!r}"' in to_yaml(groups, "")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("latency_seconds", 0.21, "only a bucket bound is counted exactly; take one of"),
        ("slow_ratio", 0.0, "give a ratio between 0 and 1"),
        ("error_ratio", 1.0, "give a ratio between 0 and 1"),
        ("unseen_ratio", float("nan"), "give a ratio between 0 and 1"),
        ("score_psi", 0.0, "give an index above 0"),
        ("score_psi", float("nan"), "give an index above 0"),
        ("feature_psi", -0.1, "give an index, or 0 for no alert"),
        ("rejection_ratio", 0.0, "give a ratio between 0 and 1"),
        ("model_age_seconds", -1, "give 0 or more"),
        ("min_requests", 0, "give 1 or more"),
        ("window_seconds", 0, "give 1 or more"),
        ("for_seconds", -1, "give 0 or more"),
        ("job", "", "give printable text"),
        ("job", "a\nb", "give printable text"),
        ("dashboard_url", "http://x/{{ $labels.model }}", "without '{{'"),
    ],
)
def test_an_unusable_setting_is_named_with_its_value(setting: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^alert rules: {setting} \(--") as raised:
        AlertSettings(**{setting: value})
    assert said in str(raised.value)
    assert str(value) in str(raised.value) or repr(value) in str(raised.value)


def test_the_job_is_the_one_that_was_named_whatever_is_in_its_name() -> None:
    expr = alert("MetricsAbsent", job='eu "blue" \\1').expr
    (found,) = selectors(promql_parser.parse(expr))
    (matcher,) = found.matchers.matchers
    assert (matcher.name, matcher.value) == ("job", 'eu "blue" \\1')


def test_optional_alerts_are_there_only_when_they_were_asked_for() -> None:
    few = build_rules(AlertSettings(drift_period_seconds=0, replay_period_seconds=0))
    left_out = {a.name for a in ALERTS} - {a.name for g in few for a in g.alerts}
    assert left_out == {
        "SamescoreWorkersMissing",
        "SamescoreFeaturePsiHigh",
        "SamescoreModelStale",
        "SamescoreDriftDetected",
        "SamescoreDriftJobMissed",
        "SamescoreDriftMetricsAbsent",
        "SamescoreReplayMissed",
    }


def test_what_is_lost_for_good_waits_for_nothing() -> None:
    at_once = {a.name for a in ALERTS if a.for_seconds == 0}
    assert at_once == {
        "SamescoreScoreAnomalies",
        "SamescoreLogDrops",
        "SamescoreObserverFailures",
        "SamescoreDriftDetected",
        "SamescoreDriftJobMissed",
        "SamescoreReplayDiffers",
        "SamescoreReplayMissed",
    }


def test_a_board_that_has_a_query_gets_the_variables_behind_it() -> None:
    url = alert("HighLatency", dashboard_url="http://g/d/x?orgId=1").dashboard_url
    assert url.startswith("http://g/d/x?orgId=1&var-model={{ $labels.model | urlquery }}")


# ------------------------------------------------------------------------------------------- text


def test_the_file_is_the_same_every_time_and_reads_back_as_the_rules() -> None:
    text = to_yaml(GROUPS, "a note")
    assert text == to_yaml(build_rules(ALL), "a note")
    assert text.startswith("# a note\ngroups:\n")
    assert yaml.safe_load(text) == {"groups": [group.to_dict() for group in GROUPS]}


def test_an_expression_of_several_lines_is_written_as_a_block() -> None:
    assert "\\n" not in to_yaml(GROUPS, "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "90s"), (3600, "1h")])
def test_a_duration_is_in_its_largest_whole_unit(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_selector_takes_an_operator_with_the_value() -> None:
    assert selector(STAGE_LATENCY, stage="=~a|b").endswith('{stage=~"a|b"}')
    assert selector(STAGE_LATENCY, stage="!=a").endswith('{stage!="a"}')
