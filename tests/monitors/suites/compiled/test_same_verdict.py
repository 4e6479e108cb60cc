"""The compiled rules and Great Expectations itself say the same of the same rows, row by row.

Values of every JSON type meet rules of every kind. GX judges them in one batch; where a value makes
it raise, it judges each type in a batch of its own, and the rule must call incomparable exactly
what GX raises on.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from monitors.suites import compile_suite
from monitors.suites.compiled.rules import AnyRule, Rule, is_null
from monitors.suites.compiled.value_tests import Verdict
from monitors.suites.whole.checking import frame_of
from monitors.suites.whole.gx import ExpectationOutcome, run_checkpoint

pytestmark = pytest.mark.slow

ROWS = 12_000
COLUMN = "x"
ABSENT = object()

TEXTS = [
    "", "a", "A", "abc", "1", "1.0", "true", "True", "None", "nan", "null", " a", "a ", "a\n", "_",
    "a\nb", "Berlin", "Köln", "東京", "🙂", "é", "e\u0301", "\u0663", "\u017f", "\u212a", "\x0b",
    "2026-01-01", "2026-13-01", "2026-01-01T10:00:00Z", "[1]", "{'a': 1}", "1e5", "0", "-0.0",
    "x" * 300, "a\x00b", "a1",
]  # fmt: skip
NUMBERS = [
    0, 1, 2, 3, -1, 10, 100, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1,
    0.0, -0.0, 1.0, 2.0, 0.1, 0.5, 2.5, 1e-320, 1.7976931348623157e308, math.inf, -math.inf,
    math.nan, 1e16, 123456.789, 1e22, 9007199254740993.0,
]  # fmt: skip
OTHERS = [True, False, None, ABSENT, [], [1], ["a"], [None], {}, {"a": 1}, {"a": None}]


def between(**kwargs: Any) -> tuple[str, dict[str, Any]]:
    return "expect_column_values_to_be_between", kwargs


def values(kind: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    return f"expect_column_values_to_{kind}", kwargs


def lengths(kind: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    return f"expect_column_value_lengths_to_{kind}", kwargs


RULES = [
    values("not_be_null"),
    values("be_null"),
    values("not_be_null", mostly=0.5),
    between(min_value=0, max_value=2),
    between(min_value=0, max_value=2, strict_min=True),
    between(min_value=0, max_value=2, strict_max=True),
    between(min_value=0, max_value=2, strict_min=True, strict_max=True),
    between(min_value=1),
    between(min_value=1, strict_min=True),
    between(max_value=1, mostly=0.3),
    between(max_value=1.0, strict_max=True),
    between(min_value=2**53 + 1, max_value=2**53 + 3),
    between(min_value=-1e308, max_value=1e308),
    between(min_value=0.1, max_value=0.1),
    between(min_value=None, max_value=2.5, strict_min=True),
    values("be_in_set", value_set=["a", "Berlin", "Köln", "東京", ""]),
    values("be_in_set", value_set=[0, 1, 2, 2**53 + 1]),
    values("be_in_set", value_set=[0.0, 0.1, 2**53 + 1, 9007199254740993.0]),
    values("be_in_set", value_set=[True, "a", None]),
    values("be_in_set", value_set=[1, "1", 2.5]),
    values("be_in_set", value_set=[]),
    values("be_in_set", value_set=[None]),
    values("be_in_set", value_set=["True", False], mostly=0.9),
    values("not_be_in_set", value_set=["a", 1, None]),
    values("not_be_in_set", value_set=[]),
    values("not_be_in_set", value_set=[True, 2.0]),
    values("be_of_type", type_="int"),
    values("be_of_type", type_="float"),
    values("be_of_type", type_="str"),
    values("be_of_type", type_="bool"),
    values("be_of_type", type_="LIST"),
    values("be_of_type", type_="dict"),
    values("be_in_type_list", type_list=["int", "float"]),
    values("be_in_type_list", type_list=["str", "bool"]),
    values("be_in_type_list", type_list=["long", "string_types"]),
    values("match_regex", regex="^a"),
    values("match_regex", regex="a$"),
    values("match_regex", regex=r"^\d+$"),
    values("match_regex", regex=r"\w"),
    values("match_regex", regex=r"\s"),
    values("match_regex", regex=r"^.{1,3}$"),
    values("match_regex", regex=r"\ba\b"),
    values("match_regex", regex="(?i)k|s"),
    values("match_regex", regex="(?s)a.b"),
    values("match_regex", regex=r"a\Z"),
    values("match_regex", regex="(?<!B)e"),
    values("match_regex", regex=r"(.)\1"),
    values("match_regex", regex=r"[^a-z]"),
    values("match_regex", regex=r"^[0-9]{4}.*(Z|[+-][0-9][0-9:.]+)$", mostly=0.1),
    values("match_regex", regex=""),
    values("match_regex", regex=r"\W"),
    values("match_regex", regex=r"[\d_]"),
    values("match_regex", regex="é"),
    values("not_match_regex", regex="a"),
    values("not_match_regex", regex=r"\D"),
    values("match_regex_list", regex_list=["a", "e"]),
    values("match_regex_list", regex_list=["a", "b"], match_on="all"),
    values("match_regex_list", regex_list=[r"^\d", "x"], match_on="any"),
    values("not_match_regex_list", regex_list=["a", "1"]),
    lengths("be_between", min_value=1, max_value=3),
    lengths("be_between", min_value=2, strict_min=True),
    lengths("be_between", max_value=2.7),
    lengths("be_between", min_value=1, max_value=4, strict_min=True, strict_max=True),
    lengths("equal", value=1),
    lengths("equal", value=2.0),
    values("match_strftime_format", strftime_format="%Y-%m-%d"),
]


def suite_of(rules: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return {
        "name": "fuzz",
        "expectations": [
            {"type": kind, "kwargs": {"column": COLUMN, **kwargs}} for kind, kwargs in rules
        ],
    }


def draw(dice: random.Random) -> Any:
    """Return any JSON value: often a hard one, else a random one."""
    kind = dice.random()
    if kind < 0.3:
        return dice.choice(TEXTS)
    if kind < 0.6:
        return dice.choice(NUMBERS)
    if kind < 0.7:
        return dice.choice(OTHERS)
    if kind < 0.8:
        return dice.uniform(-5, 5)
    if kind < 0.9:
        return dice.randrange(-5, 200)
    alphabet = "abekKsé1 0\u0663\n_-東"
    return "".join(dice.choice(alphabet) for _ in range(dice.randrange(6)))


def records(seed: int, rows: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    drawn = (draw(dice) for _ in range(rows))
    return [{} if v is ABSENT else {COLUMN: v} for v in drawn]


def judge(suite: dict[str, Any], rows: list[dict[str, Any]]) -> list[ExpectationOutcome]:
    outcomes = run_checkpoint(suite, frame_of(rows, [COLUMN]))
    assert [o.position for o in outcomes] == list(range(len(suite["expectations"])))
    return outcomes


def compare(
    rule: AnyRule, outcome: ExpectationOutcome, rows: list[dict[str, Any]]
) -> list[tuple[Any, ...]]:
    """Return what the two disagree on: value, ours, theirs."""
    assert isinstance(rule, Rule)
    held = [r.get(COLUMN) for r in rows]
    mine = [rule.judge(v) for v in held]
    if outcome.problem:  # GX drops nulls before it looks at values, so none of them made it raise
        theirs = [Verdict.MEETS if is_null(v) else Verdict.INCOMPARABLE for v in held]
    else:
        broken = set(outcome.unexpected)
        theirs = [Verdict.BREAKS if i in broken else Verdict.MEETS for i in range(len(rows))]
    return [(rule.label, v, m, t) for v, m, t in zip(held, mine, theirs, strict=True) if m is not t]


def by_type(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group rows by the type of their value; nulls go with the numbers, as they do in a batch."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(type(row.get(COLUMN)).__name__, []).append(row)
    return list(groups.values())


def test_every_row_gets_the_verdict_of_gx() -> None:
    suite, rows = suite_of(RULES), records(seed=1, rows=ROWS)
    compiled = compile_suite(suite)
    assert [x.reason for x in compiled.left_out] == []
    together = judge(suite, rows)
    raised = [o.position for o in together if o.problem]
    wrong: list[Any] = []
    for outcome in together:
        if not outcome.problem:
            wrong += compare(compiled.rules[outcome.position], outcome, rows)
    for group in by_type(rows):
        apart = {o.position: o for o in judge(suite, group)}
        for position in range(len(RULES)):
            wrong += compare(compiled.rules[position], apart[position], group)
    assert wrong[:20] == [], len(wrong)
    kinds = {compiled.rules[p].kind for p in raised}
    assert kinds == {
        "expect_column_values_to_be_between",
        "expect_column_values_to_match_strftime_format",
    }


@pytest.mark.parametrize("seed", range(3))
def test_random_numbers_meet_random_bounds_as_in_gx(seed: int) -> None:
    dice = random.Random(seed)
    rules = []
    for _ in range(25):
        low, high = sorted((dice.uniform(-5, 5), float(dice.randrange(-5, 6))))
        strict = {"strict_min": dice.random() < 0.5, "strict_max": dice.random() < 0.5}
        both = {"min_value": low, "max_value": high}
        bounds = dice.choice([{"min_value": low}, {"max_value": high}, both])
        rules.append(between(**bounds, **strict, mostly=round(dice.random(), 2)))
        members = [
            dice.choice([*NUMBERS[:20], *TEXTS[:12], True]) for _ in range(dice.randrange(6))
        ]
        rules.append(values(dice.choice(["be_in_set", "not_be_in_set"]), value_set=members))
    rows = [
        r for r in records(seed + 10, 4_000) if not isinstance(r.get(COLUMN), (str, list, dict))
    ]
    suite = suite_of(rules)
    compiled = compile_suite(suite)
    assert not compiled.left_out
    wrong = [w for o in judge(suite, rows) for w in compare(compiled.rules[o.position], o, rows)]
    assert wrong[:20] == []


def test_a_single_row_is_judged_as_in_a_batch() -> None:
    """An online row is a batch of one: GX says of it alone what it says of it among others."""
    suite = suite_of(RULES)
    compiled = compile_suite(suite)
    wrong: list[Any] = []
    for row in records(seed=7, rows=12):
        for outcome in judge(suite, [row]):
            wrong += compare(compiled.rules[outcome.position], outcome, [row])
    assert wrong == []
