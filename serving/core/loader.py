"""How one version becomes a servable: the seam between the manager and every model format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from serving.core.state import ServableId

T = TypeVar("T")


class Loader(Protocol[T]):
    """Loads one version once, and unloads it once. Called by one thread at a time."""

    def load(self) -> T:
        """Return the servable, ready for its first request; this may take seconds or minutes.

        Whatever it raises ends this version with the error's text, and harms no other version.
        """
        ...

    def unload(self, servable: T) -> None:
        """Give back what the servable holds.

        The last handle was released, or the manager's patience ran out: then a request may still be
        using it, so nothing may be taken from under a running call (dropping references is safe).
        """
        ...


LoaderFactory: TypeAlias = Callable[[ServableId, Path], Loader[T]]
"""Makes the loader for a version and its directory; whatever it raises is a failed load."""
