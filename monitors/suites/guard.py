"""Runs a compiled suite on the request path: microseconds a row, no library."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Self, TypeAlias

from consistency.errors import ConfigError, DataError
from consistency.jsontype import Json
from consistency.protocols import Decoded
from consistency.scored import ServableInfo
from monitors.suites.compiler import CompiledSuite
from monitors.suites.rules import Rule
from monitors.suites.value_tests import Verdict

MAX_LABELS: Final = 100
"""Rules of one suite that get a label of their own; the others share `other`."""

_MEETS: Final = Verdict.MEETS
_Judge: TypeAlias = Callable[[Json], Verdict]
Violated: TypeAlias = Callable[[str, str, str], object]
"""Called with model, rule and action, for each row and each rule that the row breaks."""


class SuitePolicy(StrEnum):
    """What becomes of a request with a row that breaks a rule.

    reject: it is refused as a data error. flag: it is counted and scored all the same.
    """

    REJECT = "reject"
    FLAG = "flag"


class Action(StrEnum):
    """What became of a row that breaks a rule: refused with its request, or counted and scored."""

    REJECTED = "rejected"
    FLAGGED = "flagged"


class SuiteGuard:
    """Guards one model with a suite; requests without raw records pass unseen.

    A rule whose `mostly` is below 1 tolerates some rows, so it only ever flags.

    Args:
        model: whose requests are looked at, whatever the version.
        suite: compiled.
        policy: what becomes of a violation.
        violated: counts what is found; see `Violated`.

    Raises:
        ConfigError: the suite holds no rule that can be run on a row.
    """

    name: Final = "suite"

    def __init__(
        self,
        model: str,
        suite: CompiledSuite,
        policy: SuitePolicy,
        violated: Violated | None = None,
    ) -> None:
        if not suite.rules:
            reasons = "; ".join(f"{x.kind}: {x.reason}" for x in suite.left_out[:3])
            raise ConfigError(
                f"suite {suite.name!r} of model {model!r} holds no rule for single rows "
                f"({reasons or 'it is empty'}); run it with samescore suite check instead"
            )
        self.model, self.suite, self.policy = model, suite, policy
        self._violated = violated
        self._labels = {
            rule: rule.label if i < MAX_LABELS else "other" for i, rule in enumerate(suite.rules)
        }
        self._plan = _plan(suite.rules)

    def counted_by(self, violated: Violated) -> Self:
        """Return this guard with another counter: every worker process has its own."""
        return type(self)(self.model, self.suite, self.policy, violated)

    @property
    def labels(self) -> list[tuple[str, str, str]]:
        """Every (model, rule, action) that it may count."""
        pairs = ((label, self._action(rule)) for rule, label in self._labels.items())
        return [(self.model, label, action) for label, action in pairs]

    def check(self, decoded: Decoded, servable: ServableInfo) -> None:
        """Judge every row of a request, count what it breaks, then refuse it if the policy says so.

        Raises:
            DataError: naming the first row and field, the rule, the value and what is allowed.
        """
        if servable.name != self.model or decoded.records is None:
            return
        refusal: DataError | None = None
        for row, record in enumerate(decoded.records):
            if type(record) is not dict:  # the pipeline refuses it, in its own words
                continue
            get = record.get
            for column, on_null, on_value in self._plan:
                value = get(column)
                if value is None or value != value:  # noqa: PLR0124 - NaN is null too
                    for rule in on_null:
                        found = self._found(rule, row, record)
                        refusal = refusal or found
                else:
                    for judge, rule in on_value:
                        if judge(value) is not _MEETS:
                            found = self._found(rule, row, record)
                            refusal = refusal or found
        if refusal is not None:
            raise refusal

    def _found(self, rule: Rule, row: int, record: dict[str, Json]) -> DataError | None:
        """Count a violation; return it as an error where it refuses the request."""
        action = self._action(rule)
        if self._violated is not None:
            self._violated(self.model, self._labels[rule], action)
        if action is Action.FLAGGED:
            return None
        shown = "is missing" if rule.column not in record else f"is {record[rule.column]!r:.60}"
        return DataError(
            f"{shown}; rule {rule.kind} of suite {self.suite.name!r} allows {rule.test.allowed}; "
            f"send such a value",
            row=row,
            field=rule.column,
        )

    def _action(self, rule: Rule) -> Action:
        rejects = self.policy is SuitePolicy.REJECT and rule.mostly == 1
        return Action.REJECTED if rejects else Action.FLAGGED


def _plan(
    rules: tuple[Rule, ...],
) -> list[tuple[str, tuple[Rule, ...], tuple[tuple[_Judge, Rule], ...]]]:
    """Group rules by column: those that a null breaks, and those that look at a value."""
    grouped: dict[str, list[Rule]] = {}
    for rule in rules:
        grouped.setdefault(rule.column, []).append(rule)
    return [
        (
            column,
            tuple(r for r in held if r.null_verdict is not _MEETS),
            tuple((r.test.judge, r) for r in held if r.null_verdict is _MEETS),
        )
        for column, held in grouped.items()
    ]
