"""Waits until models that were just added are served, or have failed."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping

from serving.core.state import ManagerState, VersionStatus


class Arrivals:
    """Collects the states of expected models, from the moment they are expected.

    What a model went through before is not counted: one that was removed and comes back has to
    arrive again. Any thread may call.
    """

    def __init__(self) -> None:
        self._seen: dict[str, dict[int, VersionStatus]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def note(self, status: VersionStatus) -> None:
        """Take notice of a state; a manager's `on_status`.

        An END without an error is the unload of what was there before: it decides nothing.
        """
        failed = status.state is ManagerState.END and bool(status.error)
        with self._changed:
            if status.id.name in self._seen and (failed or status.state is ManagerState.AVAILABLE):
                self._seen[status.id.name][status.id.version] = status
                self._changed.notify_all()

    def expect(self, names: Iterable[str]) -> None:
        """From now on, count the states of these models."""
        with self._changed:
            self._seen |= {name: {} for name in names}

    def forget(self, names: Iterable[str]) -> None:
        """Stop waiting for these models: they are no longer wanted."""
        with self._changed:
            for name in names:
                self._seen.pop(name, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop all waiting, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, names: Collection[str]) -> Mapping[str, VersionStatus | None]:
        """Wait, for ever if need be, until each model has arrived.

        Returns:
            By model the status that decided: of its newest version that became AVAILABLE or failed.
            None for a model that was forgotten, or if all waiting was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or all(map(self._is_decided, names)))
            return {name: self._decision(name) for name in names}

    def _is_decided(self, name: str) -> bool:
        return name not in self._seen or self._decision(name) is not None

    def _decision(self, name: str) -> VersionStatus | None:
        versions = self._seen.get(name)
        return versions[max(versions)] if versions else None
