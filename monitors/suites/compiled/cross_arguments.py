"""The arguments of an expectation about several columns become the test of a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitors.suites.compiled.arguments import Kwargs, LeaveOutError, number
from monitors.suites.compiled.row_tests import (
    Distinct,
    Equal,
    Greater,
    Ignore,
    PairInSet,
    RowTest,
    SumEquals,
)

PAIR: Final = frozenset({"column_A", "column_B", "ignore_row_if"})
LIST: Final = frozenset({"column_list", "ignore_row_if"})

_IGNORE: Final = {
    "both_values_are_missing": Ignore.ALL_NULL,
    "either_value_is_missing": Ignore.ANY_NULL,
    "neither": Ignore.NONE,
    "all_values_are_missing": Ignore.ALL_NULL,
    "any_value_is_missing": Ignore.ANY_NULL,
    "never": Ignore.NONE,
}


@dataclass(frozen=True, slots=True)
class CrossKind:
    """How an expectation about several columns is compiled.

    Attributes:
        names: its arguments.
        make: what makes its test.
        ignore: GX's own default of `ignore_row_if`.
        conditional: whether GX heeds its `row_condition`.
    """

    names: frozenset[str]
    make: Callable[[Kwargs], RowTest]
    ignore: Ignore = Ignore.ALL_NULL
    conditional: bool = True


def cross_columns(kwargs: Kwargs) -> tuple[str, ...]:
    """Return the fields.

    Raises:
        LeaveOutError: they are no texts, fewer than two, or one is there twice.
    """
    held = kwargs.get("column_list", [kwargs.get("column_A"), kwargs.get("column_B")])
    if type(held) is not list or any(type(c) is not str for c in held):
        raise LeaveOutError(f"columns are {held!r:.80}, no texts")
    if len(held) < 2 or len(set(held)) < len(held):
        raise LeaveOutError(f"columns are {held!r:.80}, not two or more different ones")
    return tuple(held)


def ignored(kwargs: Kwargs, default: Ignore) -> Ignore:
    """Return which records are passed over.

    Raises:
        LeaveOutError: GX knows no such choice.
    """
    chosen = kwargs.get("ignore_row_if")
    if chosen is None:
        return default
    of_pair = chosen in ("both_values_are_missing", "either_value_is_missing", "neither")
    if chosen not in _IGNORE or of_pair is not ("column_A" in kwargs):
        raise LeaveOutError(f"ignore_row_if is {chosen!r:.60}, which is not known here")
    return _IGNORE[chosen]


def _greater(kwargs: Kwargs) -> RowTest:
    or_equal = kwargs.get("or_equal")
    if or_equal not in (None, True, False):
        raise LeaveOutError(f"or_equal is {or_equal!r:.60}, no boolean")
    return Greater(bool(or_equal))


def _pairs(kwargs: Kwargs) -> RowTest:
    held = kwargs.get("value_pairs_set")
    if type(held) is not list:
        raise LeaveOutError(f"value_pairs_set is {held!r:.60}, no list")
    for pair in held:
        if type(pair) is not list or len(pair) != 2:
            raise LeaveOutError(f"value_pairs_set holds {pair!r:.60}, no pair")
        if any(v is not None and type(v) not in (str, int, float, bool) for v in pair):
            raise LeaveOutError(f"value_pairs_set holds {pair!r:.60}: no texts, numbers, booleans")
    return PairInSet(frozenset((a, b) for a, b in held))


def _sum(kwargs: Kwargs) -> RowTest:
    total = number(kwargs, "sum_total")
    if total is None:
        raise LeaveOutError("has no sum_total")
    return SumEquals(total)


CROSS: Final[dict[str, CrossKind]] = {
    "expect_column_pair_values_a_to_be_greater_than_b": CrossKind(PAIR | {"or_equal"}, _greater),
    "expect_column_pair_values_to_be_equal": CrossKind(PAIR, lambda _: Equal()),
    "expect_column_pair_values_to_be_in_set": CrossKind(
        PAIR | {"value_pairs_set"}, _pairs, conditional=False
    ),
    "expect_multicolumn_sum_to_equal": CrossKind(LIST | {"sum_total"}, _sum),
    "expect_multicolumn_values_to_be_equal": CrossKind(
        LIST, lambda _: Equal(nulls_equal=True), Ignore.NONE
    ),
    "expect_select_column_values_to_be_unique_within_record": CrossKind(LIST, lambda _: Distinct()),
}
"""Expectation type to how it is compiled."""
