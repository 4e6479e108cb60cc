"""The drift job over a million logged requests: one process, two, and Spark, to the same byte."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Final

import orjson

from benchmarks.budgets import measured
from benchmarks.replay_memory import MODEL, log_again, score_flights
from benchmarks.results import Result
from benchmarks.workload import ROOT, BenchmarkError, Workload, say

_SCORED: Final = 10_000
"""Flights of half a year that are really scored; they are written again and again."""

_ENGINES: Final = MappingProxyType(
    {
        "one_process": ("--jobs", "1"),
        "two_processes": ("--jobs", "2"),
        "spark": ("--engine", "spark", "--spark-master", "local[2]"),
    }
)


@dataclass(frozen=True, slots=True)
class _Run:
    """What a run left.

    Attributes:
        seconds: of the whole command.
        said: the printed JSON, less where it was kept.
        records: each judged window as it was kept, its counts included.
        requests: that were counted.
        python_mb: peak memory of the command's own process, 10^6 bytes; java_mb: of its Java's.
    """

    seconds: float
    said: bytes
    records: tuple[object, ...]
    requests: int
    python_mb: float
    java_mb: float


def measure(workload: Workload) -> Iterator[Result]:
    """Log requests, judge them with each engine, and compare all that comes out."""
    _, count = workload.effort.replayed
    folder = workload.scratch / "drift_spark"
    say(f"drift on Spark: {count:,} requests are logged")
    flights = asyncio.run(score_flights(workload, min(_SCORED, count)))
    log_again(folder / "requests", flights, count)
    size = sum(p.stat().st_size for p in (folder / "requests").iterdir())
    say(f"drift on Spark: the log has {size / 1e6:,.0f} MB")
    runs = {name: _run(workload, folder, name, count) for name in _ENGINES}
    shutil.rmtree(folder)
    first, spark = runs["one_process"], runs["spark"]
    same = [(r.said, r.records) == (first.said, first.records) for r in runs.values()]
    peer = f"{count:,} requests, {size / 1e6:,.0f} MB, {len(first.records)} windows"
    yield measured("drift_spark.engines_that_differ", [float(same.count(False))], peer=peer)
    for name, run in runs.items():
        ratio = run.seconds / first.seconds
        yield measured(f"drift_spark.{name}_s", [run.seconds], ratio=ratio)
    yield measured("drift_spark.driver_python_mb", [spark.python_mb],
                   peer="one process", ratio=spark.python_mb / first.python_mb)  # fmt: skip
    yield measured("drift_spark.driver_java_mb", [spark.java_mb], peer="local mode: with executor")


def _run(workload: Workload, folder: Path, name: str, count: int) -> _Run:
    say(f"drift on Spark: {name}")
    out = folder / name
    command = [
        *(sys.executable, "-m", "benchmarks.drift_spark", "drift", "run", folder / "requests"),
        *(
            "--bundle",
            workload.bundle(MODEL),
            "--out",
            out,
            "--json",
            "--min-rows",
            "5",
            *_ENGINES[name],
        ),
    ]
    start = perf_counter()
    done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, check=False)
    seconds = perf_counter() - start
    if done.returncode not in (0, 1):
        raise BenchmarkError(f"the job failed with exit code {done.returncode}; see above")
    said, _, peaks = done.stdout.rstrip().rpartition(b"\n")
    value, peak = orjson.loads(said), orjson.loads(peaks)
    places = value.pop("folder"), value.pop("history")
    counted = sum(window["requests"] for window in value["windows"])
    if counted != count:
        raise BenchmarkError(f"{counted} of {count} requests were counted; see {places}")
    records = _records(out / "history.sqlite")
    python_mb, java_mb = peak["python"] / 1e6, peak["java"] / 1e6
    return _Run(seconds, orjson.dumps(value), records, counted, python_mb, java_mb)


def _records(path: Path) -> tuple[object, ...]:
    history = sqlite3.connect(path)
    wanted = "select start_s, revision, record from samescore_drift_window order by 1, 2"
    records = tuple(history.execute(wanted).fetchall())
    history.close()
    return records


def main() -> None:
    """Run `samescore` with these arguments; print the peaks of its and its Java's memory."""
    from samescore.cli import main as samescore

    try:
        samescore()
    finally:
        java = [pid for pid in _children() if b"java" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        peaks = {"python": _peak_bytes("self"), "java": sum(map(_peak_bytes, java))}
        print(orjson.dumps(peaks).decode(), flush=True)


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def _peak_bytes(pid: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


if __name__ == "__main__":
    main()
