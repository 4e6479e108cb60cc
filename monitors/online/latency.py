"""Counts requests and rows by outcome and times by stage, for every scored request.

A `prometheus_client` histogram costs about 0.5 µs an observation, and a request has seven: so its
times are only noted here, in cells that outlive the process, and are counted a block at a time;
they become Prometheus' objects when somebody scrapes. Its id is noted with them: the last request
of each bucket, and of each outcome but `ok`, is an exemplar (`exemplars.py`).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Final, TypeAlias

import numpy as np
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from consistency.jsontype import Json
from consistency.scored import STAGES, Outcome, ScoredRequest, ServableInfo
from monitors import metrics
from monitors.online.blocks import BLOCK, WRITTEN, Blocks
from monitors.online.cells import CellStore, Words
from monitors.online.exemplars import ID_BYTES, ID_WORDS, WIDTH, exemplars, newer, note_last
from monitors.online.exposition import counter_family, histogram_family

ModelVersion: TypeAlias = tuple[str, int]

_KIND: Final = "requests"
_NS_PER_SECOND: Final = 1e9
_LE: Final = [*map(repr, metrics.STAGE_LATENCY.buckets), "+Inf"]
_BOUNDS_NS: Final = np.array(
    [round(b * _NS_PER_SECOND) for b in metrics.STAGE_LATENCY.buckets], np.int64
)
_stage_times: Final = attrgetter(*(f"{stage}_ns" for stage in STAGES))
_OUTCOMES: Final = {outcome: i for i, outcome in enumerate(Outcome)}
_OK: Final = Outcome.OK
_OK_PLACE: Final = _OUTCOMES[_OK]

# What is counted of one model version: how many entries; requests by outcome; rows by outcome; the
# nanoseconds of each stage; of each stage its buckets, not cumulative; and of each bucket, then of
# each outcome, an exemplar.
_REQUESTS: Final = slice(1, 1 + len(_OUTCOMES))
_ROWS: Final = slice(_REQUESTS.stop, _REQUESTS.stop + len(_OUTCOMES))
_SUMS: Final = slice(_ROWS.stop, _ROWS.stop + len(STAGES))
_BUCKETS: Final = slice(_SUMS.stop, _SUMS.stop + len(STAGES) * len(_LE))
_IN_BUCKETS: Final = len(STAGES) * len(_LE)
_TABLE: Final = slice(_BUCKETS.stop, _BUCKETS.stop + (_IN_BUCKETS + len(_OUTCOMES)) * WIDTH)
_LAYOUT: Final[dict[str, Json]] = {"outcomes": list(Outcome), "stages": list(STAGES), "le": _LE}

# A request that waits to be counted: its outcome, its rows, its times, when it came (microseconds),
# its id.
_ENTRY: Final = struct.Struct(f"={3 + len(STAGES)}q{ID_BYTES}s")
_TIMES: Final = slice(2, 2 + len(STAGES))
_CAME: Final = _TIMES.stop
_ID: Final = slice(_CAME + 1, _CAME + 1 + ID_WORDS)
_ENTRY_WORDS: Final = _ID.stop
_CELLS: Final = Blocks.size(_TABLE.stop, BLOCK * _ENTRY_WORDS)


class RequestMetrics(Collector):
    """Observer of scored requests and collector of their metrics.

    Every method may be called from any thread; a scrape sees each request wholly or not at all.

    Args:
        store: holds the counts; those of all workers are collected.
        servables: returns the servables that are available now; asked at each scrape.
    """

    def __init__(
        self, store: CellStore, *, servables: Callable[[], Iterable[ServableInfo]] = tuple
    ) -> None:
        self._store = store
        self._servables = servables
        self._lock = threading.Lock()
        self._writers: dict[ModelVersion, _Writer] = {}

    @property
    def name(self) -> str:
        """See `Observer.name`."""
        return "request_metrics"

    def observe(self, request: ScoredRequest) -> None:
        """Count a request, its rows and the times of the stages that ran."""
        servable, outcome = request.servable, request.outcome
        # a member of an enum is hashed in Python: the usual one is not looked up
        place = _OK_PLACE if outcome is _OK else _OUTCOMES[outcome]
        times = _stage_times(request.latency)
        with self._lock:
            writer = self._writers.get((servable.name, servable.version))
            if writer is None:
                writer = self._open(servable)
            writer.add(request, place, times)

    def _open(self, servable: ServableInfo) -> _Writer:
        key = (servable.name, servable.version)
        header: dict[str, Json] = {"model": key[0], "version": key[1], **_LAYOUT}
        writer = self._writers[key] = _Writer(self._store.cells(_KIND, header, _CELLS))
        return writer

    def collect(self) -> Iterator[Family]:
        """Yield requests, rows and latencies of all workers, added up."""
        # every label set of a servable starts at 0, so that rates see the first request
        totals = {(i.name, i.version): np.zeros(_TABLE.stop, np.int64) for i in self._servables()}
        for file in self._store.files(_KIND):
            key = (file.header["model"], file.header["version"])
            counts = _settled(file.words)
            totals[key] = _together(totals[key], counts) if key in totals else counts
        yield from _families(totals)


class _Writer:
    """Takes note of the requests of one model version, in one worker."""

    def __init__(self, cells: memoryview) -> None:
        self._words = cells
        words = np.frombuffer(cells, np.int64)
        self._blocks = Blocks(words, _TABLE.stop)
        self._end = cells.nbytes
        self._begin = self._end - self._blocks.waiting.nbytes
        self._turn()

    def add(self, request: ScoredRequest, outcome: int, times: tuple[int, ...]) -> None:
        _ENTRY.pack_into(
            self._words, self._at, outcome, request.rows, *times,
            request.ingest_time_us, request.request_id.encode(),
        )  # fmt: skip
        self._words[WRITTEN] += 1  # from here on a reader sees it
        self._at += _ENTRY.size
        if self._at == self._end:
            self._turn()

    def _turn(self) -> None:
        waiting = self._blocks.waiting.reshape(BLOCK, _ENTRY_WORDS)
        self._blocks.next_block(lambda counted, entries: _count(counted, waiting[:entries]))
        self._at = self._begin


def _settled(words: Words) -> Words:
    """Return one worker's counts, those of requests that wait included."""
    blocks = Blocks(words, _TABLE.stop)
    waiting = blocks.waiting.reshape(BLOCK, _ENTRY_WORDS)
    counted, entries = blocks.settled(lambda n: waiting[:n].copy())
    _count(counted, entries)
    return counted


def _together(ours: Words, theirs: Words) -> Words:
    """Return what two workers have counted."""
    both = ours + theirs
    both[_TABLE] = newer(_table(ours), _table(theirs)).ravel()
    return both


def _table(counted: Words) -> Words:
    return counted[_TABLE].reshape(-1, WIDTH)


def _count(counted: Words, entries: Words) -> None:
    """Add requests to counts.

    Args:
        counted: shape (`_TABLE.stop`,).
        entries: shape (N, `_ENTRY_WORDS`).
    """
    outcomes, times = entries[:, 0], entries[:, _TIMES]
    np.add.at(counted[_REQUESTS], outcomes, 1)
    np.add.at(counted[_ROWS], outcomes, entries[:, 1])
    counted[_SUMS] += times.sum(axis=0)
    places = np.searchsorted(_BOUNDS_NS, times) + len(_LE) * np.arange(len(STAGES))
    # 0: the stage did not run; no clock shows 0 ns for one that did
    who, stage = np.nonzero(times > 0)
    places = places[who, stage]
    counted[_BUCKETS] += np.bincount(places, minlength=_IN_BUCKETS)
    _note_exemplars(counted, entries, who, places, times[who, stage])


def _note_exemplars(
    counted: Words, entries: Words, who: Words, places: Words, values: Words
) -> None:
    """Keep the last request of each bucket and of each outcome."""
    ended_us = entries[:, _CAME] + entries[:, _TIMES.stop - 1] // 1000
    outcomes = _IN_BUCKETS + entries[:, 0]
    note_last(
        _table(counted),
        np.concatenate([places, outcomes]),
        np.concatenate([who, np.arange(len(entries))]),
        entries[:, _ID],
        ended_us,
        np.concatenate([values, np.ones_like(outcomes)]),
    )


def _families(totals: dict[ModelVersion, Words]) -> Iterator[Family]:
    requests, rows = counter_family(metrics.REQUESTS), counter_family(metrics.ROWS)
    latency = histogram_family(metrics.STAGE_LATENCY)
    for (model, version), counts in totals.items():
        table = _table(counts)
        ended = exemplars(table[_IN_BUCKETS:], None)
        for i, outcome in enumerate(Outcome):
            labels = [model, str(version), outcome]
            # One that went well needs nobody's look.
            who = None if outcome is Outcome.OK else ended[i]
            requests.add_metric(labels, int(counts[_REQUESTS][i]), exemplar=who)
            rows.add_metric(labels, int(counts[_ROWS][i]))
        seen = exemplars(table[:_IN_BUCKETS], _NS_PER_SECOND)
        for i, held in enumerate(counts[_BUCKETS].reshape(len(STAGES), -1).cumsum(axis=1)):
            theirs = seen[i * len(_LE) : (i + 1) * len(_LE)]
            buckets = [
                (le, number) if who is None else (le, number, who)
                for le, number, who in zip(_LE, held.tolist(), theirs, strict=True)
            ]
            sum_seconds = int(counts[_SUMS][i]) / _NS_PER_SECOND
            latency.add_metric([model, str(version), STAGES[i]], buckets, sum_seconds)
    yield from (requests, rows, latency)
