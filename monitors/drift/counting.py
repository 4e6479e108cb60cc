"""Counts the requests of a log by window, in the buckets of the bundle's frozen reference.

What is kept of a window are integers, so that windows merge exactly and memory does not grow with
the log: only with the number of windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureBatch, FeatureStatus
from consistency.jsontype import Json
from consistency.log import LoggedRequest
from consistency.scored import Outcome
from monitors.drift.windows import TimeBasis, Window, WindowLength
from monitors.reference import Counts, ReferenceSet

# numpy costs the same for one row as for a hundred: requests wait until so many rows are there.
_WAITING_ROWS: Final = 4_096


@dataclass(slots=True)
class WindowCounts:
    """What is known of a window's requests; two of them add up exactly.

    Attributes:
        requests: scored and refused ones.
        refused: those that were not scored (data errors, backend errors, timeouts).
        untimed: those without an event time, counted by their ingest time instead.
        rows: rows of the scored ones.
        features: feature name to the rows in each bucket of its reference.
        unseen: feature name to the rows whose status is `UNSEEN`, where there are any.
        scores: rows in each bucket, one array for each output.
    """

    requests: int = 0
    refused: int = 0
    untimed: int = 0
    rows: int = 0
    features: dict[str, Counts] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    scores: tuple[Counts, ...] = ()

    def add_rows(self, features: Mapping[str, Counts], scores: Sequence[Counts]) -> None:
        """Add the bucket counts of more rows, in the same buckets."""
        for name, counts in features.items():
            held = self.features.get(name)
            self.features[name] = counts if held is None else held + counts
        pairs = zip(self.scores, scores, strict=True)
        self.scores = tuple(a + b for a, b in pairs) if self.scores else tuple(scores)

    def merge(self, other: WindowCounts) -> None:
        """Add another part of the same window, counted against the same reference."""
        self.requests += other.requests
        self.refused += other.refused
        self.untimed += other.untimed
        self.rows += other.rows
        if other.scores:
            self.add_rows(other.features, other.scores)
        for name, rows in other.unseen.items():
            self.unseen[name] = self.unseen.get(name, 0) + rows

    def to_json(self) -> dict[str, Json]:
        """Return JSON types; the inverse of `from_json`."""
        return {
            "requests": self.requests,
            "refused": self.refused,
            "untimed": self.untimed,
            "rows": self.rows,
            "features": {name: counts.tolist() for name, counts in self.features.items()},
            "unseen": dict(sorted(self.unseen.items())),
            "scores": [counts.tolist() for counts in self.scores],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build the counts that `to_json` described."""
        return cls(
            requests=value["requests"],
            refused=value["refused"],
            untimed=value["untimed"],
            rows=value["rows"],
            features={n: np.array(c, np.int64) for n, c in value["features"].items()},
            unseen=dict(value["unseen"]),
            scores=tuple(np.array(c, np.int64) for c in value["scores"]),
        )


class WindowCounter:
    """Counts requests of one model version, window by window.

    Args:
        reference: of the bundle that served them.
        length: of the windows.
        by: which time says what window a request belongs to.
    """

    def __init__(self, reference: ReferenceSet, length: WindowLength, by: TimeBasis) -> None:
        self._reference, self._length, self._by = reference, length, by
        self._windows: dict[Window, WindowCounts] = {}
        self._waiting: dict[Window, list[_Rows]] = defaultdict(list)
        self._waiting_rows = 0

    def take(self, request: LoggedRequest) -> None:
        """Count a request.

        Raises:
            MonitorError: its features or scores do not fit the reference.
        """
        event = request.fields["event_time_us"] if self._by is TimeBasis.EVENT else None
        time_us = request.fields["ingest_time_us"] if event is None else event
        window = self._length.holding(time_us)
        counts = self._windows.setdefault(window, WindowCounts())
        counts.requests += 1
        counts.untimed += self._by is TimeBasis.EVENT and event is None
        scores = request.scores
        if request.outcome is not Outcome.OK or scores is None:
            counts.refused += 1
            return
        if not request.rows:
            return
        counts.rows += request.rows
        self._waiting[window].append(_Rows(request.features, scores))
        self._waiting_rows += request.rows
        if self._waiting_rows >= _WAITING_ROWS:
            self._count_waiting()

    def windows(self) -> dict[Window, WindowCounts]:
        """Return what was counted so far, the earliest window first."""
        self._count_waiting()
        return dict(sorted(self._windows.items()))

    def _count_waiting(self) -> None:
        for window, parts in self._waiting.items():
            self._windows[window].merge(_counted(self._reference, parts))
        self._waiting.clear()
        self._waiting_rows = 0


@dataclass(frozen=True, slots=True)
class _Rows:
    """The scored rows of one request."""

    features: FeatureBatch | None
    scores: NDArray[np.float64]


def _counted(reference: ReferenceSet, parts: Sequence[_Rows]) -> WindowCounts:
    """Return the bucket counts of some requests; their rows and requests are counted already."""
    counts = WindowCounts()
    scores = reference.score_counts(np.concatenate([part.scores for part in parts]))
    batches = [part.features for part in parts if part.features is not None]
    columns = [batch.columns() for batch in batches]
    names = columns[0] if columns else ()
    together = {name: np.concatenate([c[name] for c in columns]) for name in names}
    counts.add_rows(reference.counts(together), scores)
    for batch in batches:
        for name, codes in batch.status.items():
            unseen = int(np.count_nonzero(codes == FeatureStatus.UNSEEN))
            if unseen:
                counts.unseen[name] = counts.unseen.get(name, 0) + unseen
    return counts
