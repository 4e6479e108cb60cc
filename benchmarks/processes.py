"""Starts the contestants, each in a process of its own and on one core, and stops them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.workload import PACKAGE, VERSION, BenchmarkError, Workload
from samescore.demo.processes import read_object

STOP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Which processor the servers have, and which the client; None: wherever the kernel likes.

    Every server has the same one: only one of them has work at a time.
    """

    server: int | None
    client: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "one core only: client and servers share it, nothing is pinned"
        return f"servers on core {self.server}, client on core {self.client}"


def two_cores() -> Cores:
    """Choose two of the processors that this process may use, if it has two."""
    mine = sorted(os.sched_getaffinity(0))
    return Cores(mine[0], mine[-1]) if len(mine) > 1 else Cores(None, None)


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Keep this thread on a core for as long as the block runs."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def our_server(workload: Workload, model: str, core: int | None) -> Iterator[tuple[int, Path]]:
    """Run `samescore serve` with one model and everything on.

    Yields:
        Its port, and its request log's folder.
    """
    base, log = workload.scratch / f"base_{model}", workload.scratch / f"requests_{model}"
    # A copy: the server refuses links that leave its base folder.
    shutil.copytree(workload.bundle(model), base / model / str(VERSION))
    command = [
        *(sys.executable, "-m", "samescore", "serve", str(base), "--json", "--port", "0"),
        *("--pipeline", PACKAGE, "--snapshots", str(workload.snapshots), "--log", str(log)),
        *("--threads", "1"),
    ]
    with running(command, workload.scratch / f"serve_{model}.log", core) as ready:
        yield _port(ready), log


@contextmanager
def bare_app(workload: Workload, call: str, core: int | None) -> Iterator[int]:
    """Run the bare XGBoost app.

    Args:
        workload: has the model.
        call: see `bare_app.py`.
        core: where.

    Yields:
        Its port.
    """
    folder = str(workload.bundle("xgboost"))
    command = [sys.executable, "-m", "benchmarks.bare_app", folder, "--call", call]
    with running(command, workload.scratch / f"bare_{call}.log", core) as ready:
        yield _port(ready)


@contextmanager
def running(command: Sequence[str], said: Path, core: int | None) -> Iterator[dict[str, Any]]:
    """Run a server that announces itself by one JSON object on standard output.

    Args:
        command: and its arguments.
        said: gets its standard error.
        core: where.

    Yields:
        What it announced.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SAMESCORE_")}
    with said.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stream,
            env=environment,
        )  # fmt: skip
    try:
        if core is not None:  # before it has threads: they inherit it
            os.sched_setaffinity(process.pid, {core})
        yield _announced(process, said)
    finally:
        _stop(process)


def _announced(process: subprocess.Popen[bytes], said: Path) -> dict[str, Any]:
    ready: dict[str, Any] = read_object(said.stem, process, said)
    if ready.get("failed"):
        raise BenchmarkError(f"the server does not serve: {ready['failed']}")
    return ready


def _port(ready: Mapping[str, Any]) -> int:
    return int(ready["url"].rpartition(":")[2])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
