"""Runs a compiled suite on the request path: microseconds a row, no library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from consistency.errors import ConfigError, DataError
from consistency.jsontype import Json
from consistency.protocols import Decoded, Flags
from consistency.scored import ServableInfo
from monitors.suites.compiled.compiler import CompiledSuite
from monitors.suites.compiled.rules import AnyRule, Rule
from monitors.suites.compiled.value_tests import Verdict
from monitors.suites.policy import ACTIONS, Action, SuitePolicy, effective

__all__ = ["MAX_LABELS", "Action", "SuiteGuard", "SuitePolicy"]

MAX_LABELS: Final = 100
"""Rules of one suite that get a metric's label of their own; the others share `other`."""

_MEETS: Final = Verdict.MEETS
_Judge: TypeAlias = Callable[[Json], Verdict]
_JudgeRecord: TypeAlias = Callable[[Mapping[str, Json]], Verdict]
Violated: TypeAlias = Callable[[str, str, str], object]
"""Called with model, rule and action, for each row and each rule that the row breaks."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A rule, the label that it counts under, and what becomes of a row that breaks it."""

    rule: AnyRule
    label: str
    action: Action


_Broken: TypeAlias = tuple[int, Mapping[str, Json], _Watched]
"""A row of a request, its record, and a rule that it breaks."""


class SuiteGuard:
    """Guards one model with a suite; requests without raw records pass unseen.

    Args:
        model: whose requests are looked at, whatever the version.
        suite: compiled.
        policy: what becomes of a violation of a rule that has no policy of its own.
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
        self._watched = tuple(_watch(i, rule, policy) for i, rule in enumerate(suite.rules))
        self._plan = _plan(self._watched)
        self._across: tuple[tuple[_JudgeRecord, _Watched], ...] = tuple(
            (w.rule.judge_record, w) for w in self._watched if not _is_plain(w.rule)
        )

    def counted_by(self, violated: Violated) -> Self:
        """Return this guard with another counter: every worker process has its own."""
        return type(self)(self.model, self.suite, self.policy, violated)

    @property
    def labels(self) -> list[tuple[str, str, str]]:
        """Every (model, rule, action) that it may count."""
        return list(dict.fromkeys((self.model, w.label, w.action) for w in self._watched))

    def check(self, decoded: Decoded, servable: ServableInfo) -> Flags | None:
        """Judge every row of a request, count what it breaks, then refuse it if a rule says so.

        Returns:
            The flagged rules with the rows that break them, None when there is none.

        Raises:
            DataError: naming the first row and field, the rule, the value and what is allowed.
        """
        if servable.name != self.model or decoded.records is None:
            return None
        broken: list[_Broken] = []
        for row, record in enumerate(decoded.records):
            if type(record) is dict:  # what is no object the pipeline refuses, in its own words
                self._look_at(row, record, broken)
        return self._judged(broken) if broken else None

    def _look_at(self, row: int, record: Mapping[str, Json], broken: list[_Broken]) -> None:
        get = record.get
        for column, on_null, on_value in self._plan:
            value = get(column)
            if value is None or value != value:  # noqa: PLR0124 - NaN is null too
                if on_null:
                    broken += [(row, record, watched) for watched in on_null]
            else:
                for judge, watched in on_value:
                    if judge(value) is not _MEETS:
                        broken.append((row, record, watched))
        for judge_record, watched in self._across:
            if judge_record(record) is not _MEETS:
                broken.append((row, record, watched))

    def _judged(self, broken: Sequence[_Broken]) -> Flags | None:
        """Count every violation, raise the first that refuses, return those that flag."""
        flags: dict[str, list[int]] = {}
        refusal: DataError | None = None
        for row, record, watched in broken:
            if self._violated is not None:
                self._violated(self.model, watched.label, watched.action)
            if watched.action is Action.REJECTED and refusal is None:
                refusal = self._refusal(watched.rule, row, record)
            elif watched.action is Action.FLAGGED:
                rows = flags.setdefault(watched.rule.label, [])
                if not rows or rows[-1] != row:  # two rules may share their name
                    rows.append(row)
        if refusal is not None:
            raise refusal
        return flags or None

    def _refusal(self, rule: AnyRule, row: int, record: Mapping[str, Json]) -> DataError:
        first, *others = rule.columns
        shown = _shown(record, first) + "".join(f", {c!r} {_shown(record, c)}" for c in others)
        return DataError(
            f"{shown}; rule {rule.kind} of suite {self.suite.name!r} allows {rule.allowed}; "
            f"send such a {'record' if others else 'value'}",
            row=row,
            field=first,
        )


def _shown(record: Mapping[str, Json], column: str) -> str:
    return f"is {record[column]!r:.60}" if column in record else "is missing"


def _watch(index: int, rule: AnyRule, default: SuitePolicy) -> _Watched:
    action = ACTIONS[effective(rule.policy, default, rule.mostly)]
    return _Watched(rule, rule.label if index < MAX_LABELS else "other", action)


def _is_plain(rule: AnyRule) -> bool:
    """Tell whether a rule is about one field of every record: those share a look-up."""
    return isinstance(rule, Rule) and rule.condition is None


def _plan(
    watched: Sequence[_Watched],
) -> list[tuple[str, tuple[_Watched, ...], tuple[tuple[_Judge, _Watched], ...]]]:
    """Group rules by column: those that a null breaks, and those that look at a value."""
    grouped: dict[str, list[tuple[Rule, _Watched]]] = {}
    for one in watched:
        if isinstance(one.rule, Rule) and one.rule.condition is None:
            grouped.setdefault(one.rule.column, []).append((one.rule, one))
    return [
        (
            column,
            tuple(w for r, w in held if r.null_verdict is not _MEETS),
            tuple((r.test.judge, w) for r, w in held if r.null_verdict is _MEETS),
        )
        for column, held in grouped.items()
    ]
