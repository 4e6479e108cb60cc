"""SIGTERM and SIGINT: as an event that a main thread waits for, or held back for a moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Let SIGTERM and SIGINT wait until the block ends.

    For a moment that must not be cut in two, such as the start of a process: a signal in the middle
    of it would leave a process that nobody knows. Signals reach Python in the main thread alone,
    so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {n: h for n in _STOPPING if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


class StopSignals:
    """SIGTERM and SIGINT as an event; the second one ends the process on the spot.

    Attributes:
        stopping: set once one of them arrived.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        for number in _STOPPING:
            signal.signal(number, self._note)

    def wait_for(self, work: Callable[[], None]) -> bool:
        """Run something in a thread; what it raises is raised here.

        Returns:
            False when a signal came first.
        """
        failure: list[BaseException] = []
        over = threading.Event()

        def run() -> None:
            try:
                work()
            except BaseException as e:  # noqa: BLE001 - raised in the thread that waits
                failure.append(e)
            over.set()

        threading.Thread(target=run, name="start", daemon=True).start()
        while not over.wait(0.05):
            if self.stopping.is_set():
                return False
        if failure:
            raise failure[0]
        return True

    def _note(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.stopping.set()
