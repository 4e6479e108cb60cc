from __future__ import annotations

import math
from typing import Any

import pytest

from monitors.suites.compiled.row_tests import (
    Distinct,
    Equal,
    Greater,
    PairInSet,
    RowTest,
    SumEquals,
)
from monitors.suites.compiled.value_tests import Verdict

MEETS, BREAKS, INCOMPARABLE = Verdict.MEETS, Verdict.BREAKS, Verdict.INCOMPARABLE


@pytest.mark.parametrize(
    ("test", "values", "verdict"),
    [
        (Greater(), (2, 1), MEETS),
        (Greater(), (1, 1), BREAKS),
        (Greater(or_equal=True), (1, True), MEETS),
        (Greater(), (2**53 + 1, float(2**53)), MEETS),
        (Greater(), (None, 1), BREAKS),
        (Greater(), ("b", 1), INCOMPARABLE),
        (Equal(), (1, 1.0), MEETS),
        (Equal(), (math.nan, math.nan), BREAKS),
        (Equal(nulls_equal=True), (None, math.nan), MEETS),
        (Equal(nulls_equal=True), (1, 1, 2), BREAKS),
        (PairInSet(frozenset({("a", None)})), ("a", math.nan), MEETS),
        (PairInSet(frozenset({("a", None)})), ("a", [None]), MEETS),
        (PairInSet(frozenset({("a", None)})), ("a", [1]), INCOMPARABLE),
        (SumEquals(3), (1, 2), MEETS),
        (SumEquals(0.3), (0.1, 0.2), BREAKS),
        (SumEquals(3), (3, None), BREAKS),
        (SumEquals(3), (3, "x"), INCOMPARABLE),
        (Distinct(), (1, 2, 3), MEETS),
        (Distinct(), (1, True), BREAKS),
        (Distinct(), (math.nan, float("nan")), BREAKS),
        (Distinct(), (1, []), INCOMPARABLE),
    ],
)
def test_verdicts(test: RowTest, values: tuple[Any, ...], verdict: Verdict) -> None:
    assert test.judge(values) is verdict


def test_what_is_allowed_names_the_fields() -> None:
    names = ("a", "b")
    assert Greater(or_equal=True).allows(names) == "'a' >= 'b'"
    assert SumEquals(1).allows(names) == "'a' + 'b' == 1"
    many = PairInSet(frozenset((i, i) for i in range(20)))
    assert many.allows(names).endswith("and 12 more")
