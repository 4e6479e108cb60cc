"""Cells in which entries wait to be counted together, beside what was counted of those before.

Counting one entry with numpy costs as much as counting a hundred. So entries wait in the file until
their block is full; whoever scrapes counts the waiting ones for itself and changes nothing. What is
counted lies there twice: the writer prepares the spare copy and makes it the valid one by storing
a single number, so a reader, or the worker's successor after a `kill -9`, finds either what was
before or what is after.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from monitors.errors import MonitorError
from monitors.online.cells import Words

T = TypeVar("T")

BLOCK: Final = 512
"""Entries that are counted together: 0.2 ms for 50 features, during which no request is scored."""

WRITTEN: Final = 0
"""The cell with the number of entries since the start; an entry counts once it says so."""
_GENERATION: Final = 1
"""The cell with the number of blocks; its lowest bit says which copy is the valid one."""
_FIRST_COPY: Final = 2
COUNTED: Final = 0
"""Where a copy says how many entries are counted in it."""

_LOOKS: Final = 20
_PAUSE_SECONDS: Final = 0.000_5


class Blocks:
    """Where everything is in one worker's cells.

    Args:
        words: the cells, shape (`Blocks.size(copy, waiting)`,).
        copy: cells of what is counted.

    Attributes:
        waiting: the cells of the entries that wait.
    """

    def __init__(self, words: Words, copy: int) -> None:
        self._marks = words[:_FIRST_COPY]
        self._copies = words[_FIRST_COPY : _FIRST_COPY + 2 * copy].reshape(2, copy)
        self.waiting = words[_FIRST_COPY + 2 * copy :]

    @staticmethod
    def size(copy: int, waiting: int) -> int:
        """Return how many cells are needed."""
        return _FIRST_COPY + 2 * copy + waiting

    def settled(self, waiting: Callable[[int], T]) -> tuple[Words, T]:
        """Return what is counted and what waits, as they were at one moment.

        Args:
            waiting: returns a copy of so many entries that wait.

        Raises:
            MonitorError: they change faster than they can be read.
        """
        for _ in range(_LOOKS):
            generation = int(self._marks[_GENERATION])
            counted = self._copies[generation & 1].copy()
            entries = waiting(int(self._marks[WRITTEN] - counted[COUNTED]))
            if int(self._marks[_GENERATION]) == generation:
                return counted, entries
            time.sleep(_PAUSE_SECONDS)
        raise MonitorError("the counts of a worker change faster than they can be read")

    def next_block(self, count: Callable[[Words, int], None]) -> None:
        """Count what waits; the next entry begins a new block.

        Args:
            count: adds so many waiting entries to a copy of what is counted.
        """
        generation = int(self._marks[_GENERATION])
        spare = self._copies[(generation + 1) & 1]
        spare[:] = self._copies[generation & 1]
        count(spare, int(self._marks[WRITTEN] - spare[COUNTED]))
        spare[COUNTED] = self._marks[WRITTEN]
        self._marks[_GENERATION] = generation + 1
