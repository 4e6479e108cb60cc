"""What the monitors are told of a manager's versions: how old each is, and which did not load."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from consistency.errors import ModelNotFoundError
from monitors.online.server_facts import VersionFacts
from serving.core.manager import Manager
from serving.core.state import ManagerState
from serving.servable import Servable


def version_facts(manager: Manager[Servable]) -> VersionFacts:
    """Return what is true of a server's versions at this moment."""
    failed = tuple((s.id.name, s.id.version) for s in manager.load_failures())
    return VersionFacts(tuple(_created(manager)), failed)


def _created(manager: Manager[Servable]) -> Iterator[tuple[str, int, float]]:
    for status in manager.statuses():
        if status.state is not ManagerState.AVAILABLE:
            continue
        try:
            with manager.acquire(status.id.name, status.id.version) as servable:
                bundle = servable.bundle
        except ModelNotFoundError:
            continue  # unloaded since its status was read
        if bundle is not None:
            yield status.id.name, status.id.version, _seconds(bundle.manifest.created)


def _seconds(text: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch; UTC unless it says otherwise."""
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
