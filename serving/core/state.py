"""Where a version of a model is in its life."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ManagerState(StrEnum):
    """TF Serving's states. A version only goes down this list, until it is aspired anew."""

    START = "START"
    """Aspired; nothing was done about it yet."""
    LOADING = "LOADING"
    """Its loader is about to be called, or is at work."""
    AVAILABLE = "AVAILABLE"
    """It can be acquired. Reported only after that became true."""
    UNLOADING = "UNLOADING"
    """It is about to be withdrawn, or waits for its last requests. Reported before it is gone."""
    END = "END"
    """It is gone, or its load failed (then there is an error)."""


@dataclass(frozen=True, slots=True, order=True)
class ServableId:
    """One version of one model.

    Attributes:
        name: the model's name.
        version: 0 or more.
    """

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A snapshot of a version's state; it may have moved on since.

    Attributes:
        error: what went wrong, empty while nothing did. It is kept after the end.
        code: of the error, in the numbering of whoever reads statuses; 0 where nobody numbers them.
    """

    id: ServableId
    state: ManagerState
    error: str = ""
    code: int = 0
