"""Until when the caller of a call waits: told by the face, asked where the call itself has to wait.

A face runs a call from end to end in one thread, so the thread carries it, and no model between the
two has to pass it on. Pure but for the clock.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from serving.model_server.status import Code, StatusError

NEVER: Final = math.inf
"""Of a call whose caller waits for as long as it takes, as a warm-up does."""


class _Call(threading.local):
    """The call that a thread is at."""

    deadline: float = NEVER


_CALL: Final = _Call()


class until:  # noqa: N801 - reads as a statement: `with until(deadline):`
    """The calls made inside have a deadline.

    Args:
        deadline: by `time.monotonic`; `NEVER` for none.
    """

    __slots__ = ("_deadline",)

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        _CALL.deadline = self._deadline

    def __exit__(self, *_error: object) -> None:
        _CALL.deadline = NEVER


def call_deadline() -> float:
    """Return the deadline of this thread's call, by `time.monotonic`."""
    return _CALL.deadline


def wait_for(event: threading.Event, deadline: float) -> bool:
    """Wait for an event; returns whether it came before the deadline."""
    left_seconds = deadline - time.monotonic()
    # gRPC tells of no deadline as of one in 300 billion years.
    return event.wait(None if left_seconds > threading.TIMEOUT_MAX else max(left_seconds, 0.0))


def exceeded(where: str) -> StatusError:
    """Return the error of a call whose deadline has passed.

    Args:
        where: it waited, or what it was at; for the client.
    """
    return StatusError(Code.DEADLINE_EXCEEDED, f"Deadline Exceeded: {where}")
