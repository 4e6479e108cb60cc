"""Work on a request log that is cut into units: what an engine is, and what it is given.

The cut does not depend on who does the work, and results are added up by sums that know no order:
so which engine it was cannot be seen in what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self, TypeAlias, TypeVar

from consistency.replay.units import LogUnit

OnBytes: TypeAlias = Callable[[int], object]
"""Told how many bytes more of the log were done."""

NumberedUnit: TypeAlias = tuple[int, LogUnit]

R_co = TypeVar("R_co", covariant=True)


class Runner(Protocol[R_co]):
    """Does units, one after the other, with what was loaded once."""

    def run(self, numbered: NumberedUnit, on_bytes: OnBytes = ...) -> R_co:
        """Do a unit. What is wrong with it stands in the result: not every error can travel."""
        ...


class Work(Protocol[R_co]):
    """What is to be done with each unit; it can be pickled, and its results too.

    Attributes:
        name: a word for people.
        advice: what helps when an engine fails; empty for nothing but doing it again.
    """

    name: ClassVar[str]
    advice: ClassVar[str]

    @property
    def log(self) -> Path:
        """The folder that the units are of."""
        ...

    def anywhere(self) -> Self:
        """Return it with absolute paths: a worker has another working directory."""
        ...

    def start(self) -> Runner[R_co]:
        """Load what every unit needs; called once in each process."""
        ...


R = TypeVar("R")


class Engine(Protocol):
    """Does units somewhere."""

    def run(self, work: Work[R], units: Sequence[NumberedUnit], on_bytes: OnBytes) -> Iterator[R]:
        """Yield one result for each unit, in any order, soon after it is done.

        Raises:
            EngineError: the engine itself failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """Does one unit after another in this process; see `Engine`."""

    def run(self, work: Work[R], units: Sequence[NumberedUnit], on_bytes: OnBytes) -> Iterator[R]:
        """Yield a result for each unit; see `Engine`."""
        runner = work.start()
        for numbered in units:
            yield runner.run(numbered, on_bytes)


def first_lines(units: Iterable[LogUnit], lines: Mapping[int, int]) -> list[int]:
    """Return how many lines of its segment stand before each unit.

    Args:
        units: all of a log, in its order.
        lines: of each unit by its number; 0 where it is missing.

    >>> first_lines([LogUnit("a", 0, 9), LogUnit("a", 9, 12), LogUnit("b", 0, 9)], {0: 3, 1: 1})
    [0, 3, 0]
    """
    before, stem, first = 0, "", []
    for index, unit in enumerate(units):
        before = before if unit.stem == stem else 0
        first.append(before)
        before, stem = before + lines.get(index, 0), unit.stem
    return first
