"""From the summary to the exit code: whatever is broken must be named."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from samescore.demo.acts.alarm import Alarm
from samescore.demo.telling.verdict import problems

Summary = dict[str, Any]

MODEL = {
    "rows": 100,
    "agree_ratio": 1.0,
    "bit_identical_ratio": 1.0,
    "max_abs_diff": 0.0,
    "p50_ms": 0.3,
    "p99_ms": 0.5,
}
NAMES = ("xgboost", "lightgbm", "keras_float32", "keras_float64")
GOOD: Summary = {
    "sent": 40,
    "answered": 40,
    "logged": 40,
    "models": {name: dict(MODEL) for name in NAMES},
    "fault": {"detected": True, "stage": "features", "feature": "route_late_rate"},
    "fault_details": {
        "refused_by_gate": True,
        "finding": {"cause": "storage_precision", "proven": True},
    },
    "traffic": {"rows": 400, "failures": [], "unexpected": []},
    "log": {"intact": True, "segments_open": 0},
    "snapshots": {"rows": {"a": 1, "b": 399}},
    "replay": {name: {"agrees": name != "keras_float32"} for name in NAMES},
    "alarm": {
        "available": True,
        "alert": "TheAlert",
        "fired": True,
        "resolved": True,
        "seconds_to_fire": 4.0,
        "seconds_to_resolve": 5.0,
        "others": [],
    },
    "alarm_details": {"traffic": {"sent": 9, "answered": 9, "failures": []}},
    "keras_float32": {
        "rows": 100,
        "rows_differing": 3,
        "rows_differing_by_batch": {"logged": 0, "1": 40, "4096": 3},
        "cause": "batch_variance",
        "evidence": "as it should be",
    },
}


def broken(change: Callable[[Summary], object]) -> list[str]:
    summary = deepcopy(GOOD)
    change(summary)
    return problems(summary)


def test_a_good_summary_has_no_problem() -> None:
    assert problems(GOOD) == []


def test_an_empty_summary_is_no_success() -> None:
    assert len(problems({})) >= 6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.update(sent=41), "sent 41"),
        (lambda s: s.update(answered=39), "answered 39"),
        (lambda s: s.update(logged=41), "logged 41"),
        (lambda s: s.update(sent=0, answered=0, logged=0), "not 0"),
        (lambda s: s["traffic"].update(failures=["it broke"]), "it broke"),
        (lambda s: s["traffic"].update(unexpected=["500"]), "500"),
        (lambda s: s["traffic"].update(rows=401), "401 rows"),
        (lambda s: s["log"].update(intact=False), "not intact"),
        (lambda s: s["log"].update(segments_open=1), "sealed"),
        (lambda s: s["snapshots"].update(rows={"a": 400}), "one weather snapshot"),
        (lambda s: s["models"].pop("xgboost"), "xgboost"),
        (lambda s: s["models"]["xgboost"].update(agree_ratio=0.999999), "xgboost"),
        (lambda s: s["models"]["keras_float64"].update(agree_ratio=0.0), "keras_float64"),
        (lambda s: s["replay"]["lightgbm"].update(agrees=False), "lightgbm"),
        (lambda s: s["keras_float32"].update(cause="unproven"), "not explained"),
        (lambda s: s["keras_float32"].update(rows=0), "nothing was replayed"),
        (lambda s: s["fault"].update(detected=False), "did not find"),
        (lambda s: s["fault"].update(stage="scores"), "scores"),
        (lambda s: s["fault"].update(feature="temp"), "temp"),
        (lambda s: s["fault_details"].update(refused_by_gate=False), "let it pass"),
        (lambda s: s["fault_details"].update(finding={}), "not proven"),
        (lambda s: s.pop("alarm"), "not played"),
        (lambda s: s["alarm"].update(fired=False, seconds_to_fire=None), "did not fire"),
        (lambda s: s["alarm"].update(seconds_to_fire=-1.0), "before the fault began"),
        (lambda s: s["alarm"].update(resolved=False), "did not resolve"),
        (lambda s: s["alarm"].update(others=["AnotherAlert"]), "AnotherAlert"),
        (lambda s: s["alarm_details"]["traffic"].update(failures=["500: no"]), "500: no"),
    ],
)
def test_what_is_broken_is_named(change: Callable[[Summary], object], named: str) -> None:
    found = broken(change)
    assert found
    assert named in " ".join(found)


def test_a_model_that_was_not_replayed_is_no_success() -> None:
    assert broken(lambda s: s["models"]["lightgbm"].update(rows=0))


def test_where_no_prometheus_is_nothing_was_promised() -> None:
    def none_installed(summary: Summary) -> None:
        summary.update(alarm=Alarm().to_json(), alarm_details=Alarm().details())

    assert broken(none_installed) == []


def test_a_network_that_agrees_at_every_batch_needs_no_proof() -> None:
    none = {"logged": 0, "1": 0, "4096": 0}
    change = {"rows_differing": 0, "rows_differing_by_batch": none, "cause": "unproven"}
    assert broken(lambda s: s["keras_float32"].update(change)) == []


def test_rows_that_differ_even_at_the_logged_sizes_are_not_explained() -> None:
    change = {"rows_differing_by_batch": {"logged": 2, "1": 0, "4096": 0}, "cause": "unproven"}
    assert broken(lambda s: s["keras_float32"].update(change))
