"""Which logged requests are behind an alert, as data that stand next to its expression. Pure.

A counter has lost the requests that it counted; the request log has them. A `RowCondition` says of
a logged request what the alert's expression says of the counters, and with the same bounds: a
latency is compared in the same whole nanoseconds as the histogram's buckets, a row is missing,
unseen or out of range by the rules of `monitors.online.row_counts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureStatus
from consistency.log.lines.entry import LoggedRequest
from consistency.records import Column
from consistency.scored import GateState, Outcome
from monitors.online.row_layout import number_cuts, outside_buckets
from monitors.reference import CategoryReference, Reference, ReferenceSet

Mask: TypeAlias = NDArray[np.bool_]

_NS_PER_SECOND: Final = 1e9


class RowMark(StrEnum):
    """What is said of single rows of a request that was scored."""

    MISSING = "missing"
    """A feature was null, absent, NaN, or a lookup without a row."""
    UNSEEN = "unseen"
    """A feature was a category that training never saw."""
    OUT_OF_RANGE = "out_of_range"
    """A feature was below or above every value of the training sample; needs a reference."""
    BROKE_A_RULE = "broke_a_rule"
    """It breaks a rule of the expectation suite that flags, or its request was refused for one."""
    SCORE_NOT_FINITE = "score_not_finite"
    """A score was NaN or infinite."""


@dataclass(frozen=True, slots=True)
class RowCondition:
    """What a logged request must be to be one of an alert's: all that is set must hold.

    Attributes:
        outcomes: how it ended, any of them.
        slower_than_seconds: it took longer; a bucket bound of the latency.
        stage: of which latency.
        gate: what the golden gate had said of the version that answered.
        mark: what single rows of it must be; only these rows are behind the alert then.
    """

    outcomes: tuple[Outcome, ...] = ()
    slower_than_seconds: float | None = None
    stage: str = "total"
    gate: GateState | None = None
    mark: RowMark | None = None

    def rows_of(
        self,
        request: LoggedRequest,
        feature: str | None = None,
        references: ReferenceSet | None = None,
    ) -> tuple[int, ...] | None:
        """Return which rows of a request are behind the alert, ascending; None when none is.

        A request that is behind it as a whole has all its rows there, which may be none.

        Args:
            request: as the log holds it.
            feature: the alert's label, of a suite's alert its rule; None for any.
            references: the frozen training distribution; without it a category is unseen, and
                nothing out of range, only where the pipeline itself said so.
        """
        if not self._is_meant(request):
            return None
        if self.mark is None:
            return tuple(range(request.rows))
        found = _marked(request, self.mark, feature, references)
        return tuple(np.flatnonzero(found).tolist()) if found.any() else None

    def _is_meant(self, request: LoggedRequest) -> bool:
        bound = self.slower_than_seconds
        return (
            (not self.outcomes or request.outcome in self.outcomes)
            and (self.gate is None or request.servable["gate"] == self.gate)
            and (
                bound is None
                or request.fields["latency"][f"{self.stage}_ns"] > round(bound * _NS_PER_SECOND)
            )
        )


@dataclass(frozen=True, slots=True)
class RowsBehind:
    """Where to look for the requests behind an alert.

    Attributes:
        condition: what they are.
        lookback_seconds: how long before the alert fired they may have come.
        labels: of the alert, those that narrow them: of `model`, `version`, `feature`.
    """

    condition: RowCondition
    lookback_seconds: int
    labels: tuple[str, ...] = ("model", "version")


def _marked(
    request: LoggedRequest, mark: RowMark, feature: str | None, references: ReferenceSet | None
) -> Mask:
    """Return which rows carry a mark, shape (N,)."""
    found = np.zeros(request.rows, np.bool_)
    if mark is RowMark.BROKE_A_RULE:
        return _rule_breaking(request, found, feature)
    if mark is RowMark.SCORE_NOT_FINITE:
        scores = request.scores
        if scores is not None and len(scores):
            found |= ~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)
        return found
    batch = request.features
    if batch is None or request.outcome is not Outcome.OK:  # the monitors see scored rows only
        return found
    known = {} if references is None else references.features
    for name, column in batch.columns().items():
        if feature in (None, name):
            status = batch.status.get(name, np.zeros(len(column), np.uint8))
            found |= _feature_marked(column, status, mark, known.get(name))
    return found


def _rule_breaking(request: LoggedRequest, found: Mask, rule: str | None) -> Mask:
    """Return the rows that a rule flags; all rows of a refused request, which flags none."""
    if request.fields["refused_by"] == "suite":
        return ~found
    for name, rows in request.flags.items():
        if rule in (None, name):
            found[rows] = True
    return found


def _feature_marked(
    column: Column, status: NDArray[np.uint8], mark: RowMark, reference: Reference | None
) -> Mask:
    """Return which values of a feature carry a mark: as missing, else unseen, else outside."""
    unset: Mask = status == FeatureStatus.OK
    is_unseen: Mask = status == FeatureStatus.UNSEEN
    is_missing = (~unset & ~is_unseen) | (unset & _without_value(column))
    if mark is RowMark.MISSING:
        return is_missing
    if mark is RowMark.UNSEEN:
        return is_unseen | (unset & ~is_missing & _unknown_category(column, reference))
    return unset & ~is_missing & _outside(column, reference)


def _without_value(column: Column) -> Mask:
    """Return which values are None or NaN; of a tensor feature, any of its entries."""
    if column.dtype.kind == "O":
        return np.array([v is None or v != v for v in column.tolist()], np.bool_)  # noqa: PLR0124 - NaN
    if column.dtype.kind != "f":
        return np.zeros(len(column), np.bool_)
    return np.asarray(np.isnan(column.reshape(len(column), -1)).any(axis=1), np.bool_)


def _unknown_category(column: Column, reference: Reference | None) -> Mask:
    if not isinstance(reference, CategoryReference):
        return np.zeros(len(column), np.bool_)
    known = {*reference.top, *reference.others}
    return np.array([value not in known for value in column.tolist()], np.bool_)


def _outside(column: Column, reference: Reference | None) -> Mask:
    if reference is None or isinstance(reference, CategoryReference):
        return np.zeros(len(column), np.bool_)
    if column.dtype.kind == "O":  # a token list counts by its length
        column = np.array([np.nan if v is None else len(v) for v in column.tolist()])
    block = column.reshape(len(column), -1).astype(np.float64)
    places = np.searchsorted(number_cuts(reference), block, side="right")
    judged = np.append(outside_buckets(reference), [False])
    inside = np.where(np.isnan(block), len(judged) - 1, places)
    return np.asarray(judged[inside].any(axis=1), np.bool_)
