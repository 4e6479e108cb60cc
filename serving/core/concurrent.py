"""A manager that loads and unloads in threads of their own, several at a time.

As TF Serving's, it holds up nobody while it loads. Better than there: a version that waits for its
next attempt holds no load thread, so that one bad model delays no good one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from serving.core.loader import LoaderFactory
from serving.core.manager import Manager
from serving.core.options import DEFAULT_OPTIONS, ManagerOptions, Version
from serving.core.policy import DEFAULT_POLICY, Action, Load, VersionPolicy
from serving.core.resources import InsufficientResourcesError
from serving.core.source import Found
from serving.core.state import VersionStatus

T = TypeVar("T")


class ConcurrentManager(Manager[T]):
    """A `Manager` whose `reconcile` returns at once; the work goes on in threads.

    Each finished action starts what can be done next: nobody has to call again.

    Args:
        load_threads: loads at a time, 1 or more. It can be changed at any time.

    The other arguments are those of `Manager`; `drain_seconds` also bounds how long `stop` waits
    for loads that are at work.
    """

    def __init__(
        self,
        factory: LoaderFactory[T],
        *,
        default_policy: VersionPolicy = DEFAULT_POLICY,
        policies: Mapping[str, VersionPolicy] | None = None,
        drain_seconds: float = 30.0,
        on_status: Callable[[VersionStatus], None] | None = None,
        options: ManagerOptions = DEFAULT_OPTIONS,
        load_threads: int = 1,
    ) -> None:
        super().__init__(
            factory,
            default_policy=default_policy,
            policies=policies,
            drain_seconds=drain_seconds,
            on_status=on_status,
            options=options,
        )
        self._load_threads = max(load_threads, 1)
        self._loading = self._acting = self._waiting_for_memory = 0
        self._changed = threading.Condition(self._bookkeeping)

    @property
    def load_threads(self) -> int:
        """Loads at a time."""
        return self._load_threads

    @load_threads.setter
    def load_threads(self, number: int) -> None:
        with self._changed:
            self._load_threads = max(number, 1)
            self._changed.notify_all()
        self._dispatch()

    def reconcile(self, found: Found, give_up: threading.Event | None = None) -> None:
        """Take notice of what is aspired, and start what can be started.

        Args:
            found: what a source found. Models that are not in it stay as they are.
            give_up: when set, nothing is started.
        """
        self._aspire(found)
        if give_up is None or not give_up.is_set():
            self._dispatch()

    def stop(self) -> None:
        """Unload everything, for good; waits for actions at work, at most twice `drain_seconds`.

        Whatever is still loading after that is unloaded when it is done.
        """
        deadline = time.monotonic() + self._drain_seconds
        with self._changed:
            self._stopping = True
            for version in self._all():
                version.unwanted.set()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._acting, max(deadline - time.monotonic(), 0.0))
        super().stop()

    def _steps(self) -> Iterator[tuple[str, Action]]:
        for name, action in super()._steps():
            if self._loading < self._load_threads or not isinstance(action, Load):
                yield name, action

    def _dispatch(self) -> None:
        while True:
            with self._changed:
                step = self._next_step()
                if step is None:
                    return
                loads = isinstance(step[1], Load)
                self._acting += 1
                self._loading += loads
            name = f"{'load' if loads else 'unload'}-{step[0]}-{step[1].version}"
            threading.Thread(target=self._act, args=(step, loads), name=name, daemon=True).start()

    def _act(self, step: tuple[str, Action], loads: bool) -> None:
        try:
            self._do(step)
        finally:
            with self._changed:
                self._acting -= 1
                self._loading -= loads
                self._changed.notify_all()
            self._dispatch()

    def _pause(self, version: Version[T]) -> bool:
        with self._changed:
            self._loading -= 1
            self._changed.notify_all()
        self._dispatch()
        version.unwanted.wait(self._options.retry_seconds)
        with self._changed:
            self._changed.wait_for(
                lambda: version.unwanted.is_set() or self._loading < self._load_threads
            )
            self._loading += 1
        return version.unwanted.is_set()

    def _reserve(self, version: Version[T], needed_bytes: int) -> None:
        """Hold the memory, waiting for other actions at work that may give some back."""
        while True:
            with self._changed:
                try:
                    super()._reserve(version, needed_bytes)
                except InsufficientResourcesError:
                    if version.unwanted.is_set() or not self._others_at_work():
                        raise
                    self._waiting_for_memory += 1
                    self._changed.wait(1.0)
                    self._waiting_for_memory -= 1
                else:
                    return

    def _others_at_work(self) -> bool:
        return self._acting - self._waiting_for_memory > 1
