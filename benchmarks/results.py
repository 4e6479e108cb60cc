"""What one measurement says, and whether it keeps its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypedDict

import orjson


class Sense(StrEnum):
    """On which side of the limit a value keeps its budget."""

    AT_MOST = "≤"
    BELOW = "<"
    AT_LEAST = "≥"


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit.

    Attributes:
        sense: on which side of it a value has to be.
        limit: in the unit of the value.
    """

    sense: Sense
    limit: float

    def holds(self, value: float) -> bool:
        """Tell whether a value keeps the budget; NaN never does."""
        if self.sense is Sense.AT_MOST:
            return value <= self.limit
        return value < self.limit if self.sense is Sense.BELOW else value >= self.limit

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}"


class ResultJson(TypedDict):
    """One entry of `results.json`."""

    name: str
    value: float
    unit: str
    budget: float | None
    within_budget: bool | None
    peer: str | None
    ratio: float | None
    spread: list[float] | None


@dataclass(frozen=True, slots=True)
class Result:
    """One measured value.

    Attributes:
        name: as in the design's table of budgets.
        value: the median over rounds, unless the name says otherwise.
        unit: of value, budget and spread.
        budget: None for a value that is only reported.
        peer: what it was measured beside, with the peer's own value, for people to read.
        ratio: ours over the peer's, both in the peer's unit.
        spread: the smallest and the largest of the rounds.
    """

    name: str
    value: float
    unit: str
    budget: Budget | None = None
    peer: str | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def within_budget(self) -> bool | None:
        """Whether the value keeps its budget, None without one."""
        return None if self.budget is None else self.budget.holds(self.value)

    def to_json(self) -> ResultJson:
        """Return JSON types."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "budget": None if self.budget is None else self.budget.limit,
            "within_budget": self.within_budget,
            "peer": self.peer,
            "ratio": self.ratio,
            "spread": None if self.spread is None else list(self.spread),
        }


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write results as a JSON list, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.write_bytes(orjson.dumps([r.to_json() for r in results], option=orjson.OPT_INDENT_2))
    half.replace(path)
