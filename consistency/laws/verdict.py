"""What a check says, and the comparison that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from consistency.compare import compare
from consistency.errors import SamescoreError
from consistency.features import FeatureBatch, FeatureStatus
from consistency.pipeline import BoundPipeline
from consistency.records import Record


class Law(StrEnum):
    """The laws, in the order in which they are checked."""

    SCHEMA = "schema"
    PURE = "pure"
    NO_MUTATION = "no mutation"
    ROWS_INDEPENDENT = "rows independent"
    BATCH_INVARIANT = "batch invariant"
    ENVIRONMENT_INDEPENDENT = "environment independent"
    LOCALE_INDEPENDENT = "locale independent"
    NO_CLOCK = "no clock"
    MISSING_FIELD_REFUSED = "missing field refused"
    WRONG_TYPE_REFUSED = "wrong type refused"
    MISSING_VALUES_DISTINCT = "missing values distinct"


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    VIOLATED = "violated"
    SKIPPED = "skipped"


class LawViolation(AssertionError):  # noqa: N818 - the name that users read in a red test
    """A pipeline, or a backend, breaks a law.

    Attributes:
        law: which: a `Law`, a `ScorerLaw` or a `RecordLaw`.
        problem: what was done, and what came of it.
        row: index of the record, or None when no single one is at fault.
        feature: name of the feature or of the raw field, or None.
        expected: the value that the law asks for, or None.
        got: the value found, or None.
    """

    def __init__(
        self,
        law: StrEnum,
        problem: str,
        *,
        row: int | None = None,
        feature: str | None = None,
        expected: object = None,
        got: object = None,
    ) -> None:
        self.law, self.problem, self.row, self.feature = law, problem, row, feature
        self.expected, self.got = expected, got
        where = "" if row is None else f", row {row}"
        where += "" if feature is None else f", {feature!r}"
        values = "" if expected is got is None else f": expected {expected!r}, got {got!r}"
        super().__init__(f"law {law!s}{where}: {problem}{values}")


class LawNotRunError(SamescoreError):
    """A law could not be checked; its text says why, and what to give so that it can be."""


@dataclass(frozen=True, slots=True)
class LawResult:
    """The outcome of one law.

    Attributes:
        detail: empty when it passed, else the violation or the reason for skipping.
        violation: set when it is violated; raise it to fail a test.
    """

    law: Law
    verdict: Verdict
    detail: str = ""
    violation: LawViolation | None = None

    def __str__(self) -> str:
        """Return one line for people.

        >>> print(LawResult(Law.NO_CLOCK, Verdict.SKIPPED, "no such clock"))
        skipped   no clock: no such clock
        """
        return f"{self.verdict:8}  {self.law}" + (f": {self.detail}" if self.detail else "")


def run(
    law: Law, pipeline: BoundPipeline, records: Sequence[Record], situation: str
) -> FeatureBatch:
    """Return the features of valid records; whatever the pipeline raises breaks the law."""
    try:
        return pipeline(records)
    except Exception as e:
        raise LawViolation(law, f"{situation}, the pipeline raised {e!r}") from e


def all_rows(law: Law, pipeline: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
    """Return the features of all records, the answer that others are compared with.

    Raises:
        LawNotRunError: there is no record.
    """
    if not records:
        raise LawNotRunError("there is no record; give valid ones")
    return run(law, pipeline, records, "on all records")


def expect_same(
    law: Law,
    situation: str,
    expected: FeatureBatch,
    got: FeatureBatch,
    rows: NDArray[np.intp],
    *,
    bitwise: bool = True,
) -> None:
    """Compare features, values and statuses.

    Args:
        law: the law that is checked.
        situation: what was done, for the message.
        expected: the features that the law asks for.
        got: the features found.
        rows: for each row of `got`, the row of `expected` that it must repeat, shape (N,).
        bitwise: whether values must be equal bit for bit (NaN equals NaN) or within 5e-11.

    Raises:
        LawViolation: naming the first feature and row that differ.
    """
    if got.rows != len(rows):
        raise LawViolation(law, f"{situation}, rows", expected=len(rows), got=got.rows)
    reference, columns = expected.columns(), got.columns()
    for name, values in columns.items():
        wanted = reference[name][rows]
        if values.shape != wanted.shape:
            raise LawViolation(
                law, f"{situation}, shape", feature=name, expected=wanted.shape, got=values.shape
            )
        compared = compare(values, wanted)
        same = compared.identical if bitwise else compared.agreeing
        for i in np.flatnonzero(~same.all(axis=1))[:1]:
            raise _differs(law, situation, name, int(rows[i]), wanted[i], values[i])
        before, now = status_of(expected, name)[rows], status_of(got, name)
        for i in np.flatnonzero(before != now)[:1]:
            statuses = FeatureStatus(before[i]).name, FeatureStatus(now[i]).name
            raise _differs(law, f"{situation}, status", name, int(rows[i]), *statuses)


def status_of(batch: FeatureBatch, name: str) -> NDArray[np.uint8]:
    """Return the `FeatureStatus` codes of a feature, shape (N,)."""
    codes = batch.status.get(name)
    return np.zeros(batch.rows, np.uint8) if codes is None else codes


def plain(value: object) -> object:
    """Return an entry of a column as Python's own type, which prints with all its digits."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _differs(
    law: Law, situation: str, name: str, row: int, expected: object, got: object
) -> LawViolation:
    return LawViolation(
        law, situation, row=row, feature=name, expected=plain(expected), got=plain(got)
    )
