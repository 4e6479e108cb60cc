"""What a check of a backend says: each situation's comparison, or the first row that moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from consistency.compare import (
    Compared,
    Comparison,
    Difference,
    Tolerance,
    compare,
    joint,
    ulp_distance,
)
from consistency.jsontype import Json
from consistency.laws.verdict import LawViolation, plain
from consistency.scored import Outputs


class ScorerLaw(StrEnum):
    """The laws of a backend."""

    BATCH_SIZE_INVARIANT = "batch size invariant"
    ORDER_INVARIANT = "order invariant"
    REPEATABLE = "repeatable"
    THREAD_INVARIANT = "thread invariant"
    DEVICE_INVARIANT = "device invariant"


class ScorerViolation(LawViolation):
    """A backend breaks a law.

    Attributes:
        situation: what was done, for example ``"in batches of 64, not 1"``.
        output: the raw output that moved, empty when none was comparable.
        difference: the first value that moved: row of the features given, both values, |Δ|, ULPs;
            None when there was nothing to compare.
        comparison: of all rows in that situation.
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
        difference: Difference | None = None,
        comparison: Comparison | None = None,
    ) -> None:
        self.situation, self.output = problem, "" if difference is None else feature or ""
        self.difference, self.comparison = difference, comparison or Comparison()
        super().__init__(law, problem, row=row, feature=feature, expected=expected, got=got)
        if difference is not None:
            found = self.comparison
            ulps = f", {difference.ulps} ULP" if difference.ulps >= 0 else ""
            text = (
                f" (|Δ| {difference.abs_diff:.3g}{ulps}; "
                f"{found.rows - found.rows_agreeing} of {found.rows} rows differ, "
                f"largest |Δ| {found.max_abs_diff:.3g})"
            )
            self.args = (self.args[0] + text,)


@dataclass(frozen=True, slots=True)
class Situation:
    """Rows scored in one situation against the same rows in the reference situation."""

    name: str
    comparison: Comparison

    @property
    def identical(self) -> bool:
        """Whether every row was equal bit for bit."""
        return self.comparison.rows > 0 and (self.comparison.rows_identical == self.comparison.rows)


@dataclass(frozen=True, slots=True)
class Invariance:
    """A law that a backend kept, and how well.

    Attributes:
        situations: one or more; every row agreed in each.
    """

    law: ScorerLaw
    decimals: int
    situations: tuple[Situation, ...]

    @property
    def identical(self) -> bool:
        """Whether no bit moved in any situation."""
        return bool(self.situations) and all(s.identical for s in self.situations)

    @property
    def max_abs_diff(self) -> float:
        """The largest |difference| of all situations, within the tolerance."""
        return max((s.comparison.max_abs_diff for s in self.situations), default=0.0)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "law": self.law.value,
            "decimals": self.decimals,
            "bit_identical": self.identical,
            "max_abs_diff": self.max_abs_diff,
            "situations": [
                {"name": s.name, "comparison": s.comparison.to_json()} for s in self.situations
            ],
        }

    def __str__(self) -> str:
        rows = sum(s.comparison.rows for s in self.situations)
        moved = f"largest |Δ| {self.max_abs_diff:.3g}"
        how = "bit for bit" if self.identical else f"to {self.decimals} decimals, {moved}"
        return f"{self.law}: {rows} rows in {len(self.situations)} situations agree {how}"


@dataclass(slots=True)
class Watch:
    """Compares every situation with the reference one.

    Attributes:
        law: the law that is checked.
        reference: the outputs of the reference situation, first axis N.
        rows: the row of the features given that each of the N is, for messages.
        tolerance: what agrees.
    """

    law: ScorerLaw
    reference: Outputs
    rows: NDArray[np.intp]
    tolerance: Tolerance
    _situations: list[Situation] = field(default_factory=list)

    def expect_same(
        self, situation: str, outputs: Outputs, places: NDArray[np.intp] | None = None
    ) -> None:
        """Compare the outputs of a situation.

        Args:
            situation: what was done.
            outputs: first axis M.
            places: for each of the M rows, its place among the reference's; None: the same order.

        Raises:
            ScorerViolation: a row does not agree.
        """
        at = np.arange(len(self.rows)) if places is None else places
        if outputs.keys() != self.reference.keys():
            raise ScorerViolation(
                self.law,
                f"{situation}, outputs",
                expected=sorted(self.reference),
                got=sorted(outputs),
            )
        parts = []
        for name, values in outputs.items():
            wanted = self.reference[name][at]
            if values.shape != wanted.shape or values.dtype != wanted.dtype:
                raise ScorerViolation(
                    self.law,
                    f"{situation}, shape and dtype of output {name!r}",
                    expected=(wanted.shape, str(wanted.dtype)),
                    got=(values.shape, str(values.dtype)),
                )
            compared = compare(values, wanted, self.tolerance)
            parts.append(compared)
            for i in np.flatnonzero(~compared.agreeing.all(axis=1))[:1]:
                raise self._violation(situation, name, compared, int(i), int(self.rows[at[i]]))
        self._situations.append(Situation(situation, joint(parts)))

    def invariance(self) -> Invariance:
        """Return what was found; every situation agreed."""
        return Invariance(self.law, self.tolerance.decimals, tuple(self._situations))

    def _violation(
        self, situation: str, name: str, compared: Compared, i: int, row: int
    ) -> ScorerViolation:
        difference = first_difference(compared, i, row)
        return ScorerViolation(
            self.law,
            situation,
            row=row,
            feature=name,
            expected=plain(difference.offline),
            got=plain(difference.online),
            difference=difference,
            comparison=compared.summary,
        )


def first_difference(compared: Compared, position: int, row: int) -> Difference:
    """Return the first value that disagrees in a row of a comparison, under the row's own number.

    Args:
        compared: the comparison.
        position: the row within it; at least one of its values disagrees.
        row: the number to report.
    """
    column = int(np.flatnonzero(~compared.agreeing[position])[0])
    wide = (
        compared.online.reshape(len(compared.online), -1),
        compared.offline.reshape(len(compared.offline), -1),
    )
    a, b = (side[position, column] for side in wide)
    diff = float(compared.diffs[position, column])
    ulps = -1
    if np.isfinite(diff) and isinstance(a, np.floating):
        ulps = int(ulp_distance(np.array([a]), np.array([b]))[0])
    return Difference(row, column, plain(a), plain(b), diff, ulps)
