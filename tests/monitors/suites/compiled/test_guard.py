from __future__ import annotations

import math
import pickle
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consistency.errors import ConfigError, DataError
from consistency.features import FeatureBatch
from consistency.protocols import Decoded, Guard
from consistency.schema import FeatureSchema
from monitors.suites import CompiledSuite, SuiteGuard, SuitePolicy, compile_suite
from monitors.suites.compiled.guard import MAX_LABELS
from tests.fixtures.scored import INFO

CITY = ("values_to_be_in_set", {"column": "city", "value_set": ["Bonn", "Ulm"]})
AGE = ("values_to_be_between", {"column": "age", "min_value": 18, "max_value": 90})
AGE_THERE = ("values_to_not_be_null", {"column": "age"})
NAME_SOMETIMES = ("values_to_not_be_null", {"column": "name", "mostly": 0.5})

REJECT, FLAG = SuitePolicy.REJECT, SuitePolicy.FLAG


def make_suite(*held: tuple[str, dict[str, Any]]) -> CompiledSuite:
    expectations = [{"type": f"expect_column_{kind}", "kwargs": kwargs} for kind, kwargs in held]
    return compile_suite({"name": "shop", "expectations": expectations})


class Watched:
    """A guard and what it counted."""

    def __init__(self, policy: SuitePolicy, *held: Any) -> None:
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self.guard = SuiteGuard("m", make_suite(*held), policy, self._violated)

    def _violated(self, model: str, rule: str, action: str) -> None:
        self.seen[model, rule, action] += 1

    def check(self, *records: Any, model: str = "m") -> None:
        self.guard.check(Decoded(records=records), replace(INFO, name=model))


def test_it_is_a_guard() -> None:
    guard: Guard = Watched(REJECT, CITY).guard
    assert guard.name == "suite"


def test_a_row_that_breaks_a_rule_is_refused_with_row_field_rule_and_value() -> None:
    watched = Watched(REJECT, CITY, AGE)
    with pytest.raises(DataError) as caught:
        watched.check({"city": "Bonn", "age": 20}, {"city": "Atlantis", "age": 20})
    assert (caught.value.row, caught.value.field) == (1, "city")
    assert str(caught.value) == (
        "数据错误: row 1 field 'city' is 'Atlantis'; rule expect_column_values_to_be_in_set of "
        "suite 'shop' allows one of 'Bonn', 'Ulm'; send such a value"
    )


def test_the_first_violation_is_told_and_all_are_counted() -> None:
    watched = Watched(REJECT, CITY, AGE, AGE_THERE)
    with pytest.raises(DataError, match="row 0 field 'age' is missing"):
        watched.check({"city": "Bonn"}, {"city": "Kiel", "age": 9}, {"city": "Ulm", "age": 99})
    assert watched.seen == {
        ("m", "age:not_be_null", "rejected"): 1,
        ("m", "city:be_in_set", "rejected"): 1,
        ("m", "age:be_between", "rejected"): 2,
    }


def test_flagged_rows_go_on() -> None:
    watched = Watched(FLAG, CITY, AGE)
    watched.check({"city": "Kiel", "age": 17}, {"city": "Ulm", "age": 30})
    labels = [("m", "city:be_in_set", "flagged"), ("m", "age:be_between", "flagged")]
    assert watched.seen == dict.fromkeys(labels, 1)


def test_flags_name_the_rules_and_their_rows() -> None:
    guard = Watched(FLAG, CITY, AGE).guard
    rows = [{"city": "Kiel", "age": 17}, {"city": "Ulm", "age": 30}, {"city": "Trier", "age": 40}]
    found = guard.check(Decoded(records=rows), INFO)
    assert found == {"city:be_in_set": [0, 2], "age:be_between": [0]}
    assert guard.check(Decoded(records=rows[1:2]), INFO) is None


def with_policy(spec: tuple[str, dict[str, Any]], policy: str) -> dict[str, Any]:
    kind, kwargs = spec
    meta = {"samescore": {"policy": policy}}
    return {"type": f"expect_column_{kind}", "kwargs": kwargs, "meta": meta}


def test_each_rule_has_its_own_policy() -> None:
    held = [with_policy(CITY, "count"), with_policy(AGE, "flag"), with_policy(AGE_THERE, "reject")]
    seen: Counter[tuple[str, str, str]] = Counter()

    def violated(*labels: str) -> None:
        seen[labels] += 1  # type: ignore[index] # three labels

    for default in SuitePolicy:
        seen.clear()
        compiled = compile_suite({"name": "s", "expectations": held})
        guard = SuiteGuard("m", compiled, default, violated)
        bad = Decoded(records=[{"city": "Kiel", "age": 9}])
        assert guard.check(bad, INFO) == {"age:be_between": [0]}
        with pytest.raises(DataError, match="field 'age' is missing"):
            guard.check(Decoded(records=[{"city": "Kiel"}]), INFO)
        assert seen == {
            ("m", "city:be_in_set", "counted"): 2,
            ("m", "age:be_between", "flagged"): 1,
            ("m", "age:not_be_null", "rejected"): 1,
        }
        assert set(guard.labels) == set(seen)


def test_the_servers_policy_may_be_to_count() -> None:
    watched = Watched(SuitePolicy.COUNT, CITY, NAME_SOMETIMES)
    assert watched.guard.check(Decoded(records=[{"city": "Kiel"}]), INFO) is None
    assert set(watched.seen) == {
        ("m", "city:be_in_set", "counted"),
        ("m", "name:not_be_null", "counted"),
    }


@pytest.mark.parametrize(
    ("policy", "kwargs", "said"),
    [
        ("refuse", {}, "meta.samescore.policy is 'refuse'; make it one of reject, flag, count"),
        ("reject", {"mostly": 0.9}, "mostly tolerates some rows"),
    ],
)
def test_an_unusable_policy_is_a_clear_error(policy: str, kwargs: Any, said: str) -> None:
    held = with_policy((CITY[0], {**CITY[1], **kwargs}), policy)
    with pytest.raises(ConfigError, match=said):
        compile_suite({"name": "s", "expectations": [held]})


PAID = ("pair_values_a_to_be_greater_than_b", {"column_A": "price", "column_B": "paid"})
BONN = {"type": "comparison", "column": {"name": "city"}, "operator": "==", "parameter": "Bonn"}
AGE_IN_BONN = ("values_to_not_be_null", {"column": "age", "row_condition": BONN})


def test_a_relation_that_is_broken_names_its_fields_and_values() -> None:
    with pytest.raises(DataError) as caught:
        Watched(REJECT, PAID).check({"price": 3, "paid": 2}, {"price": 1, "paid": 2})
    assert (caught.value.row, caught.value.field) == (1, "price")
    assert str(caught.value) == (
        "数据错误: row 1 field 'price' is 1, 'paid' is 2; rule expect_column_pair_values_a_to_be_"
        "greater_than_b of suite 'shop' allows records with 'price' > 'paid'; send such a record"
    )


def test_a_condition_chooses_the_records() -> None:
    watched = Watched(FLAG, AGE_IN_BONN, PAID)
    watched.check({"city": "Bonn"}, {"city": "Ulm"}, {"city": "Bonn", "age": 3})
    assert watched.seen == {("m", "age:not_be_null if city == 'Bonn'", "flagged"): 1}
    with pytest.raises(DataError, match="allows any value but null where city == 'Bonn'"):
        Watched(REJECT, AGE_IN_BONN).check({"city": "Bonn"})


def test_good_rows_pass_uncounted() -> None:
    watched = Watched(REJECT, CITY, AGE, AGE_THERE)
    watched.check({"city": "Ulm", "age": 18}, {"age": 90.0, "city": None}, {"age": 40, "more": 1})
    assert not watched.seen


def test_a_rule_that_tolerates_some_rows_never_refuses_one() -> None:
    watched = Watched(REJECT, NAME_SOMETIMES, AGE)
    watched.check({"age": 20})
    assert watched.seen == {("m", "name:not_be_null", "flagged"): 1}


def test_null_nan_and_absent_break_not_null_only() -> None:
    watched = Watched(FLAG, AGE, AGE_THERE)
    watched.check({"age": None}, {"age": math.nan}, {})
    assert watched.seen == {("m", "age:not_be_null", "flagged"): 3}


@pytest.mark.parametrize("value", ["20", [20], {"a": 20}])
def test_what_gx_cannot_compare_breaks_the_rule(value: Any) -> None:
    with pytest.raises(DataError, match=r"allows numbers in \[18.0, 90.0\]"):
        Watched(REJECT, AGE).check({"age": value})


def test_other_models_and_other_payloads_pass_unseen() -> None:
    watched = Watched(REJECT, AGE_THERE)
    watched.check({}, model="another")
    features = FeatureBatch(FeatureSchema.float64(("age",)), 1, np.array([[1.0]], order="F"))
    watched.guard.check(Decoded(features=features), INFO)
    watched.guard.check(Decoded(opaque={"age": None}), INFO)
    assert not watched.seen


def test_rows_that_are_no_objects_are_left_to_the_pipeline() -> None:
    Watched(REJECT, AGE_THERE).check(3, "x", [])


def test_a_suite_without_row_rules_cannot_guard() -> None:
    batch = make_suite(("mean_to_be_between", {"column": "age", "min_value": 1}))
    with pytest.raises(ConfigError, match=r"no rule for single rows .*over a batch of rows"):
        SuiteGuard("m", batch, REJECT)
    with pytest.raises(ConfigError, match="it is empty"):
        SuiteGuard("m", make_suite(), REJECT)


def test_labels_are_known_beforehand_and_bounded() -> None:
    few = Watched(REJECT, CITY, NAME_SOMETIMES).guard
    assert few.labels == [
        ("m", "city:be_in_set", "rejected"),
        ("m", "name:not_be_null", "flagged"),
    ]
    held = [("values_to_not_be_null", {"column": f"f{i}"}) for i in range(150)]
    watched = Watched(FLAG, *held)
    assert len(set(watched.guard.labels)) == MAX_LABELS + 1
    watched.check({})
    assert watched.seen[("m", "other", "flagged")] == 50
    assert set(watched.seen) == set(watched.guard.labels)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(DataError) as caught:
        Watched(REJECT, CITY).check({"city": "x" * 10_000})
    assert len(str(caught.value)) < 300


def test_it_can_be_sent_to_a_worker_process() -> None:
    rules = (CITY, AGE, ("values_to_match_regex", {"column": "city", "regex": "^[BU]"}))
    guard = pickle.loads(pickle.dumps(SuiteGuard("m", make_suite(*rules), REJECT)))
    with pytest.raises(DataError, match="city"):
        guard.check(Decoded(records=[{"city": "Kiel"}]), INFO)
