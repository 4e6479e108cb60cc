"""Loads and unloads servables as versions come and go, without failing a request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from consistency.errors import SamescoreError
from serving.core.handle import Handle, Loaded
from serving.core.loader import Loader, LoaderFactory
from serving.core.missing import not_found
from serving.core.policy import DEFAULT_POLICY, Action, Load, VersionPolicy, next_action
from serving.core.source import Found, FoundVersion
from serving.core.state import ManagerState, ServableId, VersionStatus

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Version(Generic[T]):
    """What the manager knows of a version. Only the thread that reconciles changes it.

    Attributes:
        load_failed: it is at its END for that reason, and stays there until its token changes.
        loader: set together with `loaded`, while there is something to unload.
    """

    status: VersionStatus
    found: FoundVersion
    load_failed: bool = False
    loader: Loader[T] | None = None
    loaded: Loaded[T] | None = None


class Manager(Generic[T]):
    """Keeps the aspired versions loaded and hands out handles on them.

    `reconcile` and `stop` block and belong in a worker thread; they exclude one another. `acquire`
    and `statuses` never wait for them and may be called from any thread, the event loop's included.

    A version that is AVAILABLE stays as it was loaded, whatever becomes of its files: new content
    is a new version.

    Args:
        factory: makes the loader of a version.
        default_policy: for models without one of their own.
        policies: by model name.
        drain_seconds: how long an unload waits for requests in flight. After that the version is
            unloaded all the same, and its status says how many were left.
        on_status: is told of each new state, in the reconciling thread; it cannot fail anything.
    """

    def __init__(
        self,
        factory: LoaderFactory[T],
        *,
        default_policy: VersionPolicy = DEFAULT_POLICY,
        policies: Mapping[str, VersionPolicy] | None = None,
        drain_seconds: float = 30.0,
        on_status: Callable[[VersionStatus], None] | None = None,
    ) -> None:
        self._factory = factory
        self._default_policy, self._policies = default_policy, dict(policies or {})
        self._drain_seconds = drain_seconds
        self._on_status = on_status
        self._aspired: dict[str, frozenset[int]] = {}
        self._versions: dict[str, dict[int, _Version[T]]] = {}
        # Name → version → servable, and None → the largest. Replaced, never changed: readers need
        # no lock.
        self._serving: Mapping[str, Mapping[int | None, Loaded[T]]] = {}
        self._changing = threading.Lock()  # held through a whole reconcile or stop
        self._bookkeeping = threading.Lock()  # held for a moment, around `_versions`
        self._stopping = False

    def acquire(self, name: str, version: int | None = None) -> Handle[T]:
        """Return a handle on a version, None for the largest one that is AVAILABLE.

        The handle keeps the version loaded until it is released.

        Raises:
            ModelNotFoundError: nothing of that kind is available; the hint says what is, and why
                a version that was tried is not.
        """
        while True:
            versions = self._serving.get(name)
            loaded = None if versions is None else versions.get(version)
            if loaded is None:
                raise not_found(name, version, self.statuses())
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

    def reconcile(self, found: Found, give_up: threading.Event | None = None) -> None:
        """Load and unload, one version at a time, until there is nothing left to do.

        The order is fixed: unloads before loads (`next_action` allows one only where it costs no
        availability), then by name, then the largest version first.

        Args:
            found: what a source found. Models that are not in it stay as they are.
            give_up: when set, stop after the action at hand; the next call takes up the rest.
        """
        with self._changing:
            if not self._stopping:
                self._aspire(found)
            while not (self._stopping or (give_up is not None and give_up.is_set())):
                step = min(self._steps(), key=_urgency, default=None)
                if step is None:
                    return
                name, action = step
                version = self._versions[name][action.version]
                if isinstance(action, Load):
                    self._load(version)
                else:
                    self._unload(version, self._drain_seconds)

    def stop(self) -> None:
        """Unload everything, for good; waits for the action at hand, then at most `drain_seconds`.

        A reconcile in another thread ends after the action at hand, later ones do nothing.
        """
        self._stopping = True
        with self._changing:
            deadline = time.monotonic() + self._drain_seconds
            for versions in self._versions.values():
                for _, version in sorted(versions.items()):
                    if version.loaded is not None:
                        self._unload(version, deadline - time.monotonic())
                    elif version.status.state is not ManagerState.END:
                        self._mark(version, ManagerState.END)

    def _aspire(self, found: Found) -> None:
        for name, versions in found.items():
            policy = self._policies.get(name, self._default_policy)
            self._aspired[name] = policy.aspired(versions.keys())
            for number in sorted(self._aspired[name]):
                self._aspire_version(ServableId(name, number), versions[number])

    def _aspire_version(self, id: ServableId, found: FoundVersion) -> None:
        known = self._versions.get(id.name, {}).get(id.version)
        if known is not None and known.status.state is not ManagerState.END:
            return
        if known is not None and known.load_failed and known.found.token == found.token:
            return
        fresh = _Version[T](VersionStatus(id, ManagerState.START), found)
        with self._bookkeeping:
            self._versions.setdefault(id.name, {})[id.version] = fresh
        self._mark(fresh, ManagerState.START)

    def _steps(self) -> Iterator[tuple[str, Action]]:
        for name, versions in self._versions.items():
            statuses = (version.status for version in versions.values())
            action = next_action(self._aspired[name], statuses)
            if action is not None:
                yield name, action

    def _load(self, version: _Version[T]) -> None:
        servable_id = version.status.id
        self._mark(version, ManagerState.LOADING)
        try:
            loader = self._factory(servable_id, version.found.path)
            servable = loader.load()
        # Whatever a model's code raises, and if it calls sys.exit, the other versions live on.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            version.load_failed = True
            self._mark(version, ManagerState.END, _described(error, "load", servable_id))
            return
        version.loader, version.loaded = loader, Loaded(servable_id, servable)
        self._publish(servable_id.name)
        self._mark(version, ManagerState.AVAILABLE)

    def _unload(self, version: _Version[T], patience_seconds: float) -> None:
        loader, loaded = version.loader, version.loaded
        assert loader is not None
        assert loaded is not None
        self._mark(version, ManagerState.UNLOADING)
        version.loader = version.loaded = None
        self._publish(version.status.id.name)
        left = loaded.close(patience_seconds)
        error = f"unloaded with {left} requests still in flight" if left else ""
        try:
            loader.unload(loaded.servable)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - as in _load
            error = _described(problem, "unload", loaded.id)
        self._mark(version, ManagerState.END, error)

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

    def _mark(self, version: _Version[T], state: ManagerState, error: str = "") -> None:
        version.status = VersionStatus(version.status.id, state, error)
        if self._on_status is not None:
            try:
                self._on_status(version.status)
            except Exception:  # noqa: BLE001 - who only watches cannot stop a swap
                _LOG.exception("on_status failed for %s", version.status)


def _urgency(step: tuple[str, Action]) -> tuple[bool, str]:
    name, action = step
    return isinstance(action, Load), name


def _described(error: BaseException, verb: str, id: ServableId) -> str:
    """Return the text for a status; what nobody raised on purpose goes to the log in full."""
    if isinstance(error, SamescoreError) and str(error):
        return str(error)
    _LOG.error("could not %s %s", verb, id, exc_info=error)
    return f"{type(error).__name__}: {error}"
