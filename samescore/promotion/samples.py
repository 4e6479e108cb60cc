"""The rows that a promoted model is verified with: golden ones, given ones, or generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders.named_inputs import Input, takes_matrix

GENERATED_ROWS: Final = 256
_SEED: Final = 7
_LARGEST_ID: Final = 2
"""Generated integers are 0 or 1: small enough for any table of categories or tokens."""
_WORDS: Final = ("a", "b", "ab", "")
_TYPES: Final = {
    "f": FeatureType.FLOAT32,
    "i": FeatureType.INT64,
    "u": FeatureType.INT64,
    "b": FeatureType.BOOL,
    "O": FeatureType.STRING,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Feature rows, and where they came from.

    Attributes:
        features: N rows.
        origin: for people.
    """

    features: FeatureBatch
    origin: str


def golden_rows(bundle: Path) -> Rows:
    """Return the golden features of a bundle.

    Raises:
        BundleError: it is no bundle.
    """
    return Rows(open_bundle(bundle).golden().features, f"the golden rows of {bundle}")


def read_rows(path: Path, inputs: Sequence[Input]) -> Rows:
    """Read a file of JSON lines: lists of numbers for a matrix, else objects of input to value.

    Raises:
        ConfigError: a line is no such thing, or a value does not fit its input.
    """
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    rows = [_parse(path, number, line) for number, line in enumerate(lines, start=1)]
    if not rows:
        raise ConfigError(f"{path} holds no row; write one a line as JSON")
    try:
        if takes_matrix(inputs) and isinstance(rows[0], list):
            features = matrix_rows(np.array(rows, np.float64))
        else:
            columns = {spec.name: [row[spec.name] for row in rows] for spec in inputs}
            features = column_rows(
                {spec.name: np.array(columns[spec.name], spec.dtype) for spec in inputs}
            )
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        wanted = ", ".join(f"{spec.name} ({spec.dtype})" for spec in inputs)
        raise ConfigError(
            f"{path}: {type(error).__name__}: {error}; write lists of numbers for a model that"
            f" takes one matrix, else objects with these inputs: {wanted}"
        ) from error
    return Rows(features, f"the rows of {path}")


def _parse(path: Path, number: int, line: bytes) -> Json:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path} line {number}: {error}; write one row a line as JSON") from error


def generate_rows(inputs: Sequence[Input], rows: int = GENERATED_ROWS) -> Rows:
    """Return made-up rows, the same every time: standard normal numbers, ids 0 and 1, short texts.

    Raises:
        ConfigError: an input of another shape than one or two axes, whose values cannot be guessed.
    """
    made = np.random.default_rng(_SEED)
    count = inputs[0].rows if inputs and inputs[0].rows is not None else rows
    for spec in inputs:
        if spec.rank not in (1, 2) or (spec.rank == 2 and spec.width is None):
            raise ConfigError(
                f"no rows can be made up for input {spec.name!r}: its shape is not known;"
                " give --samples FILE, or --golden BUNDLE"
            )
    if takes_matrix(inputs) and inputs[0].dtype.kind in "fiub":
        return Rows(
            matrix_rows(_values(made, inputs[0], count).astype(np.float64)), "generated rows"
        )
    columns = {spec.name: _values(made, spec, count) for spec in inputs}
    return Rows(column_rows(columns), "generated rows")


def _values(made: np.random.Generator, spec: Input, rows: int) -> Column:
    shape = (rows,) if spec.rank == 1 else (rows, spec.width or 1)
    if spec.dtype.kind == "f":
        return made.normal(size=shape).astype(spec.dtype)
    if spec.dtype.kind in "iub":
        return made.integers(0, _LARGEST_ID, shape).astype(spec.dtype)
    texts: Column = np.array(_WORDS, object)[made.integers(0, len(_WORDS), shape)]
    return texts


def matrix_rows(matrix: Column) -> FeatureBatch:
    """Return a float64 matrix, shape (N, F), as feature rows `x0`, `x1`, ...

    Raises:
        ValueError: it has another number of axes than two.
    """
    if matrix.ndim != 2:
        raise ValueError(f"rows of one length were expected, got shape {matrix.shape}")
    schema = FeatureSchema.float64(tuple(f"x{j}" for j in range(matrix.shape[1])))
    return FeatureBatch(schema, len(matrix), np.asfortranarray(matrix))


def column_rows(columns: Mapping[str, Column]) -> FeatureBatch:
    """Return one array an input, first axis N, as feature rows."""
    rows = len(next(iter(columns.values())))
    # Each column stands by itself: the matrix of float64 features stays empty.
    kinds = tuple(_TYPES[values.dtype.kind] for values in columns.values())
    schema = FeatureSchema(tuple(columns), kinds)
    return FeatureBatch(schema, rows, np.empty((rows, 0)), dict(columns))
