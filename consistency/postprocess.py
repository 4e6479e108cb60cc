"""From a model's raw output to the score that a client gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from consistency.errors import BackendError, ConfigError
from consistency.jsontype import Json
from consistency.records import Column
from consistency.scored import Outputs, Scores


@dataclass(frozen=True, slots=True)
class Platt:
    """Platt scaling of a probability: p -> 1 / (1 + exp(-(slope * logit(p) + intercept))).

    Source: Platt, J. (1999), Probabilistic outputs for support vector machines.

    >>> float(Platt(slope=1.0, intercept=0.0)(np.array([0.5]))[0])
    0.5
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ConfigError(f"Platt scaling takes finite numbers, got {self}")
        if self.slope == 0:
            raise ConfigError("Platt scaling with slope 0 gives every row the same score")

    def __call__(self, probability: Scores) -> Scores:
        """Return calibrated probabilities; 0 and 1 map to themselves for a positive slope."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            logit = np.log(probability) - np.log1p(-probability)
            return 1.0 / (1.0 + np.exp(-(self.slope * logit + self.intercept)))


@dataclass(frozen=True, slots=True)
class PostProcess:
    """Picks the score among the raw outputs and calibrates it.

    Attributes:
        output: the raw output's name; None takes the only one.
        column: of an output (N, k), the column that is the score; None keeps all k, and an output
            (N, 1) becomes (N,).
        calibration: applied last.
    """

    output: str | None = None
    column: int | None = None
    calibration: Platt | None = None

    def __call__(self, outputs: Outputs) -> Scores:
        """Return float64 scores, shape (N,) or (N, k); NaN stays NaN.

        Raises:
            BackendError: the backend's outputs do not fit.
        """
        raw = np.asarray(self._pick(outputs), np.float64)
        if self.column is not None:
            if raw.ndim != 2 or not -raw.shape[1] <= self.column < raw.shape[1]:
                raise BackendError(f"raw output has shape {raw.shape}, no column {self.column}")
            raw = np.ascontiguousarray(raw[:, self.column])
        elif raw.ndim == 2 and raw.shape[1] == 1:
            raw = raw[:, 0]
        return raw if self.calibration is None else self.calibration(raw)

    def _pick(self, outputs: Outputs) -> Column:
        if self.output is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        if self.output is None or self.output not in outputs:
            raise BackendError(
                f"the post-processing takes output {self.output!r}, the backend gave "
                f"{sorted(outputs)}; name one of them"
            )
        return outputs[self.output]

    def to_json(self) -> dict[str, Json]:
        """Return JSON types, the inverse of `from_json`."""
        platt = self.calibration
        scaled = None if platt is None else {"slope": platt.slope, "intercept": platt.intercept}
        return {"output": self.output, "column": self.column, "platt": scaled}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build from what `to_json` returned."""
        platt = value["platt"]
        return cls(value["output"], value["column"], None if platt is None else Platt(**platt))
