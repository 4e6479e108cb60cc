"""The golden gate: a version goes live only after it has reproduced its own golden rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from consistency.bundle.golden import GoldenSet
from consistency.compare import Compared, Comparison, Tolerance, compare, joint
from consistency.errors import DataError
from consistency.features import FeatureBatch, take_rows
from consistency.pipeline import BoundPipeline
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.scored import Scores


@dataclass(frozen=True, slots=True)
class GateCheck:
    """The golden rows at one batch size.

    Attributes:
        features: None for a model that is sent feature rows.
        detail: the worst value that differs, empty when all agree.
    """

    batch_rows: int
    features: Comparison | None
    scores: Comparison
    detail: str

    @property
    def passed(self) -> bool:
        """Whether every golden row was reproduced."""
        return self.scores.agrees and (self.features is None or self.features.agrees)


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found on this machine, with this device and these threads."""

    decimals: int
    checks: tuple[GateCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether the version may go live; no check at all is no pass."""
        return bool(self.checks) and all(c.passed for c in self.checks)

    @property
    def moves_with_batch(self) -> bool:
        """Whether it is certain that a score hangs on who shares its batch.

        All batch sizes had the golden features and did not have the same number of golden scores.
        """
        same_features = all(c.features is None or c.features.agrees for c in self.checks)
        return same_features and len({c.scores.rows_agreeing for c in self.checks}) > 1

    def __str__(self) -> str:
        lines = [
            f"golden gate to {self.decimals} decimals: {'passed' if self.passed else 'FAILED'}"
        ]
        for check in self.checks:
            scores = check.scores
            line = (
                f"  batch {check.batch_rows}: scores {scores.rows_agreeing}/{scores.rows} agree, "
                f"largest |Δ| {scores.max_abs_diff:.3g}"
            )
            if check.features is not None:
                line += f"; features {check.features.rows_agreeing}/{check.features.rows}"
            lines.append(line + (f"; {check.detail}" if check.detail else ""))
        if self.moves_with_batch:
            lines.append(
                "  the scores move with the size of the batch: bundle the model with execution "
                "float64 or padded:N"
            )
        return "\n".join(lines)


def run_gate(
    golden: GoldenSet,
    pipeline: BoundPipeline | None,
    scorer: Scorer,
    postprocess: PostProcess,
    *,
    decimals: int,
    max_batch: int,
) -> GateReport:
    """Score the golden rows at batch 1, a middle and the maximal batch.

    Args:
        golden: the rows and what they must give.
        pipeline: bound to the golden snapshots; None for a model that is sent feature rows.
        scorer: the very scorer that will serve, execution mode included.
        postprocess: the bundle's.
        decimals: that must agree.
        max_batch: the largest batch that serving will form.

    Raises:
        BackendError: the model cannot score at all.
    """
    if not golden.rows:
        return GateReport(decimals, ())
    top = max(1, min(max_batch, golden.rows))
    sizes = sorted({1, max(1, round(top**0.5)), top})
    tolerance = Tolerance(decimals)
    checks = [_check(golden, pipeline, scorer, postprocess, tolerance, n) for n in sizes]
    return GateReport(decimals, tuple(checks))


def _check(
    golden: GoldenSet,
    pipeline: BoundPipeline | None,
    scorer: Scorer,
    postprocess: PostProcess,
    tolerance: Tolerance,
    batch_rows: int,
) -> GateCheck:
    parts = [slice(i, min(i + batch_rows, golden.rows)) for i in range(0, golden.rows, batch_rows)]
    made: list[FeatureBatch] = []
    scores: list[Scores] = []
    for part in parts:
        if pipeline is None or golden.records is None:
            features = take_rows(golden.features, part)
        else:
            try:
                features = pipeline(golden.records[part])
            except DataError as e:
                return _refused(golden, batch_rows, e)
        made.append(features)
        scores.append(postprocess(scorer.score(features)))
    compared = None if pipeline is None else _compare_features(golden.features, made, tolerance)
    final = compare(np.concatenate(scores), golden.scores, tolerance)
    detail = _detail(compared, final)
    features_found = None if compared is None else joint([c for _, c in compared])
    return GateCheck(batch_rows, features_found, final.summary, detail)


def _compare_features(
    golden: FeatureBatch, made: Sequence[FeatureBatch], tolerance: Tolerance
) -> list[tuple[tuple[str, ...], Compared]]:
    names = golden.schema.numeric_names
    numeric = np.concatenate([m.numeric for m in made])
    out = [(names, compare(numeric, golden.numeric, tolerance))] if names else []
    for name, values in golden.others.items():
        found = np.concatenate([m.others[name] for m in made])
        out.append(((name,), compare(found, values, tolerance)))
    return out


def _detail(features: list[tuple[tuple[str, ...], Compared]] | None, scores: Compared) -> str:
    for names, part in features or []:
        for d in part.worst(1):
            return (
                f"golden row {d.position} feature {names[d.column]!r}: "
                f"here {d.online!r}, golden {d.offline!r}"
            )
    for d in scores.worst(1):
        return f"golden row {d.position} score: here {d.online!r}, golden {d.offline!r}"
    return ""


def _refused(golden: GoldenSet, batch_rows: int, error: DataError) -> GateCheck:
    nothing = Comparison(golden.rows, decimals=(golden.rows,) + (0,) * 17)
    return GateCheck(batch_rows, nothing, nothing, f"a golden record is refused: {error}")
