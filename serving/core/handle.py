"""A claim on a loaded servable: as long as one is held, the servable is not unloaded."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Generic, TypeVar

from serving.core.state import ServableId

T = TypeVar("T")


class Handle(Generic[T]):
    """One holder's claim. Release it exactly when done; a second release does nothing.

    Used as a context manager it gives the servable and releases at the end.

    Attributes:
        id: the version that was acquired.
        servable: valid until the release.
        released: set by the release alone.
    """

    __slots__ = ("_loaded", "id", "released", "servable")

    def __init__(self, loaded: Loaded[T]) -> None:
        self.id = loaded.id
        self.servable = loaded.servable
        self._loaded = loaded
        self.released = False

    def release(self) -> None:
        """Give the claim up; safe in any thread."""
        self._loaded.give_back(self)

    def __enter__(self) -> T:
        return self.servable

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loaded.give_back(self)


class Loaded(Generic[T]):
    """A servable in memory, and the number of handles on it."""

    __slots__ = ("_closed", "_handles", "_idle", "_lock", "id", "servable")

    def __init__(self, id: ServableId, servable: T) -> None:
        self.id = id
        self.servable = servable
        self._handles = 0
        self._closed = False
        # Each servable has its own lock, held for a few instructions: the event loop never waits.
        self._lock = threading.Lock()
        self._idle = threading.Event()

    def acquire(self) -> Handle[T] | None:
        """Return a handle, or None when it was closed in the meantime."""
        with self._lock:
            if self._closed:
                return None
            self._handles += 1
        return Handle(self)

    def give_back(self, handle: Handle[T]) -> None:
        """Count a handle as released, once."""
        with self._lock:
            if handle.released:
                return
            handle.released = True
            self._handles -= 1
            if self._closed and not self._handles:
                self._idle.set()

    def close(self, patience_seconds: float) -> int:
        """Refuse new handles and wait for the old ones.

        Returns:
            How many are still held when the patience ran out; 0 when all came back.
        """
        with self._lock:
            self._closed = True
            if not self._handles:
                return 0
        self._idle.wait(max(patience_seconds, 0.0))
        with self._lock:
            return self._handles
