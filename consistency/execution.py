"""How a servable is executed, so that its scores do not depend on who shares its batch.

A float32 network gives other bits for other batch shapes (37.5% of the rows of a small network
moved between batches of 1 and 512). Two cures exist: score in float64, whose rounding stays far
below ten decimals, or always score batches of one fixed shape, which is exact on one machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np

from consistency.errors import BackendError, ConfigError, DataError
from consistency.features import FeatureBatch, take_rows
from consistency.protocols import Scorer, ScorerInfo
from consistency.scored import Outputs

MAX_PADDED_ROWS: Final = 4096


class ExecutionMode(StrEnum):
    """The ways to execute a servable."""

    AS_IS = "as_is"
    """Batches reach the model as they come."""
    PADDED = "padded"
    """The model sees batches of one fixed number of rows and no others."""
    FLOAT64 = "float64"
    """The model was promoted to float64 when it was bundled; at load nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution setting; `str()` gives the form that manifests and logs hold.

    Attributes:
        mode: the way.
        rows: the fixed number of rows of a padded batch, 1 to `MAX_PADDED_ROWS`; 0 in other modes.
    """

    mode: ExecutionMode
    rows: int = 0

    def __post_init__(self) -> None:
        lowest, highest = (1, MAX_PADDED_ROWS) if self.mode is ExecutionMode.PADDED else (0, 0)
        if not lowest <= self.rows <= highest:
            raise ConfigError(
                f"execution {self!s}: {self.rows} rows; padded:N takes 1 <= N <= {MAX_PADDED_ROWS},"
                " the other modes take none"
            )

    def __str__(self) -> str:
        return f"{self.mode}:{self.rows}" if self.mode is ExecutionMode.PADDED else self.mode.value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a setting, the inverse of `str()`.

        Raises:
            ConfigError: it is none of `as_is`, `padded:N`, `float64`, or N is out of bounds.

        >>> str(Execution.parse("padded:16"))
        'padded:16'
        """
        name, colon, rows = text.partition(":")
        padded = name == ExecutionMode.PADDED
        plain = name in (ExecutionMode.AS_IS, ExecutionMode.FLOAT64)
        # isdecimal() alone lets digits of other scripts pass.
        if padded and rows.isascii() and rows.isdecimal():
            return cls(ExecutionMode.PADDED, int(rows))
        if plain and not colon:
            return cls(ExecutionMode(name))
        raise ConfigError(
            f"execution {text!r}: expected 'as_is', 'float64' or 'padded:N' with a whole number"
            f" 1 <= N <= {MAX_PADDED_ROWS}, for example 'padded:16'"
        )


def apply_execution(execution: Execution, scorer: Scorer) -> Scorer:
    """Return a scorer that obeys the setting: the given one itself unless the mode is padded."""
    if execution.mode is ExecutionMode.PADDED:
        return PaddedScorer(scorer, execution.rows)
    return scorer


class PaddedScorer:
    """Gives the scorer within batches of exactly `rows` rows, whatever it is asked to score.

    A short batch is filled up by repeating its last row (a real row, so that nothing overflows or
    turns NaN that would not have done so anyway); a long one is scored in chunks.

    Attributes:
        rows: the fixed number of rows.
    """

    __slots__ = ("_within", "rows")

    def __init__(self, within: Scorer, rows: int) -> None:
        self._within, self.rows = within, rows

    @property
    def info(self) -> ScorerInfo:
        """How the scorer within computes."""
        return self._within.info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the raw outputs of N >= 1 rows, first axis N.

        Raises:
            BackendError: the model failed, or answered another number of rows than it was given.
            DataError: there are no rows.
        """
        return joined(
            cut(self._within.score(padded), taken, self.rows)
            for padded, taken in padded_batches(features, self.rows)
        )


def padded_batches(features: FeatureBatch, rows: int) -> Iterator[tuple[FeatureBatch, int]]:
    """Yield batches of exactly `rows` rows, and how many of each are rows of `features`.

    Raises:
        DataError: there are no rows.
    """
    if features.rows == 0:
        raise DataError("a batch of 0 rows cannot be scored; send at least one row")
    for start in range(0, features.rows, rows):
        whole = features.rows <= rows
        chunk = features if whole else take_rows(features, slice(start, start + rows))
        if chunk.rows == rows:
            yield chunk, rows
        else:
            filled = np.minimum(np.arange(rows), chunk.rows - 1)
            yield take_rows(chunk, filled), chunk.rows


def cut(outputs: Outputs, taken: int, rows: int) -> Outputs:
    """Return the first `taken` rows of the outputs of a padded batch.

    Raises:
        BackendError: an output's first axis is not the `rows` that the model was given.
    """
    for name, value in outputs.items():
        if value.shape[:1] != (rows,):
            raise BackendError(
                f"output {name!r} has shape {value.shape}, expected {rows} rows first; a"
                " padded servable must answer one row for each row: bundle it as 'as_is'"
            )
    return {name: value[:taken] for name, value in outputs.items()}


def joined(parts: Iterable[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of one, in order."""
    held = list(parts)
    if len(held) == 1:
        return held[0]
    return {name: np.concatenate([part[name] for part in held]) for name in held[0]}
