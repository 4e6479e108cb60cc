"""The heart of samescore: what makes an offline and an online score the same, and proves it.

Light to import: numpy and orjson, no model library, no pandas.
"""

from consistency.compare import Comparison, Tolerance, compare
from consistency.errors import DataError, SamescoreError
from consistency.features import FeatureBatch, FeatureStatus, Marked
from consistency.graph import PipelineBuilder, category_codes
from consistency.pipeline import BoundPipeline, CallablePipeline, FeaturePipeline, Lookup
from consistency.postprocess import Platt, PostProcess
from consistency.records import Presence
from consistency.schema import FeatureSchema, FeatureType, Field, FieldType, RecordSchema
from consistency.snapshots import LookupTable, SnapshotStore
from consistency.state import FittedState

__all__ = [
    "BoundPipeline",
    "CallablePipeline",
    "Comparison",
    "DataError",
    "FeatureBatch",
    "FeaturePipeline",
    "FeatureSchema",
    "FeatureStatus",
    "FeatureType",
    "Field",
    "FieldType",
    "FittedState",
    "Lookup",
    "LookupTable",
    "Marked",
    "PipelineBuilder",
    "Platt",
    "PostProcess",
    "Presence",
    "RecordSchema",
    "SamescoreError",
    "SnapshotStore",
    "Tolerance",
    "category_codes",
    "compare",
]
