"""A shelf of loaded servables, and logs that remember or fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from consistency.errors import LogError, ModelNotFoundError
from consistency.scored import ScoredRequest
from serving.servable import Servable


@dataclass
class Shelf:
    """Serves what lies on it.

    Attributes:
        held: handles that were not given back.
    """

    servables: Mapping[tuple[str, int], Servable]
    held: int = 0

    @contextmanager
    def acquire(self, name: str, version: int | None) -> Iterator[Servable]:
        versions = sorted(v for n, v in self.servables if n == name)
        wanted = version if version is not None or not versions else versions[-1]
        if wanted not in versions:
            raise ModelNotFoundError(name, version, versions, "look at /models")
        self.held += 1
        try:
            yield self.servables[name, wanted]
        finally:
            self.held -= 1


@dataclass
class MemoryLog:
    """Remembers; says on `events` when it wrote."""

    requests: list[ScoredRequest] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def write(self, request: ScoredRequest) -> None:
        self.events.append("log")
        self.requests.append(request)

    def close(self) -> None:
        self.events.append("closed")


class FullLog(MemoryLog):
    """A log whose disk is full."""

    def write(self, request: ScoredRequest) -> None:
        raise LogError("log /var/requests is full; move sealed segments away")
