from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitors.suites.merging import Merged, Prefer, merge, with_base

Rule = dict[str, Any]


def rule(kind: str, *, facts: dict[str, Any] | None = None, **kwargs: Any) -> Rule:
    return {
        "type": f"expect_column_{kind}",
        "kwargs": {"column": "age", **kwargs},
        "meta": {"samescore": {"level": "row", **(facts or {})}},
        "severity": "critical",
    }


def between(low: float, high: float, **more: Any) -> Rule:
    return rule("values_to_be_between", min_value=low, max_value=high, **more)


def cities(*names: str) -> Rule:
    return rule("values_to_be_in_set", column="city", value_set=list(names))


def suite(*rules: Rule) -> dict[str, Any]:
    return {"name": "s", "id": None, "expectations": list(rules), "meta": {"gx": "1.24.1"}}


def generated(*rules: Rule) -> dict[str, Any]:
    return with_base(copy.deepcopy(suite(*rules)))


def edited(base: dict[str, Any], *rules: Rule) -> dict[str, Any]:
    return {**base, "expectations": list(copy.deepcopy(rules))}


def kwargs(found: Merged) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in e["kwargs"].items() if k != "column"} for e in found.suite["expectations"]
    ]


NULL = rule("values_to_not_be_null")
OLD, NEW = between(0, 100), between(5, 120)


def test_nobody_edited_so_the_new_reference_is_followed() -> None:
    found = merge(generated(OLD, NULL), generated(NEW, NULL))
    assert found.suite == generated(NEW, NULL)
    assert (found.updated, found.kept, found.conflicts) == (["age:be_between"], [], [])


def test_the_same_reference_changes_nothing() -> None:
    base = generated(OLD, NULL, cities("Bonn"))
    found = merge(base, generated(OLD, NULL, cities("Bonn")))
    assert json.dumps(found.suite) == json.dumps(base)
    assert found.updated == found.added == found.dropped == found.kept == []


def test_an_edit_stays_and_what_it_does_not_touch_follows() -> None:
    found = merge(edited(generated(OLD), between(0, 200)), generated(between(5, 100)))
    assert kwargs(found) == [{"min_value": 5, "max_value": 200}]
    assert (found.kept, found.conflicts) == (["age:be_between"], [])


def test_what_both_changed_is_a_conflict_and_the_edit_stays() -> None:
    found = merge(edited(generated(OLD), between(0, 200)), generated(NEW))
    assert kwargs(found) == [{"min_value": 5, "max_value": 200}]
    (conflict,) = found.conflicts
    assert (conflict.rule, conflict.field) == ("age:be_between", "kwargs.max_value")
    assert (conflict.base, conflict.edited, conflict.new) == (100, 200, 120)
    assert "was 100, a person made it 200, now it were 120" in str(conflict)
    assert found.suite["meta"]["samescore"]["conflicts"] == [conflict.to_json()]


def test_the_new_value_can_be_preferred() -> None:
    found = merge(edited(generated(OLD), between(0, 200)), generated(NEW), Prefer.NEW)
    assert kwargs(found) == [{"min_value": 5, "max_value": 120}]
    assert len(found.conflicts) == 1


def test_a_conflict_stays_listed_until_it_is_settled() -> None:
    once = merge(edited(generated(OLD), between(0, 200)), generated(NEW)).suite
    again = merge(once, generated(NEW))
    assert again.conflicts == []
    assert len(again.suite["meta"]["samescore"]["conflicts"]) == 1
    assert kwargs(again) == [{"min_value": 5, "max_value": 200}]
    settled = merge(edited(once, between(5, 150)), generated(NEW)).suite
    assert "conflicts" not in settled["meta"]["samescore"]


def test_a_removed_rule_stays_removed() -> None:
    found = merge(edited(generated(OLD, NULL), OLD), generated(OLD, NULL))
    assert len(found.suite["expectations"]) == 1
    assert (found.kept, found.conflicts) == (["age:not_be_null"], [])
    again = merge(found.suite, generated(OLD, NULL))
    assert len(again.suite["expectations"]) == 1


def test_a_removed_rule_that_the_reference_changed_is_a_conflict() -> None:
    found = merge(edited(generated(OLD, NULL), NULL), generated(NEW, NULL))
    assert len(found.suite["expectations"]) == 1
    assert [(c.field, c.edited) for c in found.conflicts] == [("the rule", None)]
    back = merge(edited(generated(OLD, NULL), NULL), generated(NEW, NULL), Prefer.NEW)
    assert len(back.suite["expectations"]) == 2


def test_a_persons_own_rules_stay() -> None:
    mine = rule("values_to_be_between", min_value=1)
    del mine["meta"]
    of_a_table = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
    found = merge(edited(generated(OLD), mine, of_a_table, OLD), generated(NEW))
    assert kwargs(found) == [{"min_value": 1}, {"min_value": 1}, {"min_value": 5, "max_value": 120}]
    assert found.conflicts == []
    assert set(found.kept) == {"age:be_between", "table:row_count_to_be_between"}


def test_a_rule_that_the_reference_no_longer_bears_goes_unless_it_was_edited() -> None:
    plain = merge(generated(OLD, NULL), generated(NULL))
    assert (plain.dropped, len(plain.suite["expectations"])) == (["age:be_between"], 1)
    kept = merge(edited(generated(OLD, NULL), between(0, 200), NULL), generated(NULL))
    assert len(kept.suite["expectations"]) == 2
    assert [(c.field, c.new) for c in kept.conflicts] == [("the rule", None)]


def test_a_new_rule_is_added() -> None:
    found = merge(generated(OLD), generated(OLD, cities("Bonn")))
    assert found.added == ["city:be_in_set"]
    assert len(found.suite["expectations"]) == 2


def test_sets_are_merged_member_by_member() -> None:
    base = generated(cities("Bonn", "Kiel", "Ulm"))
    mine = edited(base, cities("Bonn", "Ulm", "Köln"))
    found = merge(mine, generated(cities("Bonn", "Kiel", "Ulm", "Trier")))
    assert kwargs(found) == [{"value_set": ["Bonn", "Ulm", "Trier", "Köln"]}]
    assert found.conflicts == []


def test_a_policy_severity_and_notes_are_edits_too() -> None:
    mine = between(0, 100, facts={"policy": "flag"})
    mine |= {"severity": "warning", "notes": "ticket 7", "id": "x"}
    (got,) = merge(edited(generated(OLD), mine), generated(NEW)).suite["expectations"]
    assert got["meta"]["samescore"]["policy"] == "flag"
    assert (got["severity"], got["notes"], got["id"]) == ("warning", "ticket 7", "x")
    assert got["kwargs"]["max_value"] == 120


def test_a_policy_that_was_generated_can_be_taken_away() -> None:
    learnt, plain = between(0, 9, facts={"policy": "flag"}), between(0, 9)
    (got,) = merge(edited(generated(learnt), plain), generated(learnt)).suite["expectations"]
    assert "policy" not in got["meta"]["samescore"]


def test_two_hands_never_make_an_impossible_range() -> None:
    found = merge(edited(generated(OLD), between(0, 10)), generated(between(50, 100)))
    assert kwargs(found) == [{"min_value": 0, "max_value": 10}]
    assert [c.field for c in found.conflicts] == ["the rule"]


def test_a_suite_by_hand_is_all_edits() -> None:
    by_hand = suite(between(0, 50), cities("Bonn"))
    found = merge(by_hand, generated(NEW, NULL))
    assert kwargs(found)[0] == {"min_value": 0, "max_value": 50}
    assert {c.field for c in found.conflicts} == {"kwargs.min_value", "kwargs.max_value"}
    assert (found.added, found.kept) == (["age:not_be_null"], ["age:be_between", "city:be_in_set"])


def test_other_meta_and_what_gx_adds_stay() -> None:
    saved = {**OLD, "id": "7", "kwargs": {**OLD["kwargs"], "mostly": 1.0, "row_condition": None}}
    base = edited(generated(OLD), saved)
    base["meta"]["owner"] = "us"
    found = merge(base, generated(NEW))
    assert found.suite["meta"]["owner"] == "us"
    assert (found.updated, found.kept) == (["age:be_between"], [])
    assert found.suite["expectations"][0]["id"] == "7"


BOUND = st.integers(-3, 3)
RULES = st.lists(
    st.one_of(
        st.builds(between, BOUND, st.integers(4, 6)),
        st.just(NULL),
        st.builds(lambda names: cities(*names), st.lists(st.sampled_from("abc"), unique=True)),
    ),
    unique_by=lambda r: r["type"],
)


@given(RULES, RULES, RULES)
def test_no_edit_is_ever_overwritten(base: list[Rule], mine: list[Rule], new: list[Rule]) -> None:
    """Whatever changed where: a value that a person made stays, or is a listed conflict."""
    found = merge(edited(generated(*base), *mine), generated(*new))
    got = {e["type"]: e for e in found.suite["expectations"]}
    was = {e["type"]: e for e in base}
    for held in mine:
        for key, value in held["kwargs"].items():
            old = was.get(held["type"], {"kwargs": {}})["kwargs"].get(key)
            if value != old and key != "value_set":
                assert got[held["type"]]["kwargs"][key] == value
    for kind in was.keys() - {e["type"] for e in mine}:
        assert kind not in got
    assert merge(found.suite, generated(*new)).suite == found.suite
