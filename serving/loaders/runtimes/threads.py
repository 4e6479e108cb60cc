"""How many threads a model computes with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


class ThreadCount:
    """A thread count that a library holds once a process, obeyed by each call that names one.

    Two models of one process may ask for different numbers: calls with the same number run side by
    side, one with another number waits until those are done. OpenMP remembers the number for each
    calling thread, so that it is set in each of them.

    Args:
        apply: tells the library the number; called in the thread that is about to compute.
    """

    def __init__(self, apply: Callable[[int], object]) -> None:
        self._apply = apply
        self._changed = threading.Condition()
        self._count = self._users = 0
        self._here = threading.local()

    @contextmanager
    def of(self, count: int | None) -> Iterator[None]:
        """Compute with this number of threads; None takes the library as it runs."""
        if count is None:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._users or self._count == count)
            if self._count != count or getattr(self._here, "count", 0) != count:
                self._apply(count)
                self._count = self._here.count = count
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()
