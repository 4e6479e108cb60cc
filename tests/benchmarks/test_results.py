from __future__ import annotations

import math
from pathlib import Path

import orjson
import pytest

from benchmarks.budgets import MEASURED, measured, quantile
from benchmarks.results import Budget, Result, Sense, write_results
from benchmarks.table import table, verdict

FIELDS = {"name", "value", "unit", "budget", "within_budget", "peer", "ratio", "spread"}


@pytest.mark.parametrize(
    ("sense", "value", "holds"),
    [
        (Sense.AT_MOST, 79.9, True),
        (Sense.AT_MOST, 80.0, True),
        (Sense.AT_MOST, 80.1, False),
        (Sense.BELOW, 79.9, True),
        (Sense.BELOW, 80.0, False),
        (Sense.AT_LEAST, 79.9, False),
        (Sense.AT_LEAST, 80.0, True),
        (Sense.AT_LEAST, 80.1, True),
        *((sense, math.nan, False) for sense in Sense),
    ],
)
def test_a_budget_holds_on_its_own_side(sense: Sense, value: float, holds: bool) -> None:
    assert Budget(sense, 80).holds(value) is holds
    assert Result("x", value, "µs", Budget(sense, 80)).within_budget is holds


def test_without_a_budget_nothing_is_kept_or_missed() -> None:
    result = Result("x", 1.0, "µs")
    assert result.within_budget is None
    assert result.to_json()["budget"] is None


def test_json_has_the_fields_of_the_design_and_plain_types() -> None:
    result = measured("serving.added_p50_us", [70, 90, 85], peer="bare, p50 200 µs", ratio=1.4)
    assert result.to_json() == {
        "name": "serving.added_p50_us",
        "value": 85,
        "unit": "µs",
        "budget": 80,
        "within_budget": False,
        "peer": "bare, p50 200 µs",
        "ratio": 1.4,
        "spread": [70, 90],
    }


def test_results_are_written_as_one_list_and_nothing_else_stays_behind(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "results.json"
    write_results(path, [Result("old", 1.0, "s")])
    write_results(path, [Result("a", 1.5, "s", spread=(1.0, 2.0)), Result("b", 2.0, "s")])
    written = orjson.loads(path.read_bytes())
    assert [entry["name"] for entry in written] == ["a", "b"]
    assert all(entry.keys() == FIELDS for entry in written)
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_every_budget_of_the_design_is_the_one_that_is_checked() -> None:
    budgets = {name: str(budget) for name, (_, budget) in MEASURED.items() if budget is not None}
    assert budgets == {
        "serving.added_p50_us": "≤ 80",
        "serving.single_p99_ms": "< 20",
        "serving.single_p99_ms.lightgbm": "< 20",
        "serving.single_p99_ms.keras_float64": "< 20",
        "log.write_p99_us": "≤ 15",
        "replay.overhead_us_per_row": "≤ 10",
        "monitors.online_mean_us": "≤ 5",
        "guard.vs_gx_one_row": "≥ 10000",
        "drift.memory_s": "≤ 0.25",
        "drift.parquet_s": "≤ 1",
        "drift.extra_mb": "≤ 50",
        "drift.state_bytes_per_feature": "≤ 200",
        "drift_spark.engines_that_differ": "≤ 0",
        "alarms.false_a_month": "≤ 1",
        "alarms.power_in_a_day": "≥ 95",
        "model_server.sequential_rps": "≥ 2500",
        "model_server.inflight16_rps": "≥ 5000",
        "model_server.tensor_decode_vs_copy": "≤ 3",
        "model_server.tensor_encode_vs_copy": "≤ 3",
        "import.consistency_s": "< 0.3",
    }


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([5], 0.5, 5), ([5], 0.99, 5), ([3, 1, 2], 0.5, 2), (range(200), 0.99, 197), ([1, 2], 1, 2)],
)
def test_a_quantile_is_a_value_that_was_measured(
    values: list[int], share: float, expected: int
) -> None:
    assert quantile(values, share) == expected


def test_a_missed_budget_is_printed_as_such() -> None:
    results = [measured("log.write_p99_us", [40.0]), measured("import.consistency_s", [0.1])]
    missed, kept = table(results).splitlines()[2:]
    assert missed.split()[:7] == ["log.write_p99_us", "40.0", "µs", "≤", "15", "NO", "40.0"]
    assert " yes " in kept
    assert verdict(results) == "1 within budget, 1 over: log.write_p99_us"
