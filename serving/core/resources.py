"""Memory for models: estimated before a load, reserved until the unload, never over the bound."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consistency.errors import SamescoreError
from serving.core.state import ServableId

MEMORY_PER_BYTE_ON_DISK: Final = 1.2
"""TF Serving's rule of thumb (`servables/tensorflow/bundle_factory_util.cc`)."""


class InsufficientResourcesError(SamescoreError):
    """A version does not fit beside what is loaded.

    Attributes:
        id: the version.
        needed_bytes: its estimate.
        free_bytes: what is left below the bound.
    """

    def __init__(
        self, id: ServableId, needed_bytes: int, free_bytes: int, limit_bytes: int
    ) -> None:
        self.id, self.needed_bytes, self.free_bytes = id, needed_bytes, free_bytes
        super().__init__(
            f"Insufficient resources to load servable {{name: {id.name} version: {id.version}}}: "
            f"it needs about {needed_bytes} bytes (size on disk × {MEMORY_PER_BYTE_ON_DISK}), "
            f"{free_bytes} of {limit_bytes} are free; raise the limit or serve fewer versions"
        )


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """How much memory all models together may take.

    Attributes:
        limit_bytes: the bound; None for none.
        factor: bytes of memory for each byte on disk.
    """

    limit_bytes: int | None = None
    factor: float = MEMORY_PER_BYTE_ON_DISK

    def estimate_bytes(self, path: Path) -> int:
        """Return what the version at a path will take; 0 without a bound, or when it is not there.

        Links to files count with their target, links to directories are not followed.
        """
        if self.limit_bytes is None:
            return 0
        return int(sum(_sizes(path)) * self.factor)


class Reservations:
    """Who holds how much. Any thread may call."""

    def __init__(self, limit: MemoryLimit) -> None:
        self._limit = limit
        self._held: dict[ServableId, int] = {}
        self._lock = threading.Lock()

    def estimate_bytes(self, path: Path) -> int:
        """Return what the version at a path will take."""
        return self._limit.estimate_bytes(path)

    def reserve(self, id: ServableId, needed_bytes: int) -> None:
        """Hold the bytes for a version until it releases them.

        Raises:
            InsufficientResourcesError: that would exceed the bound.
        """
        with self._lock:
            limit = self._limit.limit_bytes
            free = 0 if limit is None else limit - sum(self._held.values())
            if limit is not None and needed_bytes > free:
                raise InsufficientResourcesError(id, needed_bytes, free, limit)
            self._held[id] = needed_bytes

    def release(self, id: ServableId) -> None:
        """Give a version's bytes back; a second time does nothing."""
        with self._lock:
            self._held.pop(id, None)


def _sizes(path: Path) -> Iterator[int]:
    if path.is_file():
        yield path.stat().st_size
        return
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                yield os.stat(f"{folder}/{name}").st_size  # noqa: PTH116 - as in source.py
            except OSError:
                continue  # gone, or a link to nothing
