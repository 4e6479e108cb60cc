from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consistency.errors import ConfigError
from monitors.suites import CompiledSuite, compile_suite, read_suite
from monitors.suites.compiled.compiler import Level


def one(kind: str, **kwargs: Any) -> CompiledSuite:
    return compile_suite({"name": "s", "expectations": [{"type": kind, "kwargs": kwargs}]})


def reason(kind: str, **kwargs: Any) -> str:
    compiled = one(kind, **kwargs)
    assert compiled.rules == ()
    (left,) = compiled.left_out
    assert (left.kind, left.position) == (kind, 0)
    return left.reason


def values(kind: str, **kwargs: Any) -> str:
    return reason(f"expect_column_values_to_{kind}", column="x", **kwargs)


def test_every_expectation_is_compiled_or_listed() -> None:
    held = [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "x", "max_value": 1}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        {
            "type": "expect_column_pair_values_to_be_equal",
            "kwargs": {"column_A": "x", "column_B": "y"},
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "x", "min_value": 0, "mostly": 0.9},
            "severity": "warning",
        },
    ]
    compiled = compile_suite({"name": "s", "expectations": held})
    assert [(r.position, r.label, r.mostly, r.severity) for r in compiled.rules] == [
        (0, "x:not_be_null", 1.0, "critical"),
        (3, "x,y:pair_equal", 1.0, "critical"),
        (4, "x:be_between", 0.9, "warning"),
    ]
    assert [(x.position, x.column, x.level) for x in compiled.left_out] == [
        (1, "x", Level.BATCH),
        (2, "", Level.BATCH),
    ]
    assert all(x.reason for x in compiled.left_out)


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        ("be_between", {}, "neither min_value nor max_value"),
        ("be_between", {"min_value": 3, "max_value": 2}, "over max_value"),
        ("be_between", {"min_value": "2026-01-01"}, "min_value is '2026-01-01', no number"),
        ("be_between", {"min_value": {"$PARAMETER": "low"}}, "no number"),
        ("be_between", {"min_value": True}, "min_value is True, no number"),
        ("be_between", {"min_value": 1, "strict_min": "yes"}, "no booleans"),
        ("be_between", {"min_value": 1, "mostly": 1.5}, "mostly is 1.5"),
        ("be_between", {"min_value": 1, "row_condition": 'col("y") > 1'}, "row_condition"),
        ("be_between", {"min_value": 1, "window": 3}, "'window', which is not known"),
        ("be_in_set", {"value_set": {"$PARAMETER": "set"}}, "no list"),
        ("be_in_set", {"value_set": [[1]]}, "value_set holds [1]"),
        ("be_of_type", {"type_": "float64"}, "a parsed JSON value never has"),
        ("be_of_type", {"type_": None}, "never has"),
        ("be_in_type_list", {"type_list": []}, "no list of types"),
        ("match_regex", {"regex": "(a"}, "no regular expression"),
        ("match_regex", {"regex": "a{1001}"}, "cannot read it"),
        ("match_regex", {"regex": 3}, "no text"),
        ("match_regex_list", {"regex_list": []}, "no list of patterns"),
        ("match_regex_list", {"regex_list": ["a"], "match_on": "some"}, "neither any nor all"),
        ("match_strftime_format", {}, "strftime_format is None"),
        ("match_json_schema", {"json_schema": {}}, "only by Great Expectations itself"),
        ("be_unique", {}, "over a batch of rows"),
    ],
)
def test_what_cannot_be_judged_alike_is_left_out(
    kind: str, kwargs: dict[str, Any], said: str
) -> None:
    assert said in values(kind, **kwargs)


def test_a_column_must_be_named() -> None:
    assert "no text" in reason("expect_column_values_to_not_be_null", column=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "no expectations"),
        ('{"name": "s"}', "no expectations"),
        ('{"name": "", "expectations": []}', "give the suite a name"),
        ('{"expectation_suite_name": "s", "expectations": []}', "GX 0.x must be migrated"),
        ('{"name": "s", "expectations": [3]}', "expectation 0 is 3"),
        ('{"name": "s", "expectations": [{"expectation_type": "x"}]}', "give it a type"),
        ('{"name": "s", "expectations": [{"type": "x", "kwargs": 1}]}', "give it a type"),
    ],
)
def test_what_is_no_suite_is_a_clear_error(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "suite.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_suite(path)
    assert str(path) in str(caught.value)


def test_a_suite_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name a suite's JSON file"):
        read_suite(tmp_path / "none.json")
