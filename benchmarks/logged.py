"""What writing the request log costs, and what a replay costs on top of pipeline and scorer."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import orjson

from benchmarks.budgets import measured, quantile
from benchmarks.processes import pinned, two_cores
from benchmarks.results import Result
from benchmarks.workload import ROOT, VERSION, BenchmarkError, Workload, say
from consistency.log import LogSettings, RequestLogWriter
from consistency.records import Record
from consistency.scored import Payload, ScoredRequest
from serving.dataplane import DataPlane
from serving.servable import Servable

MODEL: Final = "xgboost"
BATCH_ROWS: Final = 16
"""Rows a request of the second replay; the first has one, which is the dearest form of a row."""

_PARTS: Final = 10
_GATHERED: Final = 5000
"""Requests that are scored first and then logged; the first of them find cold caches."""
_ADJUSTED_EACH: Final = 200
"""Writes between two looks at how long an empty loop must be to be as long as a write."""


def measure(workload: Workload) -> Iterator[Result]:
    """Score real flights in this process, each logged and timed, then replay that log."""
    say(f"log: {workload.effort.logged} requests are scored and logged, twice")
    gathered = _score_all(workload, workload.scratch / "gathered", gathered=_GATHERED)
    yield from _write_results("log.write", gathered)
    folder = workload.scratch / "requests"
    yield from _write_results("log.write_serving", _score_all(workload, folder))
    yield _measure_replay(workload, folder, "replay.overhead_us_per_row")
    batched = workload.scratch / "batched"
    _score_all(workload, batched, BATCH_ROWS)
    yield _measure_replay(workload, batched, "replay.overhead_us_per_row.batched")


def _write_results(name: str, taken: _Taken) -> Iterator[Result]:
    bare, loop = _p99(taken.bare), _p99(taken.loops)
    p99 = [quantile(p, 0.99) / 1e3 for p in _parts(taken.writes)]
    length = quantile(taken.loops, 0.5) / 1e3
    peer = (
        f"a bare line in turns (id, body, features, scores; orjson, crc32, os.write), p99 "
        f"{bare:.1f} µs; an empty loop of {length:.1f} µs, p99 {loop:.1f} µs"
    )
    ratio = statistics.median(p99) / bare
    yield measured(f"{name}_p99_us", p99, peer=peer, ratio=ratio)
    p50 = [quantile(p, 0.5) / 1e3 for p in _parts(taken.writes)]
    bare_p50 = quantile(taken.bare, 0.5) / 1e3
    ratio = statistics.median(p50) / bare_p50
    yield measured(f"{name}_p50_us", p50, peer=f"a bare line, {bare_p50:.1f} µs", ratio=ratio)


def _p99(values: Sequence[int]) -> float:
    return statistics.median(quantile(p, 0.99) / 1e3 for p in _parts(values))


def _parts(values: Sequence[int]) -> list[Sequence[int]]:
    size = len(values) // _PARTS
    return [values[i * size : (i + 1) * size] for i in range(_PARTS)]


def _score_all(
    workload: Workload, folder: Path, rows: int = 1, gathered: int | None = None
) -> _Taken:
    """Return what each write took.

    Args:
        workload: the flights.
        folder: of the log.
        rows: of each request.
        gathered: requests that are scored first and then logged one after another; None: each is
            logged before the next one is scored, as a server does.
    """
    writer = RequestLogWriter(LogSettings(folder))
    # beside the log, on the same disk, and not in it
    bare = os.open(workload.scratch / "bare_lines", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    timed = _TimedLog(writer, bare)
    log = timed if gathered is None else _Gathering(timed, gathered)
    plane = DataPlane(_Only(workload.load(MODEL)), log)
    records = workload.chosen(workload.effort.logged)
    payloads = [_payload(records[i : i + rows]) for i in range(0, len(records), rows)]
    # A server does not hold half a year of flights: its collector has less to look through.
    gc.collect()
    gc.freeze()
    try:
        with pinned(two_cores().client):
            asyncio.run(_through(plane, payloads))
    finally:
        gc.unfreeze()
        log.close()
    return timed.taken


async def _through(plane: DataPlane, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        await plane.score(MODEL, VERSION, payload)


def _payload(records: Sequence[Record]) -> Payload:
    insts = records[0] if len(records) == 1 else records
    body = orjson.dumps({"type": "record", "data": {"insts": insts}})
    return Payload(body, "tione/1", "application/json")


@dataclass(frozen=True, slots=True)
class _Only:
    """The data plane's servables, when there is one."""

    servable: Servable

    def acquire(self, name: str, version: int | None) -> AbstractContextManager[Servable]:
        return nullcontext(self.servable)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Nanoseconds of N writes, of N bare lines, and of N empty loops of a write's length."""

    writes: list[int] = field(default_factory=list)
    bare: list[int] = field(default_factory=list)
    loops: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Gathering:
    """Holds requests back, and writes so many one after another."""

    inner: _TimedLog
    most: int
    held: list[ScoredRequest] = field(default_factory=list)

    def write(self, request: ScoredRequest) -> None:
        self.held.append(request)
        if len(self.held) >= self.most:
            self._write_all()

    def _write_all(self) -> None:
        for request in self.held:
            self.inner.write(request)
        self.held.clear()

    def close(self) -> None:
        self._write_all()
        self.inner.close()


@dataclass(slots=True)
class _TimedLog:
    """Writes each request, and the least that a log could hold of it; the two take turns."""

    inner: RequestLogWriter
    bare: int
    taken: _Taken = field(default_factory=_Taken)
    turns: int = 0

    def write(self, request: ScoredRequest) -> None:
        taken = self.taken
        # Who comes second finds the caches warm, as no server does: only who comes first is timed.
        if len(taken.writes) > len(taken.bare):
            self._write_bare(request)
            self.inner.write(request)
            return
        start = perf_counter_ns()
        self.inner.write(request)
        taken.writes.append(perf_counter_ns() - start)
        taken.loops.append(_empty_loop(self.turns))
        if len(taken.writes) % _ADJUSTED_EACH == 0:
            self._adjust()

    def _write_bare(self, request: ScoredRequest) -> None:
        start = perf_counter_ns()
        assert request.features is not None
        assert request.scores is not None
        facts = {
            "request_id": request.request_id,
            "payload": request.payload.body.decode(),
            "features": request.features.numeric.tolist(),
            "scores": request.scores.tolist(),
        }
        line = orjson.dumps(facts)
        os.write(self.bare, b'%b,"crc":"%08x"}\n' % (line[:-1], zlib.crc32(line)))
        self.taken.bare.append(perf_counter_ns() - start)

    def _adjust(self) -> None:
        """Make the empty loop as long as the last writes were."""
        last = slice(-_ADJUSTED_EACH, None)
        wanted = quantile(self.taken.writes[last], 0.5)
        # the first time, a guess
        measured_ns = quantile(self.taken.loops[last], 0.5) if self.turns else 20.0 * 1000
        self.turns = max(1, round((self.turns or 1000) * wanted / measured_ns))

    def close(self) -> None:
        os.close(self.bare)
        self.inner.close()


def _empty_loop(turns: int) -> int:
    start = perf_counter_ns()
    for _ in range(turns):
        pass
    return perf_counter_ns() - start


def _measure_replay(workload: Workload, folder: Path, name: str) -> Result:
    """Replay on one core, in a process of its own, as `samescore replay` does."""
    rounds = workload.effort.replays
    say(f"replay: {rounds} times, and once before")
    command = [sys.executable, "-m", "benchmarks.replayed", str(workload.models), str(folder)]
    with pinned(two_cores().client):  # which the child inherits
        done = subprocess.run(
            [*command, "--rounds", str(rounds)], cwd=ROOT, stdout=subprocess.PIPE, check=False
        )
    if done.returncode != 0:
        raise BenchmarkError(f"the replay failed with exit code {done.returncode}; see above")
    on_top, inside = zip(*orjson.loads(done.stdout), strict=True)
    model = statistics.median(inside)
    return measured(
        name,
        on_top,
        peer=f"pipeline and scorer, {model:.1f} µs a row",
        ratio=statistics.median(on_top) / model,
    )
