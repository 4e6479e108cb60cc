"""The threads of the gRPC face: what grpc needs of an executor, and no more.

`ThreadPoolExecutor` makes a future, a condition and two locks a call, of which grpc uses one
callback: a tenth of the server's time on a small model. Its threads also keep a process from ending
while a model still computes; these do not.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, TypeAlias

_LOG: Final = logging.getLogger(__name__)

Work: TypeAlias = Callable[..., object]


class Pending:
    """A call that was handed over."""

    __slots__ = ("_callbacks", "_done")

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Pending], object]] = []
        self._done = False

    def add_done_callback(self, callback: Callable[[Pending], object]) -> None:
        """Call back once, when the call is over; in whichever thread comes last."""
        self._callbacks.append(callback)
        if self._done:
            self.finish()

    def finish(self) -> None:
        """The call is over."""
        self._done = True
        # Both threads may be here: `pop` gives each callback to one of them.
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            callback(self)


class Threads:
    """A fixed number of daemon threads that take calls in order.

    Args:
        number: of threads.
        name: their names begin with it.
    """

    def __init__(self, number: int, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Pending, Work, tuple[object, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._busy = [False] * number
        for i in range(number):
            threading.Thread(target=self._run, args=(i,), name=f"{name}-{i}", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits; not to be trusted in the moment of a change."""
        return self._calls.empty() and not any(self._busy)

    def submit(self, work: Work, *arguments: object) -> Pending:
        """Have a call made as soon as a thread is free."""
        pending = Pending()
        self._calls.put((pending, work, arguments))
        return pending

    def shutdown(self) -> None:
        """End each thread after the calls that wait; returns at once."""
        for _ in self._busy:
            self._calls.put(None)

    def _run(self, place: int) -> None:
        while True:
            self._busy[place] = False
            call = self._calls.get()
            self._busy[place] = True
            if call is None:
                break
            pending, work, arguments = call
            try:
                work(*arguments)
            except Exception:  # noqa: BLE001 - grpc answers for handlers; a bug costs one call
                _LOG.exception("a call failed in %s", threading.current_thread().name)
            pending.finish()
            # Nothing of this call may live until the next one comes.
            del call, pending, work, arguments
        self._busy[place] = False
