"""Watches what scored requests hold: features and scores, against the frozen reference.

The observer only takes note of a row; see `row_cells.py` for where it goes and `row_counts.py` for
what is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from consistency.jsontype import Json
from consistency.scored import Outcome, ScoredRequest, ServableInfo
from monitors.online.cells import CellFile, CellStore
from monitors.online.row_cells import RowCells, RowWriter
from monitors.online.row_counts import RowCounter
from monitors.online.row_families import RowFamilies, Watched
from monitors.online.row_layout import RowLayout
from monitors.online.window import Tally, WindowSettings
from monitors.reference import ReferenceSet

_KIND: Final = "rows"
_OK: Final = Outcome.OK  # looking a member up costs as much as a cell
_MOST_WATCHED: Final = 64
"""Servables whose reference is kept in memory; an older one that comes back is loaded anew."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a servable before its first request."""

    features: tuple[str, ...] = ()
    references: ReferenceSet | None = None


_NOTHING: Final = _Known()


class RowMonitor(Collector):
    """Observer of features and scores, and collector of what the monitors say of them.

    Every method may be called from any thread.

    Args:
        store: holds the rows and counts; those of all workers are collected.
        window: the sliding window.
        servables: returns the servables that are available now; asked at each scrape. Gauges are
            given for these only, counters for every version that has scored.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        store: CellStore,
        *,
        window: WindowSettings | None = None,
        servables: Callable[[], Iterable[ServableInfo]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._window = store, window or WindowSettings()
        self._servables, self._clock = servables, clock
        self._lock = threading.Lock()
        self._known: dict[ServableInfo, _Known] = {}
        self._writers: dict[ServableInfo, RowWriter] = {}
        self._readers: dict[CellFile, tuple[RowCells, RowCounter]] = {}

    @property
    def name(self) -> str:
        """See `Observer.name`."""
        return "row_monitor"

    def prepare(self, servable: ServableInfo, features: tuple[str, ...], reference: bytes) -> None:
        """Get to know a servable before its first request.

        Args:
            servable: the very object that its scored requests will carry.
            features: names of its features, so that their counters begin at 0.
            reference: what `ReferenceSet.to_bytes` wrote, or nothing.

        Raises:
            MonitorError: the reference cannot be read.
        """
        references = ReferenceSet.from_bytes(reference) if reference else None
        with self._lock:
            self._known[servable] = _Known(features, references)
            for old in list(self._known)[:-_MOST_WATCHED]:
                del self._known[old]
                self._writers.pop(old, None)

    def observe(self, request: ScoredRequest) -> None:
        """Take note of the rows of a request that was scored."""
        scores = request.scores
        if scores is None or request.outcome is not _OK:
            return
        with self._lock:
            writer = self._writers.get(request.servable)
            if writer is None:
                writer = self._writers[request.servable] = self._open(request)
            writer.add(request.features, scores)

    def _open(self, request: ScoredRequest) -> RowWriter:
        assert request.scores is not None
        info = request.servable
        references = self._known.get(info, _NOTHING).references
        outputs = request.scores.size // len(request.scores)
        layout = RowLayout.of(request.features, outputs, references)
        header: dict[str, Json] = {
            "model": info.name,
            "version": info.version,
            "bundle_digest": info.bundle_digest,
            "slices": self._window.slices,
            "slice_seconds": self._window.slice_seconds,
            **layout.to_json(),
        }
        cells = self._store.cells(_KIND, header, RowCells.size(layout, self._window))
        return RowWriter(layout, self._window, cells, self._clock)

    def collect(self) -> Iterator[Family]:
        """Yield counters and gauges of all workers, added up."""
        families = RowFamilies(self._window.min_rows)
        available = {(i.name, i.version): i for i in self._servables()}
        windows = {key: Watched() for key in available}
        for key, info in available.items():
            known = self._known.get(info, _NOTHING)
            families.begin(key, known.features, known.references)
        now = self._window.slice_at(self._clock())
        for file, layout, tally in self._tallies():
            key = (file.header["model"], file.header["version"])
            families.count(key, layout, tally)
            # an earlier bundle of the same version had another reference
            if key in available and available[key].bundle_digest == file.header["bundle_digest"]:
                windows[key].add(layout, tally.window(now))
        for key, watched in windows.items():
            families.judge(key, watched)
        yield from families.families()

    def _tallies(self) -> Iterator[tuple[CellFile, RowLayout, Tally]]:
        """Yield what each worker has counted for each servable, its waiting rows included."""
        for file in self._store.files(_KIND):
            if file not in self._readers:
                layout = RowLayout.from_json(file.header)
                cells = RowCells(layout, self._window, file.words)
                self._readers[file] = (cells, RowCounter(layout))
            cells, counter = self._readers[file]
            yield file, counter.layout, cells.settled(counter)
