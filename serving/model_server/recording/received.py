"""What a face received, for whoever logs it: bytes that the messages do not hold any more.

A face that is given a `Reception` leaves the bytes there, in its thread, right before it calls the
API; an API that logs takes them from there. Without one nothing is kept, and nothing is paid.
Light to import.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from consistency.tensor_calls import Method, Wire
from serving.model_server.status import StatusError

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Received:
    """One request's bytes.

    Attributes:
        body: as received (HTTP: unzipped).
        wire: how they came.
        started_ns: on the clock of `time.perf_counter_ns`, when they were there.
    """

    body: bytes
    wire: Wire
    started_ns: int


class OnRefused(Protocol):
    """Told of a request that never became a message."""

    def __call__(
        self,
        method: Method,
        model: tuple[str, int | None, str | None],
        received: Received,
        error: StatusError,
    ) -> None:
        """Take note.

        Args:
            method: what was asked.
            model: name, version and label, as asked.
            received: the bytes.
            error: what the client is told.
        """
        ...


class Reception(threading.local):
    """Holds, in each thread, what was received last and not yet taken."""

    def __init__(self) -> None:
        self._held: Received | None = None

    def leave(self, body: bytes, wire: Wire) -> None:
        """Keep a request's bytes until the API takes them."""
        self._held = Received(body, wire, time.perf_counter_ns())

    def take(self) -> Received | None:
        """Return what was left in this thread, once."""
        held, self._held = self._held, None
        return held

    def parsing(self, parse: Callable[[bytes], M]) -> Callable[[bytes], M]:
        """Return a function that parses a gRPC message, and keeps its bytes if it could."""

        def parsed(raw: bytes) -> M:
            self.leave(raw, Wire.GRPC)
            try:
                return parse(raw)
            except BaseException:
                self.take()
                raise

        return parsed
