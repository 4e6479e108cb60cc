"""A rule's `row_condition`, compiled: which records the rule looks at.

What is taken is the structured form that GX 1.x writes (`Column("city") == "Bonn"`, `is_in`,
`is_null`, and their and/or). A filter text for pandas (`condition_parser`) is a program, not a
condition: such a rule is left to Great Expectations itself. The verdicts are those of pandas'
`query` on object columns, with which GX filters.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from consistency.jsontype import Json
from monitors.suites.compiled.value_tests import is_null

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MAY_HOLD: Final = {"": ("and", "or"), "or": ("and",)}
_EXACT: Final = 2**53


class ConditionError(Exception):
    """A condition cannot be compiled; the text says why."""


class RowCondition(Protocol):
    """Tells of which records a rule speaks."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that it reads."""
        ...

    def holds(self, record: Mapping[str, Json]) -> bool | None:
        """Tell whether the rule looks at a record; None where GX raises on its values."""
        ...

    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Compares:
    """A field compared with a constant; against a null only "unequal" holds.

    Attributes:
        column: the field; operator: one of `== != < <= > >=`; parameter: text, number, boolean.
    """

    column: str
    operator: str
    parameter: str | float | bool

    @property
    def columns(self) -> tuple[str, ...]:
        """See `RowCondition.columns`."""
        return (self.column,)

    def holds(self, record: Mapping[str, Json]) -> bool | None:
        """See `RowCondition.holds`."""
        value = record.get(self.column)
        if is_null(value):
            return self.operator == "!="
        try:
            return bool(_COMPARE[self.operator](value, self.parameter))
        except TypeError:
            return None

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {self.parameter!r}"


@dataclass(frozen=True, slots=True)
class IsIn:
    """A field that is one of some constants, or none of them; a null, list or object is none.

    Attributes:
        column: the field; members: all texts, or all numbers; wanted: false for "not in".
    """

    column: str
    members: tuple[str | float, ...]
    wanted: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """See `RowCondition.columns`."""
        return (self.column,)

    def holds(self, record: Mapping[str, Json]) -> bool | None:
        """See `RowCondition.holds`."""
        value = record.get(self.column)
        return (not is_null(value) and value in self.members) is self.wanted

    def __str__(self) -> str:
        members = ", ".join(map(repr, self.members))
        return f"{self.column} {'in' if self.wanted else 'not in'} ({members})"


@dataclass(frozen=True, slots=True)
class IsNull:
    """A field that is null, NaN or absent, or that is not.

    Attributes:
        column: the field; wanted: false for "is not null".
    """

    column: str
    wanted: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """See `RowCondition.columns`."""
        return (self.column,)

    def holds(self, record: Mapping[str, Json]) -> bool | None:
        """See `RowCondition.holds`."""
        return is_null(record.get(self.column)) is self.wanted

    def __str__(self) -> str:
        return f"{self.column} is {'' if self.wanted else 'not '}null"


@dataclass(frozen=True, slots=True)
class Joined:
    """Several conditions, of which all or any must hold; each is asked, as pandas does.

    Attributes:
        parts: one or more.
        every: all of them must hold, not just one.
    """

    parts: tuple[RowCondition, ...]
    every: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """See `RowCondition.columns`."""
        return tuple(dict.fromkeys(c for part in self.parts for c in part.columns))

    def holds(self, record: Mapping[str, Json]) -> bool | None:
        """See `RowCondition.holds`."""
        found = [part.holds(record) for part in self.parts]
        if None in found:
            return None
        return all(found) if self.every else any(found)

    def __str__(self) -> str:
        return f"({(' and ' if self.every else ' or ').join(map(str, self.parts))})"


def compile_condition(value: Json, within: str = "") -> RowCondition:
    """Compile a `row_condition` of a suite's JSON.

    Args:
        value: the condition.
        within: `and` or `or`, for a part of one: GX takes no "or" within either.

    Raises:
        ConditionError: it is no structured condition, or one that pandas may read otherwise.

    >>> str(compile_condition({"type": "nullity", "column": {"name": "x"}, "is_null": False}))
    'x is not null'
    """
    if type(value) is not dict:
        raise ConditionError("has a row_condition, which only Great Expectations itself can read")
    kind = value.get("type")
    if kind == "comparison":
        return _comparison(value)
    if kind == "nullity" and type(value.get("is_null")) is bool:
        return IsNull(_column(value), value["is_null"])
    if kind in _MAY_HOLD.get(within, ()) and type(value.get("conditions")) is list:
        parts = tuple(compile_condition(v, kind) for v in value["conditions"])
        return Joined(parts, every=kind == "and")
    raise ConditionError(
        f"has a row_condition of type {kind!r:.40}, which only Great Expectations itself can read"
    )


def _comparison(value: dict[str, Json]) -> RowCondition:
    column, sign, parameter = _column(value), value.get("operator"), value.get("parameter")
    if sign in ("IN", "NOT_IN"):
        if type(parameter) is not list or not parameter:
            raise ConditionError(f"row_condition: {parameter!r:.60} is no list of values")
        kinds = {str if type(p) is str else float for p in parameter}
        if len(kinds) > 1 or any(type(p) is bool for p in parameter):
            raise ConditionError(f"row_condition: {parameter!r:.60} are not all texts or numbers")
        return IsIn(column, tuple(map(_constant, parameter)), wanted=sign == "IN")
    if sign not in _COMPARE:
        raise ConditionError(f"row_condition: operator {sign!r:.40} is not known here")
    return Compares(column, sign, _constant(parameter))


def _constant(value: Json) -> str | float | bool:
    """Return a constant that means the same as a literal in pandas' query."""
    if type(value) is bool or (type(value) is str and "`" not in value and value.isprintable()):
        return value
    if type(value) in (int, float) and math.isfinite(value) and abs(value) <= _EXACT:
        return value  # type: ignore[no-any-return] # a number, as the line above found
    raise ConditionError(f"row_condition: the constant {value!r:.60} is not known here")


def _column(value: dict[str, Json]) -> str:
    held = value.get("column")
    name = held.get("name") if type(held) is dict else None
    if type(name) is not str or not name.isprintable() or "`" in name:
        raise ConditionError(f"row_condition: the column {name!r:.60} is not known here")
    return name
