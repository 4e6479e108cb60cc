"""A model that is asked what it would have said, had features been distributed otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.bundle import Bundle
from consistency.features import feature_batch
from consistency.protocols import Scorer
from consistency.records import Column
from consistency.schema import FeatureType
from consistency.scored import Scores

LARGEST_DIFFERENCE: Final = 1e-5
"""Between a logged score and the one computed here: float32 networks differ between machines."""


class AskedModel:
    """The rows of a window, and the model that scores them.

    Args:
        bundle: that served.
        scorer: its model.
        columns: its features in those rows.
        output: of the score.
        on_scored: called each time the rows were scored.
    """

    def __init__(
        self, bundle: Bundle, scorer: Scorer, columns: Mapping[str, Column], output: int,
        on_scored: Callable[[], object],
    ) -> None:  # fmt: skip
        self._manifest, self._scorer = bundle.manifest, scorer
        self._output, self._on_scored = output, on_scored
        self.columns = columns
        self.every = np.arange(len(next(iter(columns.values()))))
        self.names: list[tuple[str, ...]] = []

    def can_put_back(self, name: str) -> bool:
        """Return whether a feature is a plain value a row: no tensor and no list of tokens."""
        schema = self._manifest.features
        kinds = dict(zip(schema.names, schema.types, strict=True))
        return self.columns[name].ndim == 1 and kinds[name] is not FeatureType.TOKENS

    def rows_of(self, index: int, segment: str) -> NDArray[np.intp]:
        """Return the rows of a segment."""
        return np.array([i for i, n in enumerate(self.names) if n[index] == segment], np.intp)

    def scores(
        self, rows: NDArray[np.intp], held: Mapping[str, Column], back: frozenset[str]
    ) -> NDArray[np.float64]:
        """Return the scores of some rows, with some features put back."""
        columns = {n: held[n] if n in back else values[rows] for n, values in self.columns.items()}
        scores = self._whole(columns)
        self._on_scored()
        return scores if scores.ndim == 1 else scores[:, self._output]

    def largest_difference(self, logged: Scores) -> float:
        """Return how far off the model is from the scores that were logged."""
        computed = self._whole(self.columns)
        if computed.shape != logged.shape:
            return float("inf")
        same = (computed == logged) | (np.isnan(computed) & np.isnan(logged))
        off = np.abs(np.where(same, 0.0, computed - logged))
        return float(np.nan_to_num(off, nan=np.inf).max(initial=0.0))

    def _whole(self, columns: Mapping[str, Column]) -> Scores:
        batch = feature_batch(self._manifest.features, columns, {})
        return self._manifest.postprocess(self._scorer.score(batch))
