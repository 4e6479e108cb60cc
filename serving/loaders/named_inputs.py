"""How feature rows reach a graph's inputs: as one matrix, or one feature an input, by name.

Shared by the formats whose models declare named, typed inputs (SavedModel, ONNX, torch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from consistency.errors import BackendError
from consistency.features import FeatureBatch
from consistency.records import Column
from consistency.scored import Outputs


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a model.

    Attributes:
        name: the keyword.
        dtype: what features are cast to; object for strings.
        rank: number of axes, rows included; None when the model leaves it open.
        width: of the second axis; None when the model leaves it open or has no such axis.
        rows: the only number of rows that the model takes; None for any.
    """

    name: str
    dtype: np.dtype[Any]  # Any: it is known when the model is
    rank: int | None
    width: int | None = None
    rows: int | None = None


def takes_matrix(inputs: Sequence[Input]) -> bool:
    """Whether a model has a single input of numbers, of two axes or as many as come."""
    return len(inputs) == 1 and inputs[0].rank in (2, None) and inputs[0].dtype.kind != "O"


def input_arrays(inputs: Sequence[Input], features: FeatureBatch, remedy: str = "") -> list[Column]:
    """Return one contiguous array an input, of the input's dtype, first axis N.

    A single input of two axes gets all features as one matrix in schema order; any other gets one
    feature for each input, by name, and a scalar feature becomes a column of width 1.

    Args:
        inputs: of the model, in order.
        features: the rows.
        remedy: how to make a model that takes any number of rows, for the message.

    Raises:
        BackendError: a feature that the model does not take or lacks, another number of features or
            of rows than it takes, or a value that its integers cannot hold.
    """
    for spec in inputs:
        if spec.rows is not None and spec.rows != features.rows:
            raise BackendError(
                f"the model's input {spec.name!r} takes batches of exactly {spec.rows} rows, this"
                f" one has {features.rows}; {remedy}, or bundle it with execution"
                f" padded:{spec.rows}"
            )
    if not takes_matrix(inputs):
        known = features.columns()
        return [_fit(spec, known, features.rows) for spec in inputs]
    matrix, width = features.matrix(), inputs[0].width
    if width is not None and matrix.shape[1] != width:
        raise BackendError(
            f"the model takes {width} features, the row has {matrix.shape[1]}; bundle the model"
            " with the pipeline that it was trained with"
        )
    return [_cast(inputs[0], matrix)]


def check_rows(outputs: Outputs, rows: int) -> None:
    """Refuse outputs whose first axis is not the rows.

    Raises:
        BackendError: naming the output.
    """
    for name, value in outputs.items():
        if value.shape[:1] != (rows,):
            raise BackendError(
                f"output {name!r} has shape {value.shape} for {rows} rows; the first axis of every"
                " output must be the rows: export such a model"
            )


def _fit(spec: Input, features: Mapping[str, Column], rows: int) -> Column:
    """Return the feature that an input takes; a scalar feature becomes a column of width 1."""
    if spec.name not in features:
        raise BackendError(
            f"the model's input {spec.name!r} is no feature; the features are"
            f" {', '.join(features)}: name the inputs as the features are named"
        )
    value = features[spec.name]
    if spec.rank == 2 and value.dtype == object and isinstance(value[0], list):
        return _padded(spec, value)
    if spec.rank == 2 and value.ndim == 1:
        value = value.reshape(rows, 1)
    return _cast(spec, value)


def _padded(spec: Input, lists: Column) -> Column:
    """Return token lists as one matrix of texts, the rest of each row empty texts.

    It is as wide as the input says, or else as the longest list; then a float32 score depends on
    who shares the batch.
    """
    held = lists.tolist()
    longest = max(map(len, held))
    if spec.width is not None and longest > spec.width:
        raise BackendError(
            f"the model's input {spec.name!r} takes {spec.width} tokens, and a row has {longest}:"
            " let the pipeline cut them"
        )
    out = np.full((len(held), spec.width or longest), "", object)
    for row, tokens in enumerate(held):
        out[row, : len(tokens)] = tokens
    return out


def _cast(spec: Input, value: Column) -> Column:
    """Round to the input's dtype; integers must fit, since nothing would tell that they did not."""
    if spec.dtype.kind not in "iu":
        return np.ascontiguousarray(value, spec.dtype)
    with np.errstate(invalid="ignore"):  # NaN
        cast = np.ascontiguousarray(value, spec.dtype)
    if not np.array_equal(cast, value):
        raise BackendError(
            f"the model's input {spec.name!r} takes {spec.dtype}, and a feature holds a value that"
            " is none (missing, fractional or too large): let the pipeline make what fits"
        )
    return cast
