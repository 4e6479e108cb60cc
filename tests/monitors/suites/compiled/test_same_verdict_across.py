"""Rules over several fields, and rules with a condition: the guard says what GX says, row by row.

Records are drawn from pools of strange values. Where GX raises it gives no verdict on a batch, so
every pair of value types also gets a batch of its own: GX raises there if, and only if, the
compiled rule calls a row of it incomparable.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from monitors.suites import compile_suite
from monitors.suites.compiled.rules import AnyRule
from monitors.suites.compiled.value_tests import Verdict
from monitors.suites.whole.checking import frame_of
from monitors.suites.whole.gx import run_checkpoint

pytestmark = pytest.mark.slow

COLUMNS = ("a", "b", "c", "h a", "class", "index", "c.d")
NUMBERS = [
    None, math.nan, math.inf, -math.inf, 0, -0.0, 0.0, 1, 2, 3, 4, 5, -1, 1.0, 2.0, 0.1, 0.5, 2.9,
    2**53, 2**53 + 1, float(2**53), 2**70, -(2**70), 1e308, True, False,
]  # fmt: skip
TEXTS = [None, "", "a", "b", "A", "1", "é", "e\u0301", "東京", "🙂", "a\n", "\x00", "x" * 200]
LISTS: list[Any] = [[], [1], [None], ["a"], [math.nan], [[None]], [1, 2], [2], [True]]
OBJECTS: list[Any] = [{}, {"a": 1}, {"a": None}]
POOLS: dict[str, list[Any]] = {
    "numbers": NUMBERS,
    "texts": TEXTS,
    "lists": LISTS,
    "objects": OBJECTS,
}

Spec = tuple[str, dict[str, Any]]


def compared(column: str, sign: str, parameter: Any) -> dict[str, Any]:
    return {
        "type": "comparison",
        "column": {"name": column},
        "operator": sign,
        "parameter": parameter,
    }


def null(column: str, wanted: bool = True) -> dict[str, Any]:
    return {"type": "nullity", "column": {"name": column}, "is_null": wanted}


def pair(kind: str, **kwargs: Any) -> Spec:
    return f"expect_column_pair_values_{kind}", {"column_A": "a", "column_B": "b", **kwargs}


def across(kind: str, *columns: str, **kwargs: Any) -> Spec:
    return f"expect_{kind}", {"column_list": list(columns), **kwargs}


PAIRS = [[1, 2], [1, 1], ["a", None], [None, None], [True, False], ["é", "東京"], [0, 0.5]]
OF_A_PAIR: list[dict[str, Any]] = [{}] + [
    {"ignore_row_if": c} for c in ("both_values_are_missing", "either_value_is_missing", "neither")
]
OF_SEVERAL: list[dict[str, Any]] = [{}] + [
    {"ignore_row_if": c} for c in ("all_values_are_missing", "any_value_is_missing", "never")
]
CROSS: list[Spec] = [
    *(pair("a_to_be_greater_than_b", **k) for k in OF_A_PAIR),
    *(pair("a_to_be_greater_than_b", or_equal=True, **k) for k in OF_A_PAIR),
    *(pair("to_be_equal", **k) for k in OF_A_PAIR),
    *(pair("to_be_in_set", value_pairs_set=PAIRS, **k) for k in OF_A_PAIR),
    *(across("multicolumn_sum_to_equal", "a", "b", sum_total=3, **k) for k in OF_SEVERAL),
    *(across("multicolumn_sum_to_equal", "a", "b", "c", sum_total=1.1, **k) for k in OF_SEVERAL),
    *(across("multicolumn_values_to_be_equal", "a", "b", "c", **k) for k in OF_SEVERAL),
    *(across("select_column_values_to_be_unique_within_record", "a", "b", **k) for k in OF_SEVERAL),
    across("select_column_values_to_be_unique_within_record", "a", "b", "c", mostly=0.5),
]
ON_NUMBERS = [
    *(compared("c", s, p) for s in ("==", "!=", "<", "<=", ">", ">=") for p in (1, 2.5)),
    compared("c", "==", True), compared("c", "!=", False), compared("c", "==", -1),
    compared("c", "==", 2**53), compared("c", "==", "a"), compared("c", "!=", ""),
    compared("c", "IN", [1, 2.5, 0]), compared("c", "NOT_IN", [1, 2]), compared("c", "IN", ["a"]),
    null("c"), null("c", wanted=False),
    {"type": "and", "conditions": [compared("c", ">", 0), compared("b", "<", 4)]},
    {"type": "or", "conditions": [null("c"), compared("b", "IN", [1, 2])]},
    {"type": "or", "conditions": [
        {"type": "and", "conditions": [compared("c", "!=", 1), compared("b", "==", 2)]},
        null("a", wanted=False)]},
    *(compared(name, "==", 1) for name in ("h a", "class", "index", "c.d")),
]  # fmt: skip
ON_TEXTS = [
    *(compared("c", s, "a") for s in ("==", "!=", "<", "<=", ">", ">=")),
    compared("c", "==", "東'\"\\x"), compared("c", "==", ""), compared("c", "!=", 1),
    compared("c", "IN", ["a", "é"]), compared("c", "NOT_IN", ["", "A"]), compared("c", "IN", [1]),
    null("c"),
]  # fmt: skip


def with_conditions(conditions: Sequence[dict[str, Any]]) -> list[Spec]:
    return [
        (kind, {**kwargs, "row_condition": condition})
        for condition in conditions
        for kind, kwargs in (
            ("expect_column_values_to_be_between", {"column": "a", "min_value": 1}),
            pair("to_be_equal"),
        )
    ]


def suite_of(specs: Sequence[Spec]) -> dict[str, Any]:
    return {"name": "f", "expectations": [{"type": t, "kwargs": k} for t, k in specs]}


def compiled(specs: Sequence[Spec]) -> list[AnyRule]:
    made = compile_suite(suite_of(specs))
    assert [x.reason for x in made.left_out] == []
    return list(made.rules)


def records(dice: random.Random, rows: int, **pools: list[Any]) -> list[dict[str, Any]]:
    """Return records whose fields are drawn from their pools; a tenth of the fields is absent."""
    return [{n: dice.choice(p) for n, p in pools.items() if dice.random() > 0.1}
            for _ in range(rows)]  # fmt: skip


def differences(specs: Sequence[Spec], rows: list[dict[str, Any]]) -> list[Any]:
    """Return what the compiled rules and GX disagree on."""
    wrong: list[Any] = []
    outcomes = run_checkpoint(suite_of(specs), frame_of(rows, COLUMNS))
    for rule, outcome in zip(compiled(specs), outcomes, strict=True):
        mine = [rule.judge_record(r) for r in rows]
        raised = Verdict.INCOMPARABLE in mine
        if raised is not bool(outcome.problem):
            wrong.append((rule.label, raised, outcome.problem))
        elif not raised:
            broken = {i for i, v in enumerate(mine) if v is Verdict.BREAKS}
            wrong += [(rule.label, rows[i]) for i in broken ^ set(outcome.unexpected)]
    return wrong


@pytest.mark.parametrize("seed", [1, 2])
def test_numbers_across_fields(seed: int) -> None:
    rows = records(random.Random(seed), 3_000, **dict.fromkeys("abc", NUMBERS))
    assert differences(CROSS, rows)[:10] == []


def test_texts_across_fields() -> None:
    rows = records(random.Random(3), 1_000, **dict.fromkeys("abc", TEXTS))
    assert differences(CROSS, rows)[:10] == []


def test_numbers_under_a_condition() -> None:
    rows = records(random.Random(4), 2_000, **dict.fromkeys(COLUMNS, NUMBERS))
    assert differences(with_conditions(ON_NUMBERS), rows)[:10] == []


def test_texts_under_a_condition() -> None:
    pools: dict[str, list[Any]] = {"a": NUMBERS, "b": NUMBERS, "c": TEXTS}
    rows = records(random.Random(5), 2_000, **pools)
    assert differences(with_conditions(ON_TEXTS), rows)[:10] == []


def test_what_compares_with_anything_meets_every_type() -> None:
    everything = [v for pool in POOLS.values() for v in pool]
    rows = records(random.Random(6), 2_000, a=NUMBERS, b=everything, c=everything)
    sets = [compared("c", s, p) for s in ("IN", "NOT_IN") for p in (["a", "é"], [1, 0.5])]
    equal = [compared("c", s, p) for s in ("==", "!=") for p in ("a", 1, True)]
    assert differences(with_conditions([*sets, *equal, null("c")]), rows)[:10] == []
    assert differences([pair("to_be_equal"), CROSS[-9]], rows)[:10] == []


def test_gx_raises_exactly_where_a_row_is_incomparable() -> None:
    dice, wrong = random.Random(7), []
    plain = [CROSS[0], CROSS[6], CROSS[12], CROSS[16], CROSS[28]]
    ordered = with_conditions([compared("b", "<", 2), compared("b", ">=", "a")])
    specs = [*plain, *(s for s in ordered if s[0].startswith("expect_column_values"))]
    for (_, first), (_, second) in itertools.product(POOLS.items(), repeat=2):
        there = [v for v in first if v is not None], [v for v in second if v is not None]
        rows = records(dice, 12, a=there[0], b=there[1], c=NUMBERS)
        wrong += differences(specs, [r for r in rows if "a" in r and "b" in r])
    assert wrong[:10] == []
