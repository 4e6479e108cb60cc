"""Does units on several cores, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

from samescore.engines.errors import EngineError
from samescore.engines.work import NumberedUnit, OnBytes, R, Runner, Work

_AHEAD: Final = 2
"""Units a process that are under way or wait: enough that no process does, little to hold."""

_runner: Runner[object] | None = None  # of this worker process; what it needs is loaded once


@dataclass(frozen=True, slots=True)
class Processes:
    """Does units in so many processes; see `Engine`.

    Attributes:
        jobs: processes, each with all that a unit needs loaded.
    """

    jobs: int

    def run(self, work: Work[R], units: Sequence[NumberedUnit], on_bytes: OnBytes) -> Iterator[R]:
        """Yield a result for each unit; see `Engine`."""
        if not units:
            return
        # Not forked: a copy of a process with a model library's threads in it can hang.
        context = multiprocessing.get_context("spawn")
        jobs = min(self.jobs, len(units))
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(jobs, context, _start, (work,)) as pool:
            try:
                yield from _results(pool, deque(units), jobs * _AHEAD, on_bytes)
            except BrokenProcessPool as e:
                # A process that was being started when another one died is not ended by the pool,
                # which then waits for it for ever (CPython 3.11).
                for started in set(multiprocessing.active_children()) - others:
                    started.kill()
                raise EngineError(
                    f"a {work.name} process died (most often: out of memory); run again with "
                    f"fewer --jobs than {self.jobs}{work.advice}"
                ) from e
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _results(
    pool: ProcessPoolExecutor, waiting: deque[NumberedUnit], ahead: int, on_bytes: OnBytes
) -> Iterator[R]:
    """Yield results as they come, the oldest unit never more than `ahead` behind the newest."""
    running: dict[Future[R], NumberedUnit] = {}
    while waiting or running:
        # not only how many run is bounded: rows are written in order, and wait for the slowest unit
        oldest = min((index for index, _ in running.values()), default=None)
        while waiting and len(running) < ahead:
            if oldest is not None and waiting[0][0] - oldest > _MOST_BEHIND:
                break
            numbered = waiting.popleft()
            running[pool.submit(_run, numbered)] = numbered  # type: ignore[arg-type] # of this work
            oldest = numbered[0] if oldest is None else oldest
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            _, unit = running.pop(future)
            result = future.result()
            on_bytes(unit.size_bytes)
            yield result


_MOST_BEHIND: Final = 64


def _start(work: Work[object]) -> None:
    """Set up a worker process."""
    global _runner  # noqa: PLW0603 - what a pool's process keeps between two units
    # Ctrl-C reaches every process of the terminal; the one that collects decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _runner = work.start()


def _die_with_parent() -> None:
    """A pool's process holds both ends of its queue and would wait for ever for a dead parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(numbered: NumberedUnit) -> object:
    assert _runner is not None
    return _runner.run(numbered)
