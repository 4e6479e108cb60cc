"""The features of a text: its tokens as a list, how many they are, and how many are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import DataError
from consistency.graph import PipelineBuilder
from consistency.records import Column
from consistency.schema import FeatureType, Field, FieldType, RecordSchema
from doc_features.tokenizer import tokenize

MOST_CHARACTERS: Final = 10_000

TEXT: Final = RecordSchema((Field("text", FieldType.STRING, description="up to 10,000 letters"),))

flow = PipelineBuilder(TEXT, state=("vocabulary",))


@flow.features("tokens", type=FeatureType.TOKENS)
def tokens(text: Column) -> Column:
    """Return each text's token list (1 to 64 tokens), shape (N,), an object array of lists."""
    out = np.empty(len(text), object)
    for row, value in enumerate(text.tolist()):
        if len(value) > MOST_CHARACTERS:
            raise DataError(
                f"has {len(value)} characters; send at most {MOST_CHARACTERS}",
                row=row,
                field="text",
            )
        out[row] = tokenize(value)
        if not out[row]:
            raise DataError(
                f"holds no word: {value!r:.60}; send a text with a letter or a digit",
                row=row,
                field="text",
            )
    return out


@flow.feature
def token_count(tokens: Column) -> NDArray[np.float64]:
    """Return the number of tokens, 1 to 64."""
    return np.array([float(len(held)) for held in tokens])


@flow.feature
def unknown_ratio(tokens: Column, vocabulary: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the share of tokens that the vocabulary lacks, 0 to 1."""
    return np.array([sum(t not in vocabulary for t in held) / len(held) for held in tokens])


pipeline = flow.build()
