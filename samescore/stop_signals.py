"""SIGTERM and SIGINT as an event that a main thread waits for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


class StopSignals:
    """SIGTERM and SIGINT as an event; the second one ends the process on the spot.

    Attributes:
        stopping: set once one of them arrived.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
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
