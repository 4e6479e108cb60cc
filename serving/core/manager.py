"""Loads and unloads servables as versions come and go, without failing a request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, Generic, TypeVar

from consistency.errors import SamescoreError
from serving.core.handle import Handle, Loaded
from serving.core.loader import Loader, LoaderFactory
from serving.core.missing import not_found
from serving.core.options import DEFAULT_OPTIONS, Described, ManagerOptions, Version
from serving.core.policy import DEFAULT_POLICY, Action, Load, VersionPolicy
from serving.core.resources import Reservations
from serving.core.source import Found, FoundVersion
from serving.core.state import ManagerState, ServableId, VersionStatus

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)


class Manager(Generic[T]):
    """Keeps the aspired versions loaded and hands out handles on them.

    `reconcile` and `stop` block and belong in a worker thread; they exclude one another. `acquire`,
    `find` and `statuses` never wait for them and may be called from any thread, the event loop's
    included.

    A version that is AVAILABLE stays as it was loaded, whatever becomes of its files: new content
    is a new version.

    Args:
        factory: makes the loader of a version.
        default_policy: for models without one of their own.
        policies: by model name.
        drain_seconds: how long an unload waits for requests in flight. After that the version is
            unloaded all the same, and its status says how many were left.
        on_status: is told of each new state, in order; it cannot fail anything, and must be quick.
        options: how versions are loaded.
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
    ) -> None:
        self._factory = factory
        self._default_policy, self._policies = default_policy, dict(policies or {})
        self._drain_seconds = drain_seconds
        self._on_status = on_status
        self._options = options
        self._reservations = Reservations(options.memory)
        self._aspired: dict[str, Mapping[int, FoundVersion]] = {}
        self._versions: dict[str, dict[int, Version[T]]] = {}
        # Name → version → servable, and None → the largest. Replaced, never changed: readers need
        # no lock.
        self._serving: Mapping[str, Mapping[int | None, Loaded[T]]] = {}
        self._changing = threading.Lock()  # held through a whole reconcile or stop
        # Held for moments, around `_versions` and `_aspired`. Re-entrant: a listener may look.
        self._bookkeeping = threading.RLock()
        self._stopping = self._stopped = False

    def acquire(self, name: str, version: int | None = None) -> Handle[T]:
        """Return a handle on a version, None for the largest one that is AVAILABLE.

        The handle keeps the version loaded until it is released.

        Raises:
            ModelNotFoundError: nothing of that kind is available; the hint says what is, and why
                a version that was tried is not.
        """
        handle = self.find(name, version)
        if handle is None:
            raise not_found(name, version, self.statuses())
        return handle

    def find(self, name: str, version: int | None = None) -> Handle[T] | None:
        """Return what `acquire` does, or None where that raises."""
        while True:
            versions = self._serving.get(name)
            loaded = None if versions is None else versions.get(version)
            if loaded is None:
                return None
            handle = loaded.acquire()
            if handle is not None:
                return handle
            # It was withdrawn between the two lines: by now `_serving` is another mapping.

    def statuses(self, name: str | None = None) -> tuple[VersionStatus, ...]:
        """Return every version ever tried of one model or of all: names ascending, newest first."""
        with self._bookkeeping:
            names = sorted(self._versions) if name is None else [name]
            return tuple(
                version.status
                for each in names
                for _, version in sorted(self._versions.get(each, {}).items(), reverse=True)
            )

    def load_failures(self) -> tuple[VersionStatus, ...]:
        """Return the versions that are aspired and whose load failed: names and versions ascending.

        They are not tried again until their files change.
        """
        with self._bookkeeping:
            return tuple(
                version.status
                for name, versions in sorted(self._versions.items())
                for number, version in sorted(versions.items())
                if version.load_failed and number in self._aspired.get(name, {})
            )

    def set_policies(self, policies: Mapping[str, VersionPolicy]) -> None:
        """Replace the models' own policies; they count from the next `reconcile`."""
        with self._bookkeeping:
            self._policies = dict(policies)

    def reconcile(self, found: Found, give_up: threading.Event | None = None) -> None:
        """Load and unload, one version at a time, until there is nothing left to do.

        The order is fixed: unloads before loads (the transition policy allows one only where that
        is right), then by name, then the largest version first.

        Args:
            found: what a source found. Models that are not in it stay as they are.
            give_up: when set, stop after the action at hand; the next call takes up the rest.
        """
        with self._changing:
            self._aspire(found)
            while not (give_up is not None and give_up.is_set()):
                step = self._next_step()
                if step is None:
                    return
                self._do(step)

    def stop(self) -> None:
        """Unload everything, for good; waits for the action at hand, then at most `drain_seconds`.

        A reconcile in another thread ends after the action at hand, later ones do nothing.
        """
        self._stopping = True
        with self._bookkeeping:
            for version in self._all():
                version.unwanted.set()
        with self._changing:
            with self._bookkeeping:
                self._stopped = True
            deadline = time.monotonic() + self._drain_seconds
            for version in self._all():
                if version.loaded is not None:
                    self._mark(version, ManagerState.UNLOADING)
                    self._unload(version, deadline - time.monotonic())
                elif version.status.state is not ManagerState.END:
                    self._mark(version, ManagerState.END)

    def _all(self) -> list[Version[T]]:
        with self._bookkeeping:
            return [v for versions in self._versions.values() for _, v in sorted(versions.items())]

    # --------------------------------------------------------------------------- what is aspired

    def _aspire(self, found: Found) -> None:
        with self._bookkeeping:
            for name, versions in found.items() if not self._stopping else ():
                policy = self._policies.get(name, self._default_policy)
                aspired = policy.aspired(versions.keys())
                self._unaspire(name, self._aspired.get(name, {}).keys() - aspired)
                self._aspired[name] = {number: versions[number] for number in sorted(aspired)}
                for number, place in self._aspired[name].items():
                    self._aspire_version(ServableId(name, number), place)

    def _aspire_version(self, id: ServableId, found: FoundVersion) -> None:
        known = self._versions.get(id.name, {}).get(id.version)
        if known is not None and known.status.state is not ManagerState.END:
            return
        if known is not None and known.load_failed and known.found.token == found.token:
            return
        fresh = Version[T](VersionStatus(id, ManagerState.START), found)
        self._versions.setdefault(id.name, {})[id.version] = fresh
        self._mark(fresh, ManagerState.START)

    def _unaspire(self, name: str, numbers: Collection[int]) -> None:
        for number in numbers:
            version = self._versions[name][number]
            version.unwanted.set()
            if self._options.forgives:
                version.load_failed = False

    def _aspire_anew(self, version: Version[T]) -> None:
        """Start again with what was aspired anew while it was still on its way to its END."""
        name, number = version.status.id.name, version.status.id.version
        found = self._aspired.get(name, {}).get(number)
        if found is not None and not self._stopping:
            self._aspire_version(version.status.id, found)

    # ------------------------------------------------------------------------- what is done next

    def _next_step(self) -> tuple[str, Action] | None:
        """Return the most urgent action, already on its way in the statuses."""
        with self._bookkeeping:
            if self._stopping:
                return None
            step = min(self._steps(), key=_urgency, default=None)
            if step is not None:
                loads = isinstance(step[1], Load)
                self._mark(
                    self._versions[step[0]][step[1].version],
                    ManagerState.LOADING if loads else ManagerState.UNLOADING,
                )
            return step

    def _steps(self) -> Iterator[tuple[str, Action]]:
        for name, versions in self._versions.items():
            statuses = (version.status for version in versions.values())
            action = self._options.transition(self._aspired[name], statuses)
            if action is not None:
                yield name, action

    def _do(self, step: tuple[str, Action]) -> None:
        name, action = step
        version = self._versions[name][action.version]
        if isinstance(action, Load):
            self._load(version)
        else:
            self._unload(version, self._drain_seconds)

    def _load(self, version: Version[T]) -> None:
        servable_id = version.status.id
        try:
            self._reserve(version, self._reservations.estimate_bytes(version.found.path))
            loader, servable = self._attempts(version)
        # Whatever a model's code raises, and if it calls sys.exit, the other versions live on.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            self._reservations.release(servable_id)
            with self._bookkeeping:
                version.load_failed = not version.unwanted.is_set() or not self._options.forgives
                self._mark(version, ManagerState.END, self._described(error, "load", servable_id))
                self._aspire_anew(version)
            return
        with self._bookkeeping:
            if not self._stopped:
                version.loader, version.loaded = loader, Loaded(servable_id, servable)
                self._publish(servable_id.name)
                self._mark(version, ManagerState.AVAILABLE)
                return
        # Everything else was unloaded while this one took too long.
        self._give_back(version, loader, servable)

    def _reserve(self, version: Version[T], needed_bytes: int) -> None:
        """Hold the memory that a version will take, or raise."""
        self._reservations.reserve(version.status.id, needed_bytes)

    def _attempts(self, version: Version[T]) -> tuple[Loader[T], T]:
        """Load; after a failure again, as often as allowed and as long as it is wanted."""
        for attempt in range(self._options.max_retries):
            try:
                return self._attempt(version)
            except (Exception, SystemExit) as error:
                _LOG.warning("%s: attempt %d failed: %s", version.status.id, attempt + 1, error)
                if self._options.is_final(error) or self._pause(version):
                    raise
        return self._attempt(version)

    def _attempt(self, version: Version[T]) -> tuple[Loader[T], T]:
        loader = self._factory(version.status.id, version.found.path)
        return loader, loader.load()

    def _pause(self, version: Version[T]) -> bool:
        """Wait before the next attempt; true when there is to be none."""
        return version.unwanted.wait(self._options.retry_seconds)

    def _unload(self, version: Version[T], patience_seconds: float) -> None:
        """Withdraw a version that is UNLOADING, wait for its requests, and unload it."""
        loader, loaded = version.loader, version.loaded
        assert loader is not None
        assert loaded is not None
        with self._bookkeeping:
            version.loader = version.loaded = None
            self._publish(version.status.id.name)
        left = loaded.close(patience_seconds)
        kept = (0, f"unloaded with {left} requests still in flight") if left else (0, "")
        self._give_back(version, loader, loaded.servable, kept)

    def _give_back(
        self, version: Version[T], loader: Loader[T], servable: T, kept: Described = (0, "")
    ) -> None:
        servable_id = version.status.id
        try:
            loader.unload(servable)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - as in _load
            kept = self._described(problem, "unload", servable_id)
        self._reservations.release(servable_id)
        with self._bookkeeping:
            self._mark(version, ManagerState.END, kept)
            self._aspire_anew(version)

    def _publish(self, name: str) -> None:
        """Make what is loaded of a model, and nothing else, what can be acquired."""
        versions: dict[int | None, Loaded[T]] = {
            number: version.loaded
            for number, version in sorted(self._versions[name].items())
            if version.loaded is not None
        }
        if versions:
            versions[None] = next(reversed(versions.values()))
        self._serving = {**self._serving, name: versions}

    def _mark(self, version: Version[T], state: ManagerState, kept: Described = (0, "")) -> None:
        with self._bookkeeping:
            code, error = kept
            version.status = VersionStatus(version.status.id, state, error, code)
            if self._on_status is None:
                return
            try:
                self._on_status(version.status)
            except Exception:  # noqa: BLE001 - who only watches cannot stop a swap
                _LOG.exception("on_status failed for %s", version.status)

    def _described(self, error: BaseException, verb: str, id: ServableId) -> Described:
        """Return what to keep; what nobody raised on purpose goes to the log in full."""
        described = self._options.describe(error)
        if described is not None:
            return described
        if isinstance(error, SamescoreError) and str(error):
            return 0, str(error)
        _LOG.error("could not %s %s", verb, id, exc_info=error)
        return 0, f"{type(error).__name__}: {error}"


def _urgency(step: tuple[str, Action]) -> tuple[bool, str]:
    name, action = step
    return isinstance(action, Load), name
