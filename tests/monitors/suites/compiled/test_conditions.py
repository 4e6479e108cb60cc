from __future__ import annotations

from typing import Any

import pytest

from monitors.suites import compile_suite
from monitors.suites.compiled.conditions import ConditionError, compile_condition
from monitors.suites.compiled.value_tests import Verdict


def compared(sign: str, parameter: Any, column: str = "city") -> dict[str, Any]:
    return {
        "type": "comparison",
        "column": {"name": column},
        "operator": sign,
        "parameter": parameter,
    }


BONN = compared("==", "Bonn")
THERE = {"type": "nullity", "column": {"name": "age"}, "is_null": False}


@pytest.mark.parametrize(
    ("condition", "text", "yes", "no"),
    [
        (BONN, "city == 'Bonn'", {"city": "Bonn"}, {}),
        (compared("!=", 1, "n"), "n != 1", {}, {"n": True}),
        (compared("IN", ["a", "b"]), "city in ('a', 'b')", {"city": "b"}, {"city": ["a"]}),
        (compared("NOT_IN", [1, 2.5], "n"), "n not in (1, 2.5)", {"n": None}, {"n": 2.5}),
        (THERE, "age is not null", {"age": 0}, {"age": float("nan")}),
        (
            {"type": "and", "conditions": [BONN, THERE]},
            "(city == 'Bonn' and age is not null)",
            {"city": "Bonn", "age": 1},
            {"city": "Bonn"},
        ),
        (
            {"type": "or", "conditions": [BONN, {"type": "and", "conditions": [THERE]}]},
            "(city == 'Bonn' or (age is not null))",
            {"age": 1},
            {"city": "Ulm"},
        ),
    ],
)
def test_a_condition_holds_or_not(
    condition: dict[str, Any], text: str, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    made = compile_condition(condition)
    assert (str(made), made.holds(yes), made.holds(no)) == (text, True, False)


def test_what_cannot_be_compared_is_none_of_both() -> None:
    older = compile_condition(compared(">", 3, "age"))
    assert older.holds({"age": "old"}) is None
    both = compile_condition({"type": "or", "conditions": [compared(">", 3, "age"), BONN]})
    assert both.holds({"age": "old", "city": "Bonn"}) is None
    assert both.columns == ("age", "city")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('city == "Bonn"', "only Great Expectations itself can read"),
        ({"type": "pass_through", "pass_through_filter": "x > 1"}, "of type 'pass_through'"),
        (compared("LIKE", "a"), "operator 'LIKE'"),
        (compared("==", None), "the constant None"),
        (compared("==", "a`b"), "the constant"),
        (compared("==", float("inf")), "the constant inf"),
        (compared("==", 2**60), "the constant 1152921504606846976"),
        (compared("IN", []), "no list of values"),
        (compared("IN", ["a", 1]), "not all texts or numbers"),
        (compared("IN", [True]), "not all texts or numbers"),
        ({**BONN, "column": "city"}, "the column None"),
        ({"type": "and", "conditions": [{"type": "or", "conditions": [BONN]}]}, "type 'or'"),
    ],
)
def test_what_pandas_may_read_otherwise_is_left_out(condition: Any, said: str) -> None:
    with pytest.raises(ConditionError, match=said):
        compile_condition(condition)


def test_a_rule_speaks_of_the_records_that_its_condition_names() -> None:
    kwargs = {"column": "age", "row_condition": BONN}
    compiled = compile_suite(
        {"name": "s", "expectations": [{"type": "expect_column_values_to_not_be_null",
                                        "kwargs": kwargs}]}
    )  # fmt: skip
    (rule,) = compiled.rules
    assert rule.label == "age:not_be_null if city == 'Bonn'"
    assert rule.allowed == "any value but null where city == 'Bonn'"
    judged = [rule.judge_record(r) for r in ({"city": "Bonn"}, {"city": "Ulm"}, {})]
    assert judged == [Verdict.BREAKS, Verdict.MEETS, Verdict.MEETS]
