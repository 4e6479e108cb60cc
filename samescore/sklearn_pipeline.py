"""A fitted scikit-learn transformer as the feature pipeline.

    pipeline = SklearnPipeline(RecordSchema(...))            # in the installed feature package

    transformer.fit(pipeline.frame(training_records))        # in the training script
    state = pipeline.fitted_state(transformer)               # goes into the bundle

Training and serving make the transformer's input with the very same function, so that its dtypes,
column order and missing values cannot drift apart; a dtype never depends on what else is in the
batch. The fitted transformer is kept in the bundle's fitted state as skops bytes that are equal for
equal transformers: it is part of the fingerprint, and nothing is ever unpickled.

A transformer with matrix products (PCA) gives last bits that depend on the batch: within 5e-11.
`rowwise=True` transforms each record by itself: every bit is the same for any batch, and a million
records take a million calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from consistency.errors import ConfigError, DataError, SamescoreError
from consistency.features import FeatureBatch, declared_column, feature_batch
from consistency.pipeline import BoundPipeline, Lookup
from consistency.records import MAX_EXACT_INT_IN_FLOAT64, Column, Record, read_records
from consistency.schema import FeatureSchema, Field, FieldType, RecordSchema
from consistency.snapshots import LookupTable
from consistency.state import FittedState
from serving.loaders.trust.skops_files import Fitted, read_skops, write_skops

STATE_ENTRY: Final = "transformer"
_NAMED_BY_TRANSFORMER: Final = FeatureSchema((), ())


class InputForm(StrEnum):
    """What a transformer is given.

    frame: a pandas DataFrame, one column a field, in schema order.
    matrix: a float64 matrix, one column a field, in schema order; numbers and booleans only.
    """

    FRAME = "frame"
    MATRIX = "matrix"


@dataclass(frozen=True, slots=True)
class SklearnPipeline:
    """A fitted `Pipeline`, `ColumnTransformer` or other transformer. A `FeaturePipeline`.

    In the frame a field that may be missing is a float64 column with NaN (numbers, booleans,
    timestamps in microseconds) or an object column with NaN (texts, token lists); one that may not
    keeps its own dtype. null and absent are both NaN there.

    Attributes:
        inputs: schema of the raw record.
        outputs: schema of the features; unless given, the float64 features that the fitted
            transformer names itself.
        trusted_types: full names of the types in the transformer beside those that skops trusts by
            itself. They stand in the package's sources, which the operator trusts by name.
        rowwise: whether each record is transformed by itself.
        form: what the transformer is given.
        build: makes the fitted transformer from the fitted state, for a package that keeps plain
            numbers instead of a skops file in it.
        lookups: none; join in a graph pipeline instead, so that the log can name the snapshot.
    """

    inputs: RecordSchema
    outputs: FeatureSchema = _NAMED_BY_TRANSFORMER
    trusted_types: frozenset[str] = frozenset()
    rowwise: bool = False
    form: InputForm = InputForm.FRAME
    build: Callable[[FittedState], Fitted] | None = None
    lookups: tuple[Lookup, ...] = ()

    def frame(self, records: Sequence[Record]) -> Any:  # noqa: ANN401  a frame, or a matrix
        """Return records as the transformer takes them; fit it on nothing else.

        Raises:
            DataError: naming the first unusable row and field.
        """
        batch = read_records(self.inputs, records)
        columns = {f.name: _column(f, batch.columns[f.name]) for f in self.inputs.fields}
        if self.form is InputForm.MATRIX:
            return _matrix(columns)
        import pandas as pd

        series = {
            name: pd.Series(values, dtype=object if values.dtype == object else None)
            for name, values in columns.items()
        }
        return pd.DataFrame(series)

    def fitted_state(self, transformer: Fitted, **more: Any) -> FittedState:  # noqa: ANN401
        """Return the state that goes into the bundle.

        Args:
            transformer: fitted on what `frame` returned.
            more: other entries, as `FittedState` takes them.

        Raises:
            ConfigError: it holds types that the pipeline does not trust.
        """
        state = FittedState(
            {STATE_ENTRY: np.frombuffer(write_skops(transformer), np.uint8), **more}
        )
        _read_transformer(state, self.trusted_types)
        return state

    def bind(self, state: FittedState, lookups: Mapping[str, LookupTable]) -> BoundPipeline:
        """Return the pipeline with its fitted transformer; see `FeaturePipeline.bind`.

        Raises:
            ConfigError: the state holds no transformer, or one that makes other features.
        """
        if self.build is None:
            transformer = _read_transformer(state, self.trusted_types)
        else:
            transformer = self.build(state)
        return _BoundTransformer(self, transformer, _named_outputs(self.outputs, transformer))


@dataclass(frozen=True, slots=True)
class _BoundTransformer:
    pipeline: SklearnPipeline
    transformer: Fitted
    outputs: FeatureSchema

    @property
    def inputs(self) -> RecordSchema:
        return self.pipeline.inputs

    @property
    def snapshots(self) -> Mapping[str, str]:
        return {}

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The functions of the user's own that scikit-learn calls, for the law of the clock."""
        found = [self.transformer.transform]
        if hasattr(self.transformer, "get_params"):
            parts = self.transformer.get_params(deep=True).values()
            found += [part.func for part in parts if callable(getattr(part, "func", None))]
        return tuple(found)

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        given = self.pipeline.frame(records)
        if not self.pipeline.rowwise:
            return self._batch(self._transform(given), len(records))
        rows = given if isinstance(given, np.ndarray) else given.iloc
        parts = [self._transform(rows[i : i + 1]) for i in range(len(records))]
        return self._batch(np.concatenate(parts), len(records))

    def _transform(self, given: Fitted) -> Column:
        """Return a dense array of shape (N, F)."""
        made = self.transformer.transform(given)
        if hasattr(made, "toarray"):  # sparse
            made = made.toarray()
        made = np.asarray(made)
        if made.ndim != 2 or made.shape != (len(given), len(self.outputs)):
            raise ConfigError(
                f"the transformer made shape {made.shape} of {len(given)} records, expected"
                f" ({len(given)}, {len(self.outputs)}) for the declared features"
            )
        return made

    def _batch(self, made: Column, rows: int) -> FeatureBatch:
        if self.outputs.all_float64:
            return FeatureBatch(self.outputs, rows, np.asfortranarray(made, np.float64))
        pairs = zip(self.outputs.names, self.outputs.types, made.T, strict=True)
        columns = {n: declared_column(n, _plain(c), kind, rows) for n, kind, c in pairs}
        return feature_batch(self.outputs, columns, {})


def _plain(column: Column) -> Column:
    """Return a column of a mixed array as the numbers or booleans that it holds, if it does."""
    return np.array(column.tolist()) if _all_numbers(column) else column


def _all_numbers(column: Column) -> bool:
    return column.dtype == object and all(type(v) in (bool, int, float) for v in column.tolist())


def _column(field: Field, values: Column) -> Column:
    """Return a field's column with a dtype that the schema alone decides."""
    missing = field.nullable or not field.required
    if field.type in (FieldType.STRING, FieldType.TOKENS):
        return _with_nan(values) if missing else values
    if not missing or field.type is FieldType.FLOAT64:
        return values
    for row, value in enumerate(values.tolist()):
        if value is not None and abs(value) > MAX_EXACT_INT_IN_FLOAT64:
            raise DataError(
                f"is {value}, an integer that float64 cannot hold exactly, and the field may be"
                " missing; send a number within ±2**53",
                row=row,
                field=field.name,
            )
    return values.astype(np.float64)


def _with_nan(values: Column) -> Column:
    """Mark missing texts as scikit-learn's encoders and imputers look for them."""
    out = np.empty(len(values), object)
    out[:] = [np.nan if value is None else value for value in values.tolist()]
    return out


def _matrix(columns: Mapping[str, Column]) -> Column:
    for name, values in columns.items():
        if values.dtype == object:
            raise ConfigError(f"field {name!r} has no place in a matrix; use InputForm.FRAME")
    return np.column_stack([values.astype(np.float64) for values in columns.values()])


def _read_transformer(state: FittedState, trusted: frozenset[str]) -> Fitted:
    data = state.get(STATE_ENTRY)
    if not isinstance(data, np.ndarray):
        raise ConfigError(
            f"the fitted state has no {STATE_ENTRY!r}; make it with SklearnPipeline.fitted_state"
        )
    return read_skops(
        data.tobytes(),
        trusted,
        where="the fitted state",
        opt_in="name them in the pipeline's trusted_types",
        damaged=_damaged,
    )


def _damaged(problem: str) -> SamescoreError:
    return ConfigError(f"the fitted transformer is damaged: {problem}; bundle the model anew")


def _named_outputs(declared: FeatureSchema, transformer: Fitted) -> FeatureSchema:
    """Return the declared features, which must be those that the transformer names, if it does."""
    name_outputs = getattr(transformer, "get_feature_names_out", None)
    if name_outputs is None:
        if not len(declared):
            raise ConfigError(
                f"a {type(transformer).__name__} does not name its features; declare outputs"
            )
        return declared
    made = FeatureSchema.float64(tuple(map(str, name_outputs())))
    if len(declared) and declared.names != made.names:
        raise ConfigError(
            f"the pipeline declares the features {', '.join(declared.names)}, the fitted"
            f" transformer makes {', '.join(made.names)}; declare these, or fit it anew"
        )
    return declared if len(declared) else made
