"""Row-level rules: compiled expectations, each about one field of a raw record."""

from __future__ import annotations

from dataclasses import dataclass

from consistency.jsontype import Json
from monitors.suites.value_tests import Present, ValueTest, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled expectation.

    Attributes:
        position: of the expectation in its suite, from 0.
        column: the field of the raw record.
        kind: the expectation's type, `expect_column_values_to_be_between`.
        test: for values that are there.
        mostly: the share of rows that must meet it; below 1, one row is no reason to refuse.
        severity: as the suite gives it.
    """

    position: int
    column: str
    kind: str
    test: ValueTest
    mostly: float = 1.0
    severity: str = "critical"

    def judge(self, value: Json) -> Verdict:
        """Judge any value; None, NaN and an absent key (given as None) break `not_be_null` only."""
        return self.null_verdict if is_null(value) else self.test.judge(value)

    @property
    def null_verdict(self) -> Verdict:
        """What it says of None and NaN."""
        return Verdict.BREAKS if isinstance(self.test, Present) else Verdict.MEETS

    @property
    def label(self) -> str:
        """Short name for a metric: field and rule, `city:be_in_set`."""
        short = self.kind.removeprefix("expect_column_").removeprefix("values_to_")
        return f"{self.column}:{short}"


def is_null(value: Json) -> bool:
    """Tell whether pandas takes a value for a null.

    >>> is_null(None), is_null(float("nan")), is_null(0), is_null(""), is_null([None])
    (True, True, False, False, False)
    """
    return value is None or value != value  # noqa: PLR0124 - how to find a NaN of any type
