"""What is said of one value: the verdict of Great Expectations 1.24 on pandas.

GX is the reference. A column of raw records is an object column, each value as the JSON parser made
it, and a test here answers what GX answers for that value in such a column; `docs/suites.md` lists
what was found by experiment. Nulls (None and NaN) never reach a test: see `rules.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Protocol

from consistency.jsontype import Json

_SHOWN: Final = 8
"""Members of a set that a message names."""


class Verdict(Enum):
    """What a rule says of a value.

    INCOMPARABLE: Great Expectations raises on such a value (a text against a numeric bound); the
    value does not meet the rule, and GX gives no verdict on any row of that batch.
    """

    MEETS = "meets"
    BREAKS = "breaks"
    INCOMPARABLE = "incomparable"


def is_null(value: Json) -> bool:
    """Tell whether pandas takes a value for a null.

    >>> is_null(None), is_null(float("nan")), is_null(0), is_null(""), is_null([None])
    (True, True, False, False, False)
    """
    return value is None or value != value  # noqa: PLR0124 - how to find a NaN of any type


_MEETS: Final = Verdict.MEETS
_BREAKS: Final = Verdict.BREAKS


class ValueTest(Protocol):
    """Judges values that are there."""

    def judge(self, value: Json) -> Verdict:
        """Judge a value that is neither None nor NaN."""
        ...

    @property
    def allowed(self) -> str:
        """What meets the rule, for a message, after "allows"."""
        ...


@dataclass(frozen=True, slots=True)
class Present:
    """`not_be_null`: what reaches a test is there."""

    allowed: str = "any value but null"

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        return _MEETS


@dataclass(frozen=True, slots=True)
class Missing:
    """`be_null`."""

    allowed: str = "nothing but null"

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        return _BREAKS


@dataclass(frozen=True, slots=True)
class InSet:
    """`be_in_set` and `not_be_in_set`: Python's equality, so true, 1 and 1.0 are one member.

    Attributes:
        members: texts, numbers and booleans.
        wanted: false for `not_be_in_set`.
    """

    members: frozenset[Any]  # Any: a JSON scalar
    wanted: bool = True

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        try:
            return _MEETS if (value in self.members) is self.wanted else _BREAKS
        except TypeError:  # a list or an object, which is in no set
            return _BREAKS if self.wanted else _MEETS

    @property
    def allowed(self) -> str:
        """See `ValueTest.allowed`."""
        shown = sorted(map(repr, self.members))
        rest = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        text = ", ".join(shown[:_SHOWN]) + rest
        return (f"one of {text}" if self.wanted else f"anything but {text}") if shown else "nothing"


@dataclass(frozen=True, slots=True)
class Between:
    """`be_between`: an exact comparison of numbers; true counts as 1.

    Attributes:
        lower: or None; upper: or None. Float64, as GX reads every numeric bound.
        strict_lower: the bound itself is outside; strict_upper: likewise.
    """

    lower: float | None
    upper: float | None
    strict_lower: bool = False
    strict_upper: bool = False

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        if not isinstance(value, (float, int)):
            return Verdict.INCOMPARABLE
        lower, upper = self.lower, self.upper
        # Written as what must hold, not as its opposite: against a NaN bound nothing holds.
        if lower is not None and not (value > lower if self.strict_lower else value >= lower):
            return _BREAKS
        if upper is not None and not (value < upper if self.strict_upper else value <= upper):
            return _BREAKS
        return _MEETS

    @property
    def allowed(self) -> str:
        """See `ValueTest.allowed`."""
        low = "(-inf" if self.lower is None else f"{'(' if self.strict_lower else '['}{self.lower}"
        high = "inf)" if self.upper is None else f"{self.upper}{')' if self.strict_upper else ']'}"
        return f"numbers in {low}, {high}"


@dataclass(frozen=True, slots=True)
class OfType:
    """`be_of_type` and `be_in_type_list`: Python's `isinstance`, so true is an `int` too.

    Attributes:
        types: of the JSON parser: bool, int, float, str, list, dict.
        names: as the suite gives them.
    """

    types: tuple[type, ...]
    names: tuple[str, ...]

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        return _MEETS if isinstance(value, self.types) else _BREAKS

    @property
    def allowed(self) -> str:
        """See `ValueTest.allowed`."""
        return f"values of type {' or '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class Matches:
    """`match_regex`, `not_match_regex` and their lists: Python's `re.search` in `str(value)`.

    Attributes:
        patterns: one or more.
        all_of: every pattern must be found, not just one of them.
        wanted: false when none may be found.
    """

    patterns: tuple[str, ...]
    all_of: bool = False
    wanted: bool = True
    _searches: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_searches", tuple(map(re.compile, self.patterns)))

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        text = value if type(value) is str else str(value)
        # Bare loops: a generator costs more than a search.
        for search in self._searches:
            if (search.search(text) is None) is self.all_of:
                return _BREAKS if self.all_of or not self.wanted else _MEETS
        return _MEETS if self.all_of or not self.wanted else _BREAKS

    @property
    def allowed(self) -> str:
        """See `ValueTest.allowed`."""
        how = "all of" if self.all_of else "one of"
        what = (
            f"the pattern {self.patterns[0]!r}"
            if len(self.patterns) == 1
            else f"{how} the patterns {', '.join(map(repr, self.patterns))}"
        )
        return f"texts that {'match' if self.wanted else 'do not match'} {what}"


@dataclass(frozen=True, slots=True)
class Length:
    """`value_lengths_to_be_between` and `_equal`: code points of `str(value)`, whatever its type.

    Attributes:
        span: of the length.
    """

    span: Between

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        return self.span.judge(len(value if type(value) is str else str(value)))

    @property
    def allowed(self) -> str:
        """See `ValueTest.allowed`."""
        return f"lengths: {self.span.allowed}"


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """`match_strftime_format`: `datetime.strptime` takes the text.

    Attributes:
        format: of strptime.
    """

    format: str

    def judge(self, value: Json) -> Verdict:
        """Judge a value; see `ValueTest.judge`."""
        if type(value) is not str:
            return Verdict.INCOMPARABLE
        try:
            datetime.strptime(value, self.format)  # noqa: DTZ007 - only whether it parses
        except ValueError:
            return _BREAKS
        return _MEETS

    @property
    def allowed(self) -> str:
        """See `ValueTest.allowed`."""
        return f"times in the format {self.format!r}"
