"""The arguments of an expectation become the test of a value, or the reason why they cannot.

What is taken is what Great Expectations takes, less what it would have to convert first: a bound
given as a text, a suite parameter. So nothing here depends on how GX reads such a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from consistency.jsontype import Json
from monitors.suites.compiled.regexes import check_pattern
from monitors.suites.compiled.value_tests import (
    Between,
    InSet,
    Length,
    Matches,
    Missing,
    OfType,
    Present,
    TimeFormat,
    ValueTest,
)

Kwargs = Mapping[str, Any]  # Any: JSON values; each is checked where it is used


class LeaveOutError(Exception):
    """An expectation cannot be compiled; the text says why."""


def _in_set(kwargs: Kwargs, wanted: bool = True) -> ValueTest:
    members = kwargs.get("value_set")
    if type(members) is not list:
        raise LeaveOutError(f"value_set is {members!r:.60}, no list")
    odd = [m for m in members if m is not None and type(m) not in (str, int, float, bool)]
    if odd:
        raise LeaveOutError(f"value_set holds {odd[0]!r:.60}, no text, number or boolean")
    # Nulls are dropped before GX looks into the set: a null member matches nothing.
    return InSet(frozenset(m for m in members if m is not None), wanted)


def _between(kwargs: Kwargs) -> ValueTest:
    lower, upper = number(kwargs, "min_value"), number(kwargs, "max_value")
    return _span(kwargs, lower, upper)


def _span(kwargs: Kwargs, lower: float | None, upper: float | None) -> Between:
    if lower is None and upper is None:
        raise LeaveOutError("has neither min_value nor max_value")
    if lower is not None and upper is not None and lower > upper:
        raise LeaveOutError(f"min_value {lower} is over max_value {upper}: GX raises on every row")
    strict = [kwargs.get(name, False) for name in ("strict_min", "strict_max")]
    if any(type(s) is not bool for s in strict):
        raise LeaveOutError(f"strict_min, strict_max are {strict}, no booleans")
    return Between(lower, upper, *strict)


def _lengths(kwargs: Kwargs) -> ValueTest:
    bounds = [number(kwargs, name) for name in ("min_value", "max_value")]
    # GX cuts the bounds of a length to integers.
    lower, upper = (None if b is None else int(b) for b in bounds)
    return Length(_span(kwargs, lower, upper))


def _length(kwargs: Kwargs) -> ValueTest:
    value = number(kwargs, "value")
    if value is None:
        raise LeaveOutError("has no value")
    return Length(Between(value, value))


def _of_type(kwargs: Kwargs) -> ValueTest:
    return _types([kwargs.get("type_")])


def _in_types(kwargs: Kwargs) -> ValueTest:
    names = kwargs.get("type_list")
    if type(names) is not list or not names:
        raise LeaveOutError(f"type_list is {names!r:.60}, no list of types")
    return _types(names)


def _types(names: list[Json]) -> ValueTest:
    for name in names:
        if type(name) is not str or name.lower() not in _NATIVE:
            raise LeaveOutError(
                f"names the type {name!r:.60}, which a parsed JSON value never has; "
                f"use {', '.join(_NATIVE)}"
            )
    return OfType(tuple(_NATIVE[n.lower()] for n in names), tuple(names))


def _regex(kwargs: Kwargs, wanted: bool = True) -> ValueTest:
    return _matches([kwargs.get("regex")], wanted=wanted)


def _regexes(kwargs: Kwargs, wanted: bool = True) -> ValueTest:
    patterns, match_on = kwargs.get("regex_list"), kwargs.get("match_on", "any")
    if type(patterns) is not list or not patterns:
        raise LeaveOutError(f"regex_list is {patterns!r:.60}, no list of patterns")
    if match_on not in ("any", "all"):
        raise LeaveOutError(f"match_on is {match_on!r:.60}, neither any nor all")
    return _matches(patterns, all_of=match_on == "all", wanted=wanted)


def _matches(patterns: list[Json], *, all_of: bool = False, wanted: bool = True) -> ValueTest:
    for pattern in patterns:
        problem = "no text" if type(pattern) is not str else check_pattern(pattern)
        if problem:
            raise LeaveOutError(f"pattern {pattern!r:.60}: {problem}")
    return Matches(tuple(patterns), all_of, wanted)


def _time_format(kwargs: Kwargs) -> ValueTest:
    if type(kwargs.get("strftime_format")) is not str:
        raise LeaveOutError(f"strftime_format is {kwargs.get('strftime_format')!r:.60}, no text")
    return TimeFormat(kwargs["strftime_format"])


def number(kwargs: Kwargs, name: str, default: float | None = None) -> float | None:
    """Return a number as float64, which is how GX holds it, or the default for null and absent."""
    value = kwargs.get(name)
    if value is None:
        return default
    if type(value) not in (int, float):
        raise LeaveOutError(f"{name} is {value!r:.60}, no number")
    return float(value)


_NATIVE: Final[dict[str, type]] = {
    "bool": bool,
    "int": int,
    "long": int,
    "float": float,
    "str": str,
    "string_types": str,
    "list": list,
    "dict": dict,
}
"""GX's names of the types that a JSON parser makes; it ignores their case."""

_BOUNDS: Final = frozenset({"min_value", "max_value", "strict_min", "strict_max"})

TESTS: Final[dict[str, tuple[frozenset[str], Callable[[Kwargs], ValueTest]]]] = {
    "expect_column_values_to_not_be_null": (frozenset(), lambda _: Present()),
    "expect_column_values_to_be_null": (frozenset(), lambda _: Missing()),
    "expect_column_values_to_be_in_set": (frozenset({"value_set"}), _in_set),
    "expect_column_values_to_not_be_in_set": (
        frozenset({"value_set"}),
        lambda kwargs: _in_set(kwargs, wanted=False),
    ),
    "expect_column_values_to_be_between": (_BOUNDS, _between),
    "expect_column_values_to_be_of_type": (frozenset({"type_"}), _of_type),
    "expect_column_values_to_be_in_type_list": (frozenset({"type_list"}), _in_types),
    "expect_column_values_to_match_regex": (frozenset({"regex"}), _regex),
    "expect_column_values_to_not_match_regex": (
        frozenset({"regex"}),
        lambda kwargs: _regex(kwargs, wanted=False),
    ),
    "expect_column_values_to_match_regex_list": (frozenset({"regex_list", "match_on"}), _regexes),
    "expect_column_values_to_not_match_regex_list": (
        frozenset({"regex_list"}),
        lambda kwargs: _regexes(kwargs, wanted=False),
    ),
    "expect_column_value_lengths_to_be_between": (_BOUNDS, _lengths),
    "expect_column_value_lengths_to_equal": (frozenset({"value"}), _length),
    "expect_column_values_to_match_strftime_format": (
        frozenset({"strftime_format"}),
        _time_format,
    ),
}
"""Expectation type to its own arguments, and what makes its test."""
