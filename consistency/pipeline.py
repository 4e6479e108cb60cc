"""The feature pipeline's contract: one columnar function that training and serving share.

An unbound pipeline is code; bound to its fitted state and lookup snapshots, it turns raw records
into feature rows. `graph.py` is the authoring API; any callable can stand in its place
(`CallablePipeline`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from consistency.errors import ConfigError, DataError
from consistency.features import FeatureBatch, declared_column, feature_batch
from consistency.records import Column, Record, read_records
from consistency.schema import FeatureSchema, RecordSchema
from consistency.snapshots import LookupTable
from consistency.state import FittedState


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table that a pipeline joins with.

    Attributes:
        name: the parameter name by which column functions ask for it.
        keys: the columns that identify a row.
    """

    name: str
    keys: tuple[str, ...]


class BoundPipeline(Protocol):
    """A pipeline with its fitted state and its lookup snapshots: records in, feature rows out."""

    @property
    def inputs(self) -> RecordSchema:
        """What a raw record must hold."""
        ...

    @property
    def outputs(self) -> FeatureSchema:
        """The features made, in order."""
        ...

    @property
    def snapshots(self) -> Mapping[str, str]:
        """Lookup name to the snapshot id that is read."""
        ...

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        """Return one feature row a record.

        Raises:
            DataError: naming the first unusable row and field.
        """
        ...


@runtime_checkable
class FeaturePipeline(Protocol):
    """What a bundle's manifest names: an unbound pipeline."""

    @property
    def inputs(self) -> RecordSchema:
        """What a raw record must hold."""
        ...

    @property
    def outputs(self) -> FeatureSchema:
        """The features made, in order."""
        ...

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """The tables it joins with."""
        ...

    def bind(self, state: FittedState, lookups: Mapping[str, LookupTable]) -> BoundPipeline:
        """Return the pipeline with its state and snapshots.

        Raises:
            ConfigError: state or a lookup is missing.
        """
        ...


def make_features(pipeline: BoundPipeline | None, records: Sequence[Record]) -> FeatureBatch:
    """Return the feature rows of raw records, online and in a replay alike.

    Raises:
        DataError: an unusable record, or the model has no pipeline to send records through.
    """
    if pipeline is None:
        raise DataError(
            "this model has no feature pipeline; send type libsvm or dense", field="type"
        )
    return pipeline(records)


@dataclass(frozen=True, slots=True)
class WrappedPipeline:
    """A bound pipeline around another; subclasses change what passes through `__call__`.

    Attributes:
        inner: makes the features.
    """

    inner: BoundPipeline

    @property
    def inputs(self) -> RecordSchema:
        """See `BoundPipeline`."""
        return self.inner.inputs

    @property
    def outputs(self) -> FeatureSchema:
        """See `BoundPipeline`."""
        return self.inner.outputs

    @property
    def snapshots(self) -> Mapping[str, str]:
        """See `BoundPipeline`."""
        return self.inner.snapshots

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        """Return the inner pipeline's feature rows, unchanged."""
        return self.inner(records)


@dataclass(frozen=True, slots=True)
class CallablePipeline:
    """Any function of columns as a pipeline, for teams that have one already.

    Attributes:
        inputs: schema of the raw record.
        outputs: schema of the features.
        function: called with the input columns by name and the fitted state; returns one array of
            shape (N,) for each feature name.
        lookups: none; join in a graph pipeline instead, so that the log can name the snapshot.
    """

    inputs: RecordSchema
    outputs: FeatureSchema
    function: Callable[[Mapping[str, Column], FittedState], Mapping[str, Any]]
    lookups: tuple[Lookup, ...] = ()

    def bind(self, state: FittedState, lookups: Mapping[str, LookupTable]) -> BoundPipeline:
        """Return the pipeline with its state; see `FeaturePipeline.bind`."""
        return _BoundCallable(self, state)


@dataclass(frozen=True, slots=True)
class _BoundCallable:
    pipeline: CallablePipeline
    state: FittedState

    @property
    def inputs(self) -> RecordSchema:
        return self.pipeline.inputs

    @property
    def outputs(self) -> FeatureSchema:
        return self.pipeline.outputs

    @property
    def snapshots(self) -> Mapping[str, str]:
        return {}

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.pipeline.function,)

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        batch = read_records(self.inputs, records)
        made = self.pipeline.function(batch.columns, self.state)
        columns: dict[str, Column] = {}
        for name, kind in zip(self.outputs.names, self.outputs.types, strict=True):
            if name not in made:
                raise ConfigError(f"the pipeline function returned no feature {name!r}")
            columns[name] = declared_column(name, made[name], kind, batch.rows)
        return feature_batch(self.outputs, columns, {})
