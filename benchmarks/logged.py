"""What writing the request log costs, and what a replay costs on top of pipeline and scorer."""

from __future__ import annotations

import asyncio
import gc
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


def measure(workload: Workload) -> Iterator[Result]:
    """Score real flights in this process, each logged and timed, then replay that log."""
    say(f"log: {workload.effort.logged} requests are scored and logged")
    folder = workload.scratch / "requests"
    taken = asyncio.run(_score_all(workload, folder))
    size = len(taken) // _PARTS
    parts = [taken[i * size : (i + 1) * size] for i in range(_PARTS)]
    p99 = [quantile(p, 0.99) / 1e3 for p in parts]
    noise = quantile(_empty_loops(quantile(taken, 0.5), len(taken)), 0.99) / 1e3
    peer = f"an empty loop as long as the p50, p99 {noise:.1f} µs"
    yield measured("log.write_p99_us", p99, peer=peer, ratio=statistics.median(p99) / noise)
    yield measured("log.write_p50_us", [quantile(p, 0.5) / 1e3 for p in parts])
    yield _measure_replay(workload, folder, "replay.overhead_us_per_row")
    batched = workload.scratch / "batched"
    asyncio.run(_score_all(workload, batched, BATCH_ROWS))
    yield _measure_replay(workload, batched, "replay.overhead_us_per_row.batched")


def _empty_loops(length_ns: float, count: int) -> list[int]:
    """Return the nanoseconds of loops that do nothing: what of a p99 the machine's interrupts are.

    Args:
        length_ns: how long one of them takes when nothing interrupts it.
        count: how many.
    """
    turns = 1000
    for _ in range(3):  # the first guess is for a cold processor
        turns = round(turns * length_ns / quantile(_loops(turns, 1000), 0.5))
    return _loops(turns, count)


def _loops(turns: int, count: int) -> list[int]:
    taken = []
    for _ in range(count):
        start = perf_counter_ns()
        for _ in range(turns):
            pass
        taken.append(perf_counter_ns() - start)
    return taken


async def _score_all(workload: Workload, folder: Path, rows: int = 1) -> list[int]:
    """Return the nanoseconds of each write, between scoring one request and the next."""
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


@dataclass(slots=True)
class _TimedLog:
    inner: RequestLogWriter
    taken: list[int] = field(default_factory=list)

    def write(self, request: ScoredRequest) -> None:
        start = perf_counter_ns()
        self.inner.write(request)
        self.taken.append(perf_counter_ns() - start)

    def close(self) -> None:
        self.inner.close()


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
