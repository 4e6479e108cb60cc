"""524 features from one libsvm text; what a row leaves out gets the training data's fill value.

The fill is an ordinary number, as in the data that such models were trained on: it must be the same
on both sides, or every tree that split on it takes the other branch.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.errors import DataError
from consistency.graph import PipelineBuilder
from consistency.records import Column
from consistency.schema import Field, FieldType, RecordSchema

Floats: TypeAlias = NDArray[np.float64]

WIDTH: Final = 524
FILL: Final = -65535.0

ROW: Final = RecordSchema(
    (
        Field(
            "row", FieldType.STRING, description="label index:value ..., 1-based, the label ignored"
        ),
    )
)

flow = PipelineBuilder(ROW, state=("fill",))


@flow.features(*(f"f{index}" for index in range(1, WIDTH + 1)))
def values(row: Column, fill: float) -> Floats:
    """Return one row of features for each text, shape (N, 524)."""
    out = np.full((len(row), WIDTH), fill)
    for position, text in enumerate(row.tolist()):
        for index, value in parse_row(text, position).items():
            out[position, index - 1] = value
    return out


def parse_row(text: str, position: int = 0) -> dict[int, float]:
    """Return the values of one libsvm text by 1-based index.

    Args:
        text: `label index:value ...`; the label may be left out.
        position: of the row in its request, for messages.

    Raises:
        DataError: a pair that is none, an index outside 1 to 524 or there twice, a value that is no
            finite number.

    >>> parse_row("0 1:0 12:0.6447333333333334")
    {1: 0.0, 12: 0.6447333333333334}
    """
    tokens = text.split()
    if tokens and ":" not in tokens[0]:
        tokens = tokens[1:]
    held: dict[int, float] = {}
    for token in tokens:
        index, value = _pair(token, position)
        if index in held:
            raise DataError(f"has index {index} twice; send it once", row=position, field="row")
        held[index] = value
    return held


def _pair(token: str, position: int) -> tuple[int, float]:
    index_text, _, value_text = token.partition(":")
    index = int(index_text) if index_text.isascii() and index_text.isdigit() else 0
    if not 1 <= index <= WIDTH:
        raise DataError(
            f"holds {token!r:.40}; send index:value with an index from 1 to {WIDTH}",
            row=position,
            field="row",
        )
    try:
        value = float(value_text) if value_text.isascii() and "_" not in value_text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"holds {token!r:.40}; send a finite number, or leave the index out",
            row=position,
            field="row",
        )
    return index, value


pipeline = flow.build()
