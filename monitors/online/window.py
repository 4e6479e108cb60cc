"""A sliding window of slices: what one worker has counted, as int64 cells. Pure.

Slices begin at multiples of their length since the epoch, so that those of several workers are the
same, and their counts add up to what one worker would have counted. The window is the slice at hand
and the ones before it; the oldest slice leaves it as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from consistency.errors import ConfigError
from monitors.online.cells import Words
from monitors.online.row_counts import RowCounts
from monitors.online.row_layout import RowLayout

DEFAULT_MIN_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How long the monitors look back.

    Attributes:
        slices: in the window, the one at hand included.
        slice_seconds: length of a slice.
        min_rows: rows that the window must hold before a stability index is given. Without drift it
            is about chi2(B - 1) / rows for B buckets (see `psi.py`): at the default of 500 rows and
            24 buckets, the most there are by default, it exceeds 0.1 once in a thousand windows; at
            100 rows it nearly always does.
    """

    slices: int = 12
    slice_seconds: int = 300
    min_rows: int = DEFAULT_MIN_ROWS

    def __post_init__(self) -> None:
        for name in ("slices", "slice_seconds", "min_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"window {name}: got {getattr(self, name)}; give 1 or more")

    def slice_at(self, now_seconds: float) -> int:
        """Return the number of the slice at a time since the epoch."""
        return int(now_seconds // self.slice_seconds)


class Tally:
    """Counts since the start and the slices of the window, laid over int64 cells.

    Args:
        layout: of the rows that are counted.
        slices: that are kept.
        cells: shape (`Tally.size(layout, slices)`,); zeros for nothing yet.
    """

    def __init__(self, layout: RowLayout, slices: int, cells: Words) -> None:
        features, outputs = len(layout.features), layout.outputs
        counters = 3 + 3 * features
        self._layout = layout
        self._head = cells[:2]
        self.anomalies = cells[2:5]
        self.flags = cells[5 : 2 + counters].reshape(3, features)
        slots = cells[2 + counters :].reshape(slices, -1)
        self._ids, self._rows = slots[:, 0], slots[:, 1]
        self._buckets = slots[:, 2 : 2 + layout.buckets]
        # a float's bits fit a cell
        extremes = slots[:, 2 + layout.buckets :].view(np.float64)
        self._low, self._high = extremes[:, :outputs], extremes[:, outputs:]

    @staticmethod
    def size(layout: RowLayout, slices: int) -> int:
        """Return how many cells a tally has."""
        return 5 + 3 * len(layout.features) + slices * (2 + layout.buckets + 2 * layout.outputs)

    @property
    def counted(self) -> int:
        """Rows since the start."""
        return int(self._head[0])

    @property
    def slice(self) -> int:
        """The slice at hand."""
        return int(self._head[1])

    def add(self, counts: RowCounts) -> None:
        """Add rows of the slice at hand."""
        self._head[0] += counts.rows
        self.anomalies += counts.anomalies
        self.flags += counts.flags
        slot = self.slice % len(self._ids)
        if self._ids[slot] == self.slice:
            self._put(slot, self._slot(slot) + counts)
        else:
            self._ids[slot] = self.slice
            self._put(slot, counts)

    def turn_to(self, number: int) -> None:
        """Begin a later slice; an earlier one is kept when the clock was set back."""
        self._head[1] = max(self.slice, number)

    def window(self, last: int) -> RowCounts:
        """Return what the slices up to and with `last` hold together.

        Returns:
            Rows, buckets and extremes; anomalies and flags are counted since the start only.
        """
        total = RowCounts.zeros(self._layout)
        for slot, number in enumerate(self._ids.tolist()):
            if last - len(self._ids) < number <= last and self._rows[slot]:
                total = total + self._slot(slot)
        return total

    def _slot(self, slot: int) -> RowCounts:
        empty = RowCounts.zeros(self._layout)
        return RowCounts(
            int(self._rows[slot]),
            empty.anomalies,
            empty.flags,
            self._buckets[slot],
            self._low[slot],
            self._high[slot],
        )

    def _put(self, slot: int, counts: RowCounts) -> None:
        self._rows[slot] = counts.rows
        self._buckets[slot] = counts.buckets
        self._low[slot], self._high[slot] = counts.low, counts.high
