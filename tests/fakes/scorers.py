"""Pure scorers: a model's arithmetic without a model library."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from consistency.errors import BackendError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs

INFO = ScorerInfo("fake/linear", "float64")
NETWORK = ScorerInfo("fake/network", "float32")


@dataclass
class LinearScorer:
    """score = intercept + the sum of all features, row by row; missing counts as 0.

    Attributes:
        batches: sizes of the batches that it was given.
    """

    intercept: float = 0.0
    info: ScorerInfo = INFO
    batches: list[int] = field(default_factory=list)

    def score(self, features: FeatureBatch) -> Outputs:
        self.batches.append(features.rows)
        matrix = np.nan_to_num(features.matrix(), nan=0.0)
        total = np.zeros(features.rows)
        for column in matrix.T:  # a fixed order: each row's bits do not depend on its batch
            total = total + column
        return {"score": total + self.intercept}


@dataclass
class BatchVariantScorer(LinearScorer):
    """A float32 model whose rounding depends on the batch, as matrix products do."""

    info: ScorerInfo = NETWORK

    def score(self, features: FeatureBatch) -> Outputs:
        exact = super().score(features)["score"]
        step = np.float64(features.rows % 7) * 2.0**-23
        return {"score": (exact * (1.0 + step)).astype(np.float32)}


@dataclass
class TwoOutputScorer(LinearScorer):
    """Answers with a score of shape (N, 2) and the rows' labels as text."""

    def score(self, features: FeatureBatch) -> Outputs:
        total = super().score(features)["score"]
        labels = np.array([f"label {t:.0f}" for t in total], object)
        return {"p": np.column_stack([1 - total, total]), "label": labels}


class FailingScorer(LinearScorer):
    """A model that is broken."""

    def score(self, features: FeatureBatch) -> Outputs:
        raise BackendError("out of order")
