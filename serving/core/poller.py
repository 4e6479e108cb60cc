"""Turns the wheel: polls a source and has the manager reconcile, again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from consistency.errors import SamescoreError
from serving.core.source import Found, Source

_LOG: Final = logging.getLogger(__name__)


class Reconciler(Protocol):
    """What the poller needs of a manager."""

    def reconcile(self, found: Found, give_up: threading.Event | None = None) -> None:
        """Load and unload until what is found and aspired is what is served."""
        ...


class Poller:
    """Polls in a thread of its own, from `start` to `stop`.

    Args:
        source: where versions come from.
        manager: what reconciles.
        interval_seconds: the pause between the end of one round and the next.
        on_error: is told what the source had to ignore, and why a round failed; each once, when it
            arises, not in every round. It is called in the polling thread.
        after_round: called at the end of each round, for what else follows files (lookup
            snapshots); what it raises is a failed round.
    """

    def __init__(
        self,
        source: Source,
        manager: Reconciler,
        interval_seconds: float,
        on_error: Callable[[Exception], None],
        after_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._source, self._manager = source, manager
        self._interval_seconds = interval_seconds
        self._on_error = on_error
        self._after_round = after_round
        self._problems: frozenset[str] = frozenset()
        self._failure: str | None = None
        self._round = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run_once(self) -> None:
        """Poll and reconcile in the calling thread; returns when everything aspired was tried.

        Safe in any thread; rounds follow one another.

        Raises:
            SamescoreError: the source cannot be read; nothing was changed.
        """
        with self._round:
            found = self._source.poll()
            self._note_problems(self._source.problems)
            self._manager.reconcile(found, self._stopping)
            self._after_round()

    def start(self) -> None:
        """Do the first round at once, then go on in the background.

        Raises:
            SamescoreError: the first round failed: a server should not start like that. Later
                failures are reported, and the round after tries again.
        """
        if self._thread is not None:
            raise RuntimeError("a poller starts once")
        self.run_once()
        self._thread = threading.Thread(target=self._run, name="version-poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for the one load or unload at hand, if there is any."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_seconds):
            try:
                self.run_once()
            except Exception as error:  # noqa: BLE001 - new versions must still come tomorrow
                self._note_failure(error)
            else:
                self._failure = None

    def _note_problems(self, problems: Sequence[str]) -> None:
        for problem in problems:
            if problem not in self._problems:
                self._tell(SamescoreError(problem))
        self._problems = frozenset(problems)

    def _note_failure(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._failure:
            self._failure = text
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        try:
            self._on_error(error)
        except Exception:  # noqa: BLE001 - who only listens cannot stop the wheel
            _LOG.exception("on_error failed for: %s", error)
