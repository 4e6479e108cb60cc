"""What is said of several fields of one record: the verdict of Great Expectations 1.24 on pandas.

As in `value_tests.py`, GX is the reference, on object columns; the fuzz compares the two. Nulls do
reach these tests, unless the rule passes over such a record (`Ignore`).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Any, Final, Protocol

from consistency.jsontype import Json
from monitors.suites.compiled.value_tests import Verdict, is_null

_MEETS: Final = Verdict.MEETS
_BREAKS: Final = Verdict.BREAKS
_SHOWN: Final = 8


class Ignore(StrEnum):
    """Which records a rule passes over: those in which all, any, or none of its fields is null."""

    ALL_NULL = "all"
    ANY_NULL = "any"
    NONE = "none"


class RowTest(Protocol):
    """Judges the values of a rule's fields, in the rule's order."""

    def judge(self, values: Sequence[Json]) -> Verdict:
        """Judge the values of one record; None where the field is absent."""
        ...

    def allows(self, columns: Sequence[str]) -> str:
        """Return what meets the rule, for a message, after "allows"."""
        ...


@dataclass(frozen=True, slots=True)
class Greater:
    """`pair_values_a_to_be_greater_than_b`; a null is greater than nothing, and nothing than it.

    Attributes:
        or_equal: equal values meet it too.
    """

    or_equal: bool = False

    def judge(self, values: Sequence[Json]) -> Verdict:
        """Judge two values; see `RowTest.judge`."""
        a, b = values
        if is_null(a) or is_null(b):
            return _BREAKS
        try:
            return _MEETS if (a >= b if self.or_equal else a > b) else _BREAKS
        except TypeError:  # a text and a number, two objects
            return Verdict.INCOMPARABLE

    def allows(self, columns: Sequence[str]) -> str:
        """See `RowTest.allows`."""
        return f"{columns[0]!r} {'>=' if self.or_equal else '>'} {columns[1]!r}"


@dataclass(frozen=True, slots=True)
class Equal:
    """`pair_values_to_be_equal` and `multicolumn_values_to_be_equal`.

    Attributes:
        nulls_equal: two nulls are equal, as for several columns; of a pair they are not.
    """

    nulls_equal: bool = False

    def judge(self, values: Sequence[Json]) -> Verdict:
        """Judge two or more values; see `RowTest.judge`."""
        first = values[0]
        if is_null(first):
            alike = self.nulls_equal and all(map(is_null, values))
        else:
            alike = all(first is v or first == v for v in values[1:])
        return _MEETS if alike else _BREAKS

    def allows(self, columns: Sequence[str]) -> str:
        """See `RowTest.allows`."""
        return " == ".join(map(repr, columns))


@dataclass(frozen=True, slots=True)
class PairInSet:
    """`pair_values_to_be_in_set`: Python's equality; null is a member like any other.

    Attributes:
        members: pairs of texts, numbers, booleans and None.
    """

    members: frozenset[tuple[Any, Any]]  # Any: JSON scalars

    def judge(self, values: Sequence[Json]) -> Verdict:
        """Judge two values; see `RowTest.judge`."""
        a, b = (None if is_null(v) or _is_list_of_null(v) else v for v in values)
        try:
            return _MEETS if (a, b) in self.members else _BREAKS
        except TypeError:  # a list or an object, which cannot be looked up
            return Verdict.INCOMPARABLE

    def allows(self, columns: Sequence[str]) -> str:
        """See `RowTest.allows`."""
        shown = sorted(map(repr, self.members))
        rest = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        return f"({', '.join(columns)}) in {', '.join(shown[:_SHOWN])}{rest}"


def _is_list_of_null(value: Json) -> bool:
    """Tell whether pandas, asked whether a list is null, says yes: one null in lists of one."""
    while type(value) is list and len(value) == 1:
        value = value[0]
        if is_null(value):
            return True
    return False


@dataclass(frozen=True, slots=True)
class SumEquals:
    """`multicolumn_sum_to_equal`: the sum, from left to right, exactly; a null makes it unequal.

    Attributes:
        total: float64.
    """

    total: float

    def judge(self, values: Sequence[Json]) -> Verdict:
        """Judge two or more values; see `RowTest.judge`."""
        if any(map(is_null, values)):
            return _BREAKS
        try:
            return _MEETS if reduce(operator.add, values) == self.total else _BREAKS
        except TypeError:  # a text and a number
            return Verdict.INCOMPARABLE

    def allows(self, columns: Sequence[str]) -> str:
        """See `RowTest.allows`."""
        return f"{' + '.join(map(repr, columns))} == {self.total:g}"


@dataclass(frozen=True, slots=True)
class Distinct:
    """`select_column_values_to_be_unique_within_record`: no two of the values are equal."""

    def judge(self, values: Sequence[Json]) -> Verdict:
        """Judge two or more values; see `RowTest.judge`."""
        try:
            held = {_NAN if v != v else v for v in values}  # noqa: PLR0124 - NaN equals NaN here
        except TypeError:  # a list or an object
            return Verdict.INCOMPARABLE
        return _MEETS if len(held) == len(values) else _BREAKS

    def allows(self, columns: Sequence[str]) -> str:
        """See `RowTest.allows`."""
        return f"different values in {', '.join(map(repr, columns))}"


_NAN: Final = object()
