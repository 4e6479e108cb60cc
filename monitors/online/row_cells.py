"""Scored rows in one worker's cells: rows that wait, and what was counted of those before them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from consistency.features import FeatureBatch
from consistency.records import Column
from consistency.schema import FeatureType
from consistency.scored import Scores
from monitors.errors import MonitorError
from monitors.online.blocks import BLOCK, WRITTEN, Blocks
from monitors.online.cells import Words
from monitors.online.number_columns import Floats
from monitors.online.row_counts import RowCounter, Status
from monitors.online.row_layout import CategoryCodes, FeatureColumns, RowLayout
from monitors.online.window import Tally, WindowSettings
from monitors.reference import Reference

_WORD_BYTES: Final = 8


class RowCells:
    """Where everything is in the cells of one worker and one servable.

    Args:
        layout: of the rows.
        window: how many slices there are.
        words: the cells, shape (`RowCells.size(layout, window)`,).

    Attributes:
        values: the rows that wait, shape (BLOCK, columns).
        status: their `FeatureStatus` codes, shape (BLOCK, features).
    """

    def __init__(self, layout: RowLayout, window: WindowSettings, words: Words) -> None:
        self._layout, self._slices = layout, window.slices
        self._blocks = Blocks(words, Tally.size(layout, window.slices))
        waiting, features = self._blocks.waiting, len(layout.features)
        numbers = BLOCK * layout.columns
        self.values: Floats = waiting[:numbers].view(np.float64).reshape(BLOCK, layout.columns)
        codes = waiting[numbers:].view(np.uint8)[: BLOCK * features]
        self.status: Status = codes.reshape(BLOCK, features)

    @staticmethod
    def size(layout: RowLayout, window: WindowSettings) -> int:
        """Return how many cells are needed."""
        status = -(-BLOCK * len(layout.features) // _WORD_BYTES)
        return Blocks.size(Tally.size(layout, window.slices), BLOCK * layout.columns + status)

    def settled(self, counter: RowCounter) -> Tally:
        """Return a tally of all rows, the waiting ones included, that nobody else changes."""
        counted, (values, status) = self._blocks.settled(
            lambda rows: (self.values[:rows].copy(), self.status[:rows].copy())
        )
        tally = Tally(self._layout, self._slices, counted)
        tally.add(counter.count(values, status))
        return tally

    def next_block(self, counter: RowCounter, slice_number: int) -> None:
        """Count the waiting rows into the slice at hand; later ones belong to the given slice."""

        def count(cells: Words, rows: int) -> None:
            tally = Tally(self._layout, self._slices, cells)
            tally.add(counter.count(self.values[:rows], self.status[:rows]))
            tally.turn_to(slice_number)

        self._blocks.next_block(count)
        self.status[:] = 0


class RowWriter:
    """Takes note of the scored rows of one servable, in one worker.

    Args:
        layout: of the rows.
        window: the slices.
        cells: this worker's, `RowCells.size(layout, window)` of them.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        layout: RowLayout,
        window: WindowSettings,
        cells: memoryview,
        clock: Callable[[], float],
    ) -> None:
        self._layout, self._window, self._words, self._clock = layout, window, cells, clock
        self._outputs = layout.outputs
        self._counter = RowCounter(layout)
        self._cells = RowCells(layout, window, np.frombuffer(cells, np.int64))
        scalars = sum(f.type is FeatureType.FLOAT64 for f in layout.features)
        self._values, self._status = self._cells.values, self._cells.status
        self._scalars = self._values[:, :scalars]
        self._scores = self._values[:, layout.columns - layout.outputs :]
        # the same cells, for single numbers: numpy takes twice as long for one
        self._columns = layout.columns
        self._numbers = self._values.reshape(-1).data.cast("B").cast("d")
        places = zip(layout.features, layout.starts, layout.judged, strict=False)
        self._others = [_Place.of(f, s, r) for f, s, r in list(places)[scalars:]]
        self._turn()

    def add(self, batch: FeatureBatch | None, scores: Scores) -> None:
        """Take note of rows.

        Args:
            batch: their features, None when the layout has none.
            scores: shape (N,) or (N, k), N >= 1.

        Raises:
            MonitorError: another number of outputs than before.
        """
        if self._clock() >= self._slice_end:
            self._turn()
        rows = len(scores)
        if scores.size != rows * self._outputs:
            raise MonitorError(
                f"the scores have shape {scores.shape}; the requests before had "
                f"{self._outputs} outputs a row"
            )
        if rows == 1:
            self._note_one(batch, scores)
            self._count_in(1)
            return
        if self._filled + rows > BLOCK:
            self._turn()  # a reader sees a request wholly, unless it is longer than a block
        begin = 0
        while begin < rows:
            end = min(rows, begin + BLOCK - self._filled)
            self._note(batch, scores, slice(begin, end))
            self._count_in(end - begin)
            begin = end

    def _count_in(self, rows: int) -> None:
        """Let the rows that were noted last count: from here on a reader sees them."""
        self._filled += rows
        self._words[WRITTEN] += rows
        if self._filled == BLOCK:
            self._turn()

    def _note_one(self, batch: FeatureBatch | None, scores: Scores) -> None:
        """Write a single row, the usual request: half the price of `_note`."""
        at = self._filled
        if self._outputs == 1:
            self._numbers[at * self._columns + self._columns - 1] = scores.item()
        else:
            self._scores[at] = scores
        if batch is None:
            return
        self._scalars[at] = batch.numeric
        for place in self._others:
            self._values[at, place.span] = place.numbers(batch.others[place.feature.name]).ravel()
        if any(batch.status.values()):  # half the price of looking at each
            for name, codes in batch.status.items():
                self._status[at, self._layout.place[name]] = codes.item()

    def _note(self, batch: FeatureBatch | None, scores: Scores, rows: slice) -> None:
        """Write rows behind those that wait."""
        count = rows.stop - rows.start
        to = slice(self._filled, self._filled + count)
        self._scores[to] = scores[rows].reshape(count, -1)
        if batch is None:
            return
        self._scalars[to] = batch.numeric[rows]
        for place in self._others:
            column = place.numbers(batch.others[place.feature.name][rows])
            self._values[to, place.span] = column.reshape(count, -1)
        for name, codes in batch.status.items():
            self._status[to, self._layout.place[name]] = codes[rows]

    def _turn(self) -> None:
        """Count the rows that wait, and begin a block in the slice of this moment."""
        number = self._window.slice_at(self._clock())
        self._cells.next_block(self._counter, number)
        self._filled = 0
        self._slice_end = float(number + 1) * self._window.slice_seconds


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a feature that is no float64 scalar is written, and how it becomes numbers."""

    feature: FeatureColumns
    span: slice
    codes: CategoryCodes

    @classmethod
    def of(cls, feature: FeatureColumns, start: int, reference: Reference | None) -> _Place:
        return cls(feature, slice(start, start + feature.width), CategoryCodes(reference))

    def numbers(self, column: Column) -> Column:
        if self.feature.is_category:
            return np.array([self.codes.code(v) for v in column.tolist()], np.float64)
        if self.feature.type is FeatureType.TOKENS:
            lengths = [math.nan if v is None else len(v) for v in column.tolist()]
            return np.array(lengths, np.float64)
        return column
