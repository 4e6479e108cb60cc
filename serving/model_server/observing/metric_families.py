"""Counters and histograms as TensorFlow's `monitoring` library has them: cells by label values.

`prometheus_client` cannot stand in: it adds `_total` and `_created` to names that upstream's
dashboards and alerts spell without.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

MOST_CELLS: Final = 10_000
"""Of one family: clients choose model names, and each new one would take memory for ever."""

OVERFLOW: Final = "(too many)"
"""The label values of everything beyond."""

Labels: TypeAlias = tuple[str, ...]
"""Label values, in the order of the family's names."""


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Return the limits of a histogram's buckets, each `factor` times the one before.

    >>> exponential(10, 1.8, 4)
    (10, 18.0, 32.4, 58.32)
    """
    limits = [first]
    while len(limits) < count:
        limits.append(limits[-1] * factor)
    return tuple(limits)


class Counter:
    """A number a set of label values; any thread may add.

    Args:
        name: as upstream registers it, with slashes.
        label_names: of its labels.
    """

    def __init__(self, name: str, label_names: Labels = ()) -> None:
        self.name, self.label_names = name, label_names
        self._cells: dict[Labels, int] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, by: int = 1) -> None:
        """Add to a cell."""
        with self._lock:
            cells = self._cells
            if labels not in cells and len(cells) >= MOST_CELLS:
                labels = (OVERFLOW,) * len(labels)
            cells[labels] = cells.get(labels, 0) + by

    def cells(self) -> Mapping[Labels, int]:
        """Return all cells, by label values."""
        with self._lock:
            return dict(self._cells)

    def total(self) -> int:
        """Return the sum over all cells."""
        return sum(self.cells().values())


@dataclass(frozen=True, slots=True)
class Distribution:
    """One cell of a histogram.

    Attributes:
        counts: of each bucket by itself, the one without a limit last.
        sum: of all observations.
    """

    counts: tuple[int, ...]
    sum: float


class Histogram:
    """Observations in buckets, a set of label values; any thread may observe.

    An observation that equals a limit counts in the bucket above, as TensorFlow's does.

    Args:
        name: as upstream registers it, with slashes.
        label_names: of its labels.
        limits: of the buckets, rising.
        full_sums: print sums with all digits; upstream prints six.
    """

    def __init__(
        self,
        name: str,
        label_names: Labels,
        limits: tuple[float, ...],
        *,
        full_sums: bool = False,
    ) -> None:
        self.name, self.label_names, self.limits = name, label_names, limits
        self.full_sums = full_sums
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        """Count an observation."""
        bucket = bisect_right(self.limits, value)
        with self._lock:
            counts = self._counts.get(labels)
            if counts is None:
                if len(self._counts) >= MOST_CELLS:
                    labels = (OVERFLOW,) * len(labels)
                counts = self._counts.setdefault(labels, [0] * (len(self.limits) + 1))
            counts[bucket] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def cells(self) -> Mapping[Labels, Distribution]:
        """Return all cells, by label values."""
        with self._lock:
            return {
                labels: Distribution(tuple(counts), self._sums[labels])
                for labels, counts in self._counts.items()
            }


Family: TypeAlias = Counter | Histogram
