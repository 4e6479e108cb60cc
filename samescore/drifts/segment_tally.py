"""Counts a window and the windows before it by segment, in the reference's buckets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitors.drift.windows import Window
from monitors.reference import Counts, ReferenceSet
from monitors.thresholds.segments import SegmentScores
from samescore.drifts.window_rows import WINDOWS_BEFORE, Part

MOST_SEGMENTS: Final = 200
"""Further ones share the segment `other`: a user id is no segment."""

OTHER: Final = "other"
_WAITING_ROWS: Final = 4_096


@dataclass(slots=True)
class Segment:
    """What is known of a segment.

    Attributes:
        rows: with a finite score in each window, shape (W,); the last is the one explained.
        sums: of their scores; squares: of the squared ones.
        before: feature to its bucket counts in the windows before; after: in the last window.
        scores_before: bucket counts of the score; scores_after: likewise.
    """

    rows: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    before: dict[str, Counts] = field(default_factory=dict)
    after: dict[str, Counts] = field(default_factory=dict)
    scores_before: Counts | None = None
    scores_after: Counts | None = None

    def scores_of(self, name: str) -> SegmentScores:
        """Return its scores, to be judged."""
        return SegmentScores(name, self.rows, self.sums, self.squares)


class SegmentTally:
    """Counts the rows of one field's segments.

    Args:
        reference: whose buckets are used.
        window: that is explained.
        index: of the field among those that were read.
        output: of the score.
    """

    def __init__(self, reference: ReferenceSet, window: Window, index: int, output: int) -> None:
        self._reference, self._window, self._index = reference, window, index
        self._output = output
        self.segments: dict[str, Segment] = {}
        self._waiting: list[Part] = []
        self._rows = 0

    def take(self, part: Part) -> None:
        """Count a request."""
        self._waiting.append(part)
        self._rows += part.rows
        if self._rows >= _WAITING_ROWS:
            self.count()

    def count(self) -> None:
        """Count the requests that wait."""
        for is_last in (False, True):
            parts = [p for p in self._waiting if (p.window == self._window) == is_last]
            if parts:
                self._add(parts, is_last)
        self._waiting, self._rows = [], 0

    def _add(self, parts: list[Part], is_last: bool) -> None:
        names = np.array([n for part in parts for n in part.segments[self._index]], object)
        at = np.repeat([self._place(p.window) for p in parts], [p.rows for p in parts])
        scores = np.concatenate([part.scores for part in parts])
        scores = scores if scores.ndim == 1 else scores[:, self._output]
        shared = set(parts[0].columns).intersection(*(p.columns for p in parts))
        columns = {
            n: np.concatenate([p.columns[n] for p in parts])
            for n in self._reference.score_means
            if n in shared
        }
        buckets = {n: self._reference.features[n].buckets(v) for n, v in columns.items()}
        score_buckets = self._reference.scores[self._output].buckets(scores)
        for name in sorted(set(names.tolist())):
            rows = np.flatnonzero(names == name)
            segment = self._segment(name)
            _add_scores(segment, at[rows], scores[rows])
            chosen = {n: b[rows] for n, b in buckets.items()}
            self._add_counts(segment, chosen, score_buckets[rows], is_last)

    def _add_counts(
        self, segment: Segment, buckets: Mapping[str, NDArray[np.intp]],
        scores: NDArray[np.intp], is_last: bool,
    ) -> None:  # fmt: skip
        held = segment.after if is_last else segment.before
        for name, each in buckets.items():
            size = len(self._reference.features[name].training_counts)
            counts = np.bincount(each, minlength=size)
            held[name] = held[name] + counts if name in held else counts
        size = len(self._reference.scores[self._output].training_counts)
        counts = np.bincount(scores, minlength=size)
        if is_last:
            former = segment.scores_after
            segment.scores_after = counts if former is None else former + counts
        else:
            former = segment.scores_before
            segment.scores_before = counts if former is None else former + counts

    def _segment(self, name: str) -> Segment:
        if name not in self.segments and len(self.segments) >= MOST_SEGMENTS:
            name = OTHER
        if name not in self.segments:
            size = WINDOWS_BEFORE + 1
            self.segments[name] = Segment(np.zeros(size, np.int64), np.zeros(size), np.zeros(size))
        return self.segments[name]

    def _place(self, window: Window) -> int:
        return WINDOWS_BEFORE - (self._window.start_s - window.start_s) // window.length_s


def _add_scores(segment: Segment, at: NDArray[np.intp], scores: NDArray[np.float64]) -> None:
    finite = np.isfinite(scores)
    known, places, size = scores[finite], at[finite], WINDOWS_BEFORE + 1
    segment.rows += np.bincount(places, minlength=size)
    segment.sums += np.bincount(places, known, minlength=size)
    segment.squares += np.bincount(places, known**2, minlength=size)
