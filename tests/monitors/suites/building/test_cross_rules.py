from __future__ import annotations

import random
from typing import Any

import pytest

from consistency.errors import ConfigError
from consistency.schema import Field, FieldType, RecordSchema
from monitors.suites import compile_suite
from monitors.suites.building.builder import BuildSettings, SuiteSpec, specify
from monitors.suites.building.held_columns import KeyProfile
from monitors.suites.building.profile import profile
from monitors.suites.compiled.value_tests import Verdict

NUMBER = FieldType.FLOAT64
SCHEMA = RecordSchema(
    (
        Field("gross", NUMBER), Field("net", NUMBER), Field("tax", NUMBER, nullable=True),
        Field("far", NUMBER), Field("noise", NUMBER), Field("city", FieldType.STRING),
        Field("vip", FieldType.BOOL), Field("day", FieldType.INT64),
        Field("night", FieldType.INT64),
        Field("key", FieldType.STRING), Field("manager", FieldType.STRING, required=False),
    )
)  # fmt: skip


def make(rows: int = 2_000, seed: int = 1) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    records = []
    for i in range(rows):
        net = dice.uniform(1, 100)
        day, vip = dice.randrange(25), dice.random() < 0.3
        record: dict[str, Any] = {
            "gross": net * dice.uniform(1.05, 1.3), "net": net, "far": 1000 + dice.random(),
            "tax": None if dice.random() < 0.2 else dice.uniform(0, 0.9) * net,
            "noise": dice.uniform(1, 100), "city": dice.choice(["Bonn", "Ulm", "Kiel"]),
            "vip": vip, "day": day, "night": 24 - day, "key": f"k{i % 50}",
        }  # fmt: skip
        if vip or record["city"] == "Ulm" or dice.random() < 0.7:
            record["manager"] = dice.choice("xyz")
        records.append(record)
    return records


def spec(records: list[dict[str, Any]], **settings: Any) -> SuiteSpec:
    chosen = BuildSettings(batch_level=False, **settings)
    keys = tuple(KeyProfile(names) for names in chosen.unique_together)
    found = profile(SCHEMA, records, max_categories=50, hold=True, keys=keys)
    return specify("s", found, chosen, keys)


def relations(made: SuiteSpec) -> list[Any]:
    greater = "expect_column_pair_values_a_to_be_greater_than_b"
    return [
        (e.kwargs["column_A"], e.kwargs["column_B"], bool(e.kwargs.get("or_equal")))
        for e in made.expectations
        if e.kind == greater
    ]


def conditions(made: SuiteSpec) -> list[Any]:
    return [
        (e.kwargs["column"], e.kwargs["row_condition"]["operator"],
         e.kwargs["row_condition"]["parameter"])
        for e in made.expectations if "row_condition" in e.kwargs
    ]  # fmt: skip


def test_an_order_that_chance_would_break_is_learnt() -> None:
    # far is above all the others, which their ranges say anyway; gross > tax follows
    assert relations(spec(make())) == [("gross", "net", False), ("net", "tax", False)]


def test_ties_make_it_or_equal() -> None:
    records = make()
    records[0]["gross"] = records[0]["net"]
    assert ("gross", "net", True) in relations(spec(records))


def test_one_exception_is_no_relation() -> None:
    records = make()
    records[0]["gross"] = records[0]["net"] - 1
    assert ("gross", "net", False) not in relations(spec(records))


def test_few_records_teach_no_relation() -> None:
    assert relations(spec(make(60))) == []
    assert conditions(spec(make(60))) == []


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_fields_get_no_relation(seed: int) -> None:
    dice = random.Random(seed)
    records = make(300)
    for record in records:
        for name in ("gross", "net", "tax", "far", "noise"):
            record[name] = dice.gauss(0, 1)
    assert relations(spec(records)) == []


def test_where_a_field_is_never_null() -> None:
    assert conditions(spec(make())) == [("manager", "==", "Ulm"), ("manager", "==", True)]


def test_what_is_learnt_flags_and_what_is_named_is_a_promise() -> None:
    made = spec(make(), sums=(("day", "night"),), unique_together=(("net", "key"),))
    policies = {e.policy for e in made.expectations if "row_condition" in e.kwargs
                or "column_A" in e.kwargs}  # fmt: skip
    assert policies == {"flag"}
    total, key = made.expectations[-2:]
    assert (total.kind, total.kwargs["sum_total"]) == ("expect_multicolumn_sum_to_equal", 24.0)
    assert (key.kind, key.level) == ("expect_compound_columns_to_be_unique", "batch")
    assert total.policy is key.policy is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sums": (("day", "noise"),)}, "different sums, from"),
        ({"sums": (("day", "city"),)}, "'city' holds no numbers"),
        ({"sums": (("day", "dusk"),)}, "no field 'dusk'"),
        ({"sums": (("day", "day"),)}, "two or more different fields"),
        ({"unique_together": (("key", "city"),)}, "1850 records repeat"),
    ],
)
def test_a_named_relation_that_does_not_hold(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        spec(make(), **settings)


def test_none_is_learnt_when_nobody_asks() -> None:
    made = spec(make(), cross_columns=False)
    assert (relations(made), conditions(made)) == ([], [])


def test_the_training_records_meet_every_relation() -> None:
    made = spec(make(), sums=(("day", "night"),))
    held = [{"type": e.kind, "kwargs": e.kwargs} for e in made.expectations]
    rules = compile_suite({"name": "s", "expectations": held}).rules
    assert len(rules) == len(held)
    assert all(r.judge_record(x) is Verdict.MEETS for x in make() for r in rules)
