"""Is a promoted model the same model, and does it keep its scores in any batch?

Both are asked of the two scorers that would serve, not of the graph: the difference from the
original must be what computing in float32 explains, and a row's score must not move by more than
ten decimals allow between a batch of its own and a full one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, take_rows
from consistency.jsontype import Json
from consistency.protocols import Scorer
from consistency.records import Column
from consistency.scored import Outputs

FLOAT32_TOLERANCE: Final = 1e-4
"""Relative and absolute difference that computing in float32 explains (about 1,000 roundings)."""
BATCH_TOLERANCE: Final = 5e-11
"""What a row's score may move by with its batch: ten decimals, relative above 1."""
FULL_BATCH: Final = 64
_MOST_ALONE: Final = 256
_REPEATS: Final = 25


@dataclass(frozen=True, slots=True)
class OutputReport:
    """One output of the model.

    Attributes:
        name: as the model calls it.
        before: the original's dtype; after: the promoted model's.
        largest_difference: between the two, over all rows; for outputs that are no floats, the
            number of rows that differ.
        batch_before: the most that a row's value moved between batches of 1 and 64 rows in the
            original; batch_after: in the promoted model. NaN for outputs that are no floats.
        problems: why it failed; empty when it passed.
    """

    name: str
    before: str
    after: str
    largest_difference: float
    batch_before: float
    batch_after: float
    problems: tuple[str, ...]

    def __str__(self) -> str:
        if np.isnan(self.batch_after):
            differ = f"{self.largest_difference:.0f} rows differ from the original"
            return f"{self.name}: {self.after}, {differ}"
        return (
            f"{self.name}: {self.before} -> {self.after}, largest difference from the original"
            f" {self.largest_difference:.2g}; batch 1 against {FULL_BATCH}:"
            f" {self.batch_before:.2g} before, {self.batch_after:.2g} after"
        )


@dataclass(frozen=True, slots=True)
class PromotionReport:
    """What verifying a promoted model found.

    Attributes:
        rows: that were scored.
        origin: where they came from.
        outputs: one entry each.
        cost_single: time for one row, over the original's; cost_batch: for 64 rows.
        narrow: what still computes in float32 between casts, as `Op (node)`.
    """

    rows: int
    origin: str
    outputs: tuple[OutputReport, ...]
    cost_single: float
    cost_batch: float
    narrow: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the promoted model may take the original's place."""
        return bool(self.outputs) and not any(o.problems for o in self.outputs)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "passed": self.passed,
            "rows": self.rows,
            "origin": self.origin,
            "cost_single": self.cost_single,
            "cost_batch": self.cost_batch,
            "narrow": list(self.narrow),
            "outputs": [
                {
                    "name": o.name,
                    "before": o.before,
                    "after": o.after,
                    "largest_difference": o.largest_difference,
                    "batch_before": None if np.isnan(o.batch_before) else o.batch_before,
                    "batch_after": None if np.isnan(o.batch_after) else o.batch_after,
                    "problems": list(o.problems),
                }
                for o in self.outputs
            ],
        }

    def __str__(self) -> str:
        verdict = "verified" if self.passed else "FAILED"
        lines = [f"promotion to float64: {verdict} on {self.rows} rows ({self.origin})"]
        for output in self.outputs:
            lines += [f"  {output}", *(f"    {problem}" for problem in output.problems)]
        lines.append(
            f"  cost: {self.cost_single:.1f} times the original for one row,"
            f" {self.cost_batch:.1f} times for {FULL_BATCH}"
        )
        lines += [f"  still computes in float32: {node}" for node in self.narrow]
        return "\n".join(lines)


def verify(
    original: Scorer,
    promoted: Scorer,
    features: FeatureBatch,
    *,
    origin: str,
    narrow: tuple[str, ...] = (),
) -> PromotionReport:
    """Score the same rows with both, whole and one by one.

    Args:
        original: the float32 model.
        promoted: the float64 one.
        features: N >= 2 rows.
        origin: where they came from, for the report.
        narrow: what the rewrite left in float32.

    Raises:
        ConfigError: fewer than 2 rows.
        BackendError: one of the two cannot score them.
    """
    if features.rows < 2:
        raise ConfigError(f"{features.rows} rows to verify with; give at least 2")
    old, new = _in_batches(original, features), _in_batches(promoted, features)
    few = take_rows(features, slice(0, _MOST_ALONE))
    old_alone, new_alone = _in_batches(original, few, 1), _in_batches(promoted, few, 1)
    outputs = []
    for name, before in old.items():
        if name not in new:
            raise ConfigError(f"the promoted model has no output {name!r}; it has {', '.join(new)}")
        alone = (old_alone[name], new_alone[name])
        outputs.append(_output(name, before, new[name], *alone))
    costs = [_cost(original, promoted, features, n) for n in (1, FULL_BATCH)]
    return PromotionReport(features.rows, origin, tuple(outputs), costs[0], costs[1], narrow)


def _in_batches(scorer: Scorer, features: FeatureBatch, size: int = FULL_BATCH) -> Outputs:
    starts = range(0, features.rows, size)
    parts = [scorer.score(take_rows(features, slice(s, s + size))) for s in starts]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _output(
    name: str, before: Column, after: Column, old_alone: Column, new_alone: Column
) -> OutputReport:
    kinds = before.dtype.name, after.dtype.name
    if before.dtype.kind != "f":
        differ = _rows_unequal(before, after)
        moved = _rows_unequal(new_alone, after[: len(new_alone)])
        problems = []
        if differ or before.shape != after.shape:
            problems.append(f"{differ} rows differ from the original's")
        if moved:
            problems.append(f"{moved} rows move with their batch")
        return OutputReport(name, *kinds, differ, np.nan, np.nan, tuple(problems))
    count = len(new_alone)
    difference, batch = _worst(before, after), _worst(after[:count], new_alone)
    problems = []
    if after.dtype != np.float64:
        problems.append(f"it is still {after.dtype}")
    if not _close(before, after, FLOAT32_TOLERANCE):
        problems.append(
            f"its values differ from the original's by more than float32 explains"
            f" ({FLOAT32_TOLERANCE:g} + {FLOAT32_TOLERANCE:g}·|value|)"
        )
    if not _close(after[:count], new_alone, BATCH_TOLERANCE):
        problems.append(f"a row's value moves with its batch by more than {BATCH_TOLERANCE:g}")
    moved_before = _worst(before[:count], old_alone)
    return OutputReport(name, *kinds, difference, moved_before, batch, tuple(problems))


def _rows_unequal(a: Column, b: Column) -> int:
    if a.shape != b.shape:
        return max(len(a), len(b))
    return int((a != b).reshape(len(a), -1).any(axis=1).sum())


def _worst(a: Column, b: Column) -> float:
    """Return the largest |a - b|; infinite when the shapes differ or one of a pair is no number."""
    if a.shape != b.shape:
        return float("inf")
    wide, other = a.astype(np.float64), b.astype(np.float64)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    with np.errstate(invalid="ignore"):  # inf - inf
        differences = np.where(same, 0.0, np.abs(wide - other))
    return float(np.nan_to_num(differences, nan=np.inf).max(initial=0.0))


def _close(a: Column, b: Column, tolerance: float) -> bool:
    if a.shape != b.shape:
        return False
    wide, other = a.astype(np.float64), b.astype(np.float64)
    # Absolute for the ten decimals; relative above 1, where float64 has no more digits to give.
    return bool(np.isclose(other, wide, rtol=tolerance, atol=tolerance, equal_nan=True).all())


def _cost(original: Scorer, promoted: Scorer, features: FeatureBatch, rows: int) -> float:
    chosen = take_rows(features, np.arange(rows) % features.rows)
    # Side by side, so that a busy moment of the machine falls on both.
    pairs = [(_seconds(promoted, chosen), _seconds(original, chosen)) for _ in range(_REPEATS)]
    return median(new for new, _ in pairs) / max(median(old for _, old in pairs), 1e-9)


def _seconds(scorer: Scorer, features: FeatureBatch) -> float:
    start = time.perf_counter()
    scorer.score(features)
    return time.perf_counter() - start
