"""What features may pass through on their way to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from consistency.features import FeatureBatch
from consistency.pipeline import WrappedPipeline
from consistency.records import Record


@dataclass(frozen=True)
class ThroughFloat32(WrappedPipeline):
    """A feature store that keeps float32."""

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        batch = self.inner(records)
        stored = batch.numeric.astype(np.float32).astype(np.float64)
        return replace(batch, numeric=np.asfortranarray(stored))
