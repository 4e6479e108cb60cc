"""What a replay found row by row: for those who want every row, not the sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.compare import Compared
from consistency.log.columnar.columns import Origin
from consistency.replay.report import STAGE_ORDER
from consistency.scored import Scores

AGREES: int = -1
"""In `RowResults.diverges`: no stage differs."""


@dataclass(frozen=True, slots=True)
class RowResults:
    """The rows of some requests of one model version.

    Attributes:
        origin: whose N rows they are.
        diverges: index in `STAGE_ORDER` of the first stage that differs, or `AGREES`; int8 (N,).
        online: logged scores, float64, first axis N; None when there are none, or none to compare.
        offline: recomputed scores, the same shape; None with `online`.
    """

    origin: Origin
    diverges: NDArray[np.int8]
    online: Scores | None = None
    offline: Scores | None = None


TakeRows: TypeAlias = Callable[[RowResults], object]


class RowStages:
    """Notes the first stage in which each of N rows differs.

    Args:
        origin: of the rows.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._diverges = np.full(sum(origin.sizes), AGREES, np.int8)
        self._scores: tuple[Scores, Scores] | None = None

    def note(self, stage: str, found: Compared) -> None:
        """Note what comparing a stage of these rows found; stages come in their order."""
        differs = ~found.agreeing.all(axis=1)
        fresh = differs & (self._diverges == AGREES)
        self._diverges[fresh] = STAGE_ORDER.index(stage)

    def scored(self, online: Scores, offline: Scores) -> None:
        """Keep the scores that were compared."""
        self._scores = online, offline

    def results(self) -> RowResults:
        """Return what was noted."""
        online, offline = self._scores or (None, None)
        return RowResults(self.origin, self._diverges, online, offline)


def refused_rows(origin: Origin) -> RowResults:
    """Return rows that were scored online and are refused offline: they diverge at the payload."""
    return RowResults(origin, np.zeros(sum(origin.sizes), np.int8))


def changed_rows(origin: Origin, stage: str) -> RowResults:
    """Return rows whose answer cannot even be laid beside the logged one."""
    code = STAGE_ORDER.index(stage)
    return RowResults(origin, np.full(sum(origin.sizes), code, np.int8))
