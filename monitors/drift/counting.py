"""Counts the requests of a log by window, in the buckets of the bundle's frozen reference.

What is kept of a window are integers, so that windows merge exactly and memory does not grow with
the log: only with the number of windows. `state.py` packs them for the way from another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from consistency.features import FeatureStatus
from consistency.jsontype import Json
from consistency.log import LoggedRequest
from consistency.log.columnar.columns import LoggedValues
from consistency.log.lines.entry import LineContext
from consistency.records import Column
from consistency.schema import FeatureType
from consistency.scored import Outcome
from monitors.drift.windows import TimeBasis, Window, WindowLength
from monitors.errors import MonitorError
from monitors.reference import Counts, ReferenceSet

# numpy costs the same for one row as for a hundred: requests wait until so many rows are there.
_WAITING_ROWS: Final = 4_096

_UNSEEN: Final = int(FeatureStatus.UNSEEN)


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

    def in_order(self, names: Iterable[str]) -> Self:
        """Return the counts with the features in this order, whatever the log's was.

        Args:
            names: of everything that a reference counts.
        """
        features = {name: self.features[name] for name in names if name in self.features}
        return replace(self, features=features, unseen=dict(sorted(self.unseen.items())))

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
        self._waiting: dict[tuple[Window, LineContext], _Rows] = {}
        self._waiting_rows = 0

    def take(self, request: LoggedRequest) -> None:
        """Count a request.

        Raises:
            MonitorError: its features or scores do not fit the reference.
        """
        own, context = request.parts
        event = own.get("event_time_us") if self._by is TimeBasis.EVENT else None
        window = self._length.holding(own["ingest_time_us"] if event is None else event)
        counts = self._windows.get(window)
        if counts is None:
            counts = self._windows[window] = WindowCounts()
        counts.requests += 1
        counts.untimed += self._by is TimeBasis.EVENT and event is None
        outcome = own["outcome"] if "outcome" in own else context.facts["outcome"]
        if outcome != Outcome.OK or own["scores"] is None:
            counts.refused += 1
        elif rows := own["rows"]:
            counts.rows += rows
            self._wait(window, context, own)

    def windows(self) -> dict[Window, WindowCounts]:
        """Return what was counted so far, the earliest window first."""
        self._count_waiting()
        names = self._reference.measures
        return {w: c.in_order(names) for w, c in sorted(self._windows.items())}

    def _wait(self, window: Window, context: LineContext, own: Mapping[str, Json]) -> None:
        waiting = self._waiting.get((window, context))
        if waiting is None:
            waiting = self._waiting[window, context] = _Rows(context)
        waiting.add(own)
        self._waiting_rows += own["rows"]
        if self._waiting_rows >= _WAITING_ROWS:
            self._count_waiting()

    def _count_waiting(self) -> None:
        for (window, _), rows in self._waiting.items():
            self._windows[window].merge(rows.counted(self._reference, window))
        self._waiting.clear()
        self._waiting_rows = 0


class _Rows:
    """Scored rows of one window whose requests hold the same features.

    They are plain lists until they are counted: an array for each request costs several times what
    reading it does.

    Args:
        context: what their lines share.
    """

    def __init__(self, context: LineContext) -> None:
        self._names = context.feature_names or []
        self._types = {name: FeatureType(kind) for name, kind in context.feature_types.items()}
        self._numeric: list[list[float | None]] = []
        self._infinities: list[tuple[int, int, int]] = []  # row, column, sign
        self._others = {name: LoggedValues() for name in self._types}
        self._unseen: dict[str, int] = {}
        self._scores = LoggedValues()

    def add(self, own: Mapping[str, Json]) -> None:
        """Take a scored request."""
        self._scores.add(own["scores"], own.get("scores_inf"))
        rows = own["feature_rows"]
        if rows is None:
            return
        for name, marks in own.get("feature_inf", {}).items():
            self._mark(name, marks)
        self._numeric.extend(rows)
        for name, values in self._others.items():
            values.rows.extend(own["other_features"][name])
        for name, codes in own.get("feature_status", {}).items():
            if unseen := codes.count(_UNSEEN):
                self._unseen[name] = self._unseen.get(name, 0) + unseen

    def counted(self, reference: ReferenceSet, window: Window) -> WindowCounts:
        """Return the bucket counts; the rows and requests are counted already."""
        counts = WindowCounts()
        try:
            columns = self._columns()
            scores = reference.score_counts(self._scores.array(FeatureType.FLOAT64))
            counts.add_rows(reference.counts(columns), scores)
        except (TypeError, ValueError) as e:
            raise MonitorError(
                f"window {window}: the logged values do not fit the bundle's reference ({e}); "
                f"compare with that of the bundle that served"
            ) from e
        counts.unseen = {name: n for name, n in self._unseen.items() if name in columns}
        return counts

    def _mark(self, name: str, marks: Sequence[Sequence[int]]) -> None:
        if name in self._others:
            self._others[name].mark(marks)
            return
        start, column = len(self._numeric), self._names.index(name)
        self._infinities.extend((start + row, column, sign) for row, sign in marks)

    def _columns(self) -> dict[str, Column]:
        shape = len(self._numeric), len(self._names)
        numeric = np.array(self._numeric, np.float64).reshape(shape)
        for row, column, sign in self._infinities:
            numeric[row, column] = sign * np.inf
        # Contiguous: counting looks at one column at a time.
        columns: dict[str, Column] = {}
        columns.update(zip(self._names, np.ascontiguousarray(numeric.T), strict=True))
        for name, values in self._others.items():
            columns[name] = values.feature(self._types[name])
        return columns
