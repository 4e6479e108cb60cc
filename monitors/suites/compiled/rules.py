"""Row-level rules: compiled expectations about one field of a raw record, or about several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from consistency.jsontype import Json
from monitors.suites.compiled.conditions import RowCondition
from monitors.suites.compiled.row_tests import Ignore, RowTest
from monitors.suites.compiled.value_tests import Present, ValueTest, Verdict, is_null
from monitors.suites.naming import rule_name
from monitors.suites.policy import SuitePolicy

__all__ = ["AnyRule", "CrossRule", "Rule", "is_null"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled expectation about one field.

    Attributes:
        position: of the expectation in its suite, from 0.
        column: the field of the raw record.
        kind: the expectation's type, `expect_column_values_to_be_between`.
        test: for values that are there.
        mostly: the share of rows that must meet it; below 1, one row is no reason to refuse.
        severity: as the suite gives it.
        policy: what becomes of a row that breaks it; None leaves that to the server.
        condition: the records that it looks at; None for all.
    """

    position: int
    column: str
    kind: str
    test: ValueTest
    mostly: float = 1.0
    severity: str = "critical"
    policy: SuitePolicy | None = None
    condition: RowCondition | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The field that it judges."""
        return (self.column,)

    def judge(self, value: Json) -> Verdict:
        """Judge any value; None, NaN and an absent key (given as None) break `not_be_null` only."""
        return self.null_verdict if is_null(value) else self.test.judge(value)

    def judge_record(self, record: Mapping[str, Json]) -> Verdict:
        """Judge a record; one that the condition leaves out meets the rule."""
        applies = True if self.condition is None else self.condition.holds(record)
        if applies is None:
            return Verdict.INCOMPARABLE
        return self.judge(record.get(self.column)) if applies else Verdict.MEETS

    @property
    def null_verdict(self) -> Verdict:
        """What it says of None and NaN."""
        return Verdict.BREAKS if isinstance(self.test, Present) else Verdict.MEETS

    @property
    def allowed(self) -> str:
        """What meets the rule, for a message, after "allows"."""
        return self.test.allowed + _where(self.condition)

    @property
    def label(self) -> str:
        """Short name for a metric: field and rule, `city:be_in_set`."""
        return rule_name(self.kind, self.columns, self.condition)


@dataclass(frozen=True, slots=True)
class CrossRule:
    """One compiled expectation about several fields of a record.

    Attributes:
        columns: the fields, in the order of the test.
        test: for their values.
        ignore: which records it passes over.
        position, kind, mostly, severity, policy, condition: as in `Rule`.
    """

    position: int
    columns: tuple[str, ...]
    kind: str
    test: RowTest
    ignore: Ignore = Ignore.ALL_NULL
    mostly: float = 1.0
    severity: str = "critical"
    policy: SuitePolicy | None = None
    condition: RowCondition | None = None

    def judge_record(self, record: Mapping[str, Json]) -> Verdict:
        """Judge a record; one that is passed over meets the rule."""
        applies = True if self.condition is None else self.condition.holds(record)
        if applies is None:
            return Verdict.INCOMPARABLE
        values = [record.get(c) for c in self.columns]
        if not applies or self._passes_over(values):
            return Verdict.MEETS
        return self.test.judge(values)

    def _passes_over(self, values: list[Json]) -> bool:
        if self.ignore is Ignore.NONE:
            return False
        nulls = map(is_null, values)
        return all(nulls) if self.ignore is Ignore.ALL_NULL else any(nulls)

    @property
    def allowed(self) -> str:
        """What meets the rule, for a message, after "allows"."""
        return f"records with {self.test.allows(self.columns)}{_where(self.condition)}"

    @property
    def label(self) -> str:
        """Short name for a metric: fields and rule, `a,b:pair_values_to_be_equal`."""
        return rule_name(self.kind, self.columns, self.condition)


AnyRule: TypeAlias = Rule | CrossRule


def _where(condition: RowCondition | None) -> str:
    return "" if condition is None else f" where {condition}"
