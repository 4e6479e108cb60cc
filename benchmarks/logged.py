"""What writing the request log costs, and what a replay costs on top of pipeline and scorer."""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import subprocess
import sys
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
_ADJUSTED_EACH: Final = 200
"""Writes between two looks at how long an empty loop must be to be as long as a write."""


def measure(workload: Workload) -> Iterator[Result]:
    """Score real flights in this process, each logged and timed, then replay that log."""
    say(f"log: {workload.effort.logged} requests are scored and logged")
    folder = workload.scratch / "requests"
    taken = asyncio.run(_score_all(workload, folder))
    yield from _write_results(taken)
    yield _measure_replay(workload, folder, "replay.overhead_us_per_row")
    batched = workload.scratch / "batched"
    asyncio.run(_score_all(workload, batched, BATCH_ROWS))
    yield _measure_replay(workload, batched, "replay.overhead_us_per_row.batched")


def _write_results(taken: _Taken) -> Iterator[Result]:
    yield _p99("log.write_p99_us", taken.writes, taken.loops, "in turns")
    writes, loops = (_only(t, taken.interrupted) for t in (taken.writes, taken.loops))
    share = len(writes) / len(taken.writes)
    how = f"{share:.1%} of both were not interrupted"
    yield _p99("log.write_p99_undisturbed_us", writes, loops, how)
    yield measured("log.write_p50_us", [quantile(p, 0.5) / 1e3 for p in _parts(taken.writes)])


def _p99(name: str, writes: Sequence[int], loops: Sequence[int], how: str) -> Result:
    """Return a p99 of writes beside that of empty loops: what of it the machine's stalls are."""
    p99 = [quantile(p, 0.99) / 1e3 for p in _parts(writes)]
    noise = statistics.median(quantile(p, 0.99) / 1e3 for p in _parts(loops))
    length = quantile(loops, 0.5) / 1e3
    peer = f"an empty loop, p50 {length:.1f} µs, p99 {noise:.1f} µs; {how}"
    return measured(name, p99, peer=peer, ratio=statistics.median(p99) / noise)


def _parts(values: Sequence[int]) -> list[Sequence[int]]:
    size = len(values) // _PARTS
    return [values[i * size : (i + 1) * size] for i in range(_PARTS)]


def _only(values: Sequence[int], interrupted: Sequence[bool]) -> list[int]:
    return [v for v, out in zip(values, interrupted, strict=True) if not out]


async def _score_all(workload: Workload, folder: Path, rows: int = 1) -> _Taken:
    """Return what each write took, between scoring one request and the next."""
    log = _TimedLog(RequestLogWriter(LogSettings(folder)))
    plane = DataPlane(_Only(workload.load(MODEL)), log)
    records = workload.chosen(workload.effort.logged)
    payloads = [_payload(records[i : i + rows]) for i in range(0, len(records), rows)]
    # A server does not hold half a year of flights: its collector has less to look through.
    gc.collect()
    gc.freeze()
    try:
        for payload in payloads:
            await plane.score(MODEL, VERSION, payload)
    finally:
        gc.unfreeze()
        log.close()
    return log.taken


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
    """Nanoseconds of N writes, and of an empty loop of their length after each of them.

    Attributes:
        interrupted: whether the kernel took the core away during one of the two, for somebody else.
            A write that waits for the disk gives it away itself: that is not counted.
    """

    writes: list[int] = field(default_factory=list)
    loops: list[int] = field(default_factory=list)
    interrupted: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class _TimedLog:
    inner: RequestLogWriter
    taken: _Taken = field(default_factory=_Taken)
    turns: int = 0

    def write(self, request: ScoredRequest) -> None:
        taken, before = self.taken, _times_taken_away()
        start = perf_counter_ns()
        self.inner.write(request)
        taken.writes.append(perf_counter_ns() - start)
        taken.loops.append(_empty_loop(self.turns))
        taken.interrupted.append(_times_taken_away() != before)
        if len(taken.writes) % _ADJUSTED_EACH == 0:
            self._adjust()

    def _adjust(self) -> None:
        """Make the empty loop as long as the last writes were."""
        last = slice(-_ADJUSTED_EACH, None)
        wanted = quantile(self.taken.writes[last], 0.5)
        # the first time, a guess
        measured_ns = quantile(self.taken.loops[last], 0.5) if self.turns else 20.0 * 1000
        self.turns = max(1, round((self.turns or 1000) * wanted / measured_ns))

    def close(self) -> None:
        self.inner.close()


def _empty_loop(turns: int) -> int:
    start = perf_counter_ns()
    for _ in range(turns):
        pass
    return perf_counter_ns() - start


def _times_taken_away() -> int:
    """Return how often the kernel has given this thread's core to another one, against its will."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


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
