"""How much memory a replay takes: for a tenth of a log, and for the whole of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson

from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import PACKAGE, ROOT, VERSION, BenchmarkError, Workload, say
from consistency.log import LogSettings, RequestLogWriter
from consistency.scored import Payload, ScoredRequest
from serving.dataplane import DataPlane
from serving.servable import Servable

MODEL: Final = "xgboost"
_SCORED: Final = 1_000
"""Requests that are really scored; they are written again and again, each time with a new id."""


def measure(workload: Workload) -> Iterator[Result]:
    """Replay logs of two sizes with everything that grows: rows, checkpoint, report."""
    small, large = workload.effort.replayed
    requests = asyncio.run(score_flights(workload, _SCORED))
    one = _peak_mb(workload, requests, small)
    yield measured("replay.peak_mb_100k", [one], peer=f"{small:,} requests")
    many = _peak_mb(workload, requests, large)
    yield measured(
        "replay.peak_mb_1m", [many], peer=f"{large:,} requests over {small:,}", ratio=many / one
    )


@dataclass(slots=True)
class _Kept:
    """A log that is a list."""

    requests: list[ScoredRequest] = field(default_factory=list)

    def write(self, request: ScoredRequest) -> None:
        self.requests.append(request)

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class _Only:
    servable: Servable

    def acquire(self, name: str, version: int | None) -> AbstractContextManager[Servable]:
        return nullcontext(self.servable)


async def score_flights(workload: Workload, count: int) -> list[ScoredRequest]:
    """Return so many requests as they would be logged, each of the time of its flight."""
    log = _Kept()
    plane = DataPlane(_Only(workload.load(MODEL)), log)
    for record in workload.chosen(count):
        time = record["scheduled_departure"]
        body = orjson.dumps({"type": "record", "data": {"insts": record}, "event_time": time})
        await plane.score(MODEL, VERSION, Payload(body, "tione/1", "application/json"))
    return log.requests


def log_again(folder: Path, requests: Sequence[ScoredRequest], count: int) -> None:
    """Write so many requests into a log: the given ones again and again, each with a new id."""
    log = RequestLogWriter(LogSettings(folder))
    for i in range(count):
        request = requests[i % len(requests)]
        log.write(replace(request, request_id=f"{request.request_id}.{i // len(requests)}"))
    log.close()


def _peak_mb(workload: Workload, requests: Sequence[ScoredRequest], count: int) -> float:
    """Return the peak resident memory of `samescore replay` in megabytes of 10^6 bytes."""
    say(f"replay memory: {count:,} requests are logged and replayed")
    folder = workload.scratch / "replay_memory"
    log_again(folder / "requests", requests, count)
    try:
        return _replay(workload, folder, count)
    finally:
        shutil.rmtree(folder)


def _replay(workload: Workload, folder: Path, count: int) -> float:
    """Return the peak that the kernel saw of the command's own memory.

    Not what `wait4` says: that begins with the memory of the process that forked.
    """
    command = [
        *(sys.executable, "-m", "benchmarks.replay_memory", "replay", folder / "requests"),
        *("--json", "--bundles", workload.models, "--pipeline", PACKAGE),
        *("--checkpoint", folder / "done", "--out", folder / "out"),
    ]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"the replay failed with exit code {done.returncode}; see above")
    report, _, peak = done.stdout.rstrip().rpartition(b"\n")
    (model,) = orjson.loads(report)["models"].values()
    if model["requests"] != count:
        raise BenchmarkError(f"{model['requests']} of {count} requests were replayed")
    return int(peak) / 1e6


def main() -> None:
    """Run `samescore` with these arguments, and print its peak memory in bytes at the end."""
    from samescore.cli import main as samescore

    try:
        samescore()
    finally:
        lines = Path("/proc/self/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        print(int(peak) * 1024, flush=True)


if __name__ == "__main__":
    main()
