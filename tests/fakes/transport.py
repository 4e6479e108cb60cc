"""What features may pass through on their way to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from consistency.features import FeatureBatch
from consistency.pipeline import BoundPipeline
from consistency.records import Record
from consistency.schema import FeatureSchema, RecordSchema


@dataclass(frozen=True)
class ThroughFloat32:
    """A feature store that keeps float32."""

    pipeline: BoundPipeline

    @property
    def inputs(self) -> RecordSchema:
        return self.pipeline.inputs

    @property
    def outputs(self) -> FeatureSchema:
        return self.pipeline.outputs

    @property
    def snapshots(self) -> Mapping[str, str]:
        return self.pipeline.snapshots

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        batch = self.pipeline(records)
        stored = batch.numeric.astype(np.float32).astype(np.float64)
        return replace(batch, numeric=np.asfortranarray(stored))
