"""Puts the serving wrapper together and runs it."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from consistency.errors import ModelNotFoundError
from consistency.log import LogSettings
from consistency.log.front import LogIncidents
from consistency.pipeline import BoundPipeline
from consistency.protocols import Guard
from consistency.scored import ServableInfo
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from monitors.online.window import WindowSettings
from samescore.model_states import version_facts
from samescore.monitoring import Monitoring, WatchedLoader, WorkerPlace
from samescore.replays.targets import OpaqueSpec
from samescore.request_log import RedactionCheck, ServerLog
from samescore.suites import counted
from serving.app import App
from serving.backends.remote import Remote
from serving.backends.settings import BackendSettings
from serving.core.loader import Loader
from serving.core.manager import Manager
from serving.core.policy import DEFAULT_POLICY, VersionPolicy
from serving.core.poller import Poller
from serving.core.source import FileSystemSource, Found, FoundVersion, Source
from serving.core.state import ManagerState, ServableId, VersionStatus
from serving.dataplane import DataPlane, DataPlaneSettings, Incidents, OnLogFailure
from serving.faces.tione import TioneFace
from serving.loaders.runtimes.devices import CPU
from serving.loaders.trust.grants import NO_TRUST, ModelTrust
from serving.servable import (
    BundleLoader,
    GateMode,
    LoadSettings,
    OpaqueLoader,
    Servable,
    refresh_lookups,
)

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

MIB: Final = 1 << 20


UVICORN: Final[Mapping[str, Any]] = MappingProxyType(  # Any: keywords of uvicorn.Config
    {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "access_log": False,
        "log_level": "warning",
        "limit_concurrency": 1024,
        "timeout_graceful_shutdown": 30,
        "server_header": False,
    }
)
"""How requests are taken in; the benchmark's bare app takes them in the same way."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything that `samescore serve` can be told.

    Attributes:
        base: folder of `<name>/<version>` bundles, or None when only services are served.
        log: how requests are logged.
        trusted: packages whose pipelines may be imported.
        store: the lookup snapshots; `<base>/.snapshots` unless given.
        services: InferenceServices that the operator names; their code is imported.
        gate: what a failing golden gate does.
        policy: which versions of each model are served.
        threads: of each model.
        device: of each model: `cpu`, `cuda` or `cuda:N`.
        trust: what model files may bring along.
        poll_seconds: between two looks at the base folder.
        plane: bounds and choices of the data plane.
        max_body_bytes: of one request.
        transport: see `LoadSettings`.
        guards: may refuse a request, in order.
        window: how long the monitors look back.
        backend: the servers that compute the models of `base`; None computes them in process.
    """

    base: Path | None
    log: LogSettings
    trusted: frozenset[str] = frozenset()
    store: SnapshotStore | None = None
    services: tuple[OpaqueSpec, ...] = ()
    gate: GateMode = GateMode.ENFORCE
    policy: VersionPolicy = DEFAULT_POLICY
    threads: int = 1
    device: str = CPU
    trust: ModelTrust = NO_TRUST
    poll_seconds: float = 1.0
    plane: DataPlaneSettings = field(default_factory=DataPlaneSettings)
    max_body_bytes: int = 8 * MIB
    transport: Callable[[BoundPipeline], BoundPipeline] | None = None
    guards: tuple[Guard, ...] = ()
    window: WindowSettings = field(default_factory=WindowSettings)
    backend: BackendSettings | None = None

    @property
    def snapshot_store(self) -> SnapshotStore:
        """The lookup snapshots."""
        return self.store or SnapshotStore((self.base or Path()) / SNAPSHOT_FOLDER)


class Server:
    """The serving wrapper, wired: models loaded, log open, `app` ready for an ASGI server.

    Args:
        settings: everything there is to choose.
        place: of this worker process; None when the server is a single process.

    Raises:
        ConfigError: the base folder is not there, or a setting is unusable.
        LogError: the log folder cannot be written.
    """

    def __init__(self, settings: ServerSettings, place: WorkerPlace | None = None) -> None:
        self._settings = settings
        self._load = LoadSettings(
            trusted=settings.trusted,
            store=settings.snapshot_store,
            gate=settings.gate,
            max_batch=settings.plane.max_rows,
            threads=settings.threads,
            device=settings.device,
            trust=settings.trust,
            transport=settings.transport,
        )
        self._services = {ServableId(s.name, s.version): s for s in settings.services}
        self.log = ServerLog(settings.log)
        self.manager: Manager[Servable] = Manager(
            self._loader, default_policy=settings.policy, on_status=_tell
        )
        try:
            self.monitoring = Monitoring(
                settings.log.folder,
                settings.window,
                self._available,
                place,
                lambda: version_facts(self.manager),
            )
        except BaseException:
            self.log.close()
            raise
        self._remote: Remote | None = None
        try:
            if settings.backend is not None:
                self._remote = Remote(settings.backend, self.monitoring.watch(settings.backend))
            self.app = self._make_app()
            self._poller = self._start()
        except BaseException:
            self._close_files()
            raise

    def close(self) -> None:
        """Unload everything and seal the log."""
        if self._poller is not None:
            self._poller.stop()
        self.manager.stop()
        self._close_files()

    def _close_files(self) -> None:
        if self._remote is not None:
            self._remote.close()
        self.log.close()
        self.monitoring.close()

    def _loader(self, servable_id: ServableId, path: Path) -> Loader[Servable]:
        spec = self._services.get(servable_id)
        loader: Loader[Servable] = BundleLoader(servable_id, path, self._load)
        if self._remote is not None:
            loader = self._remote.loader(servable_id, path, self._load)
        if spec is not None:
            loader = OpaqueLoader(servable_id, spec.location, spec.model_path)
        if self._settings.log.redaction.fields:
            loader = RedactionCheck(loader, self._settings.log.redaction)
        return WatchedLoader(loader, self.monitoring.rows)

    def _make_app(self) -> App:
        counters = self.monitoring.counters
        plane = DataPlane(
            self.manager,
            self.log.open(
                LogIncidents(counters.log_sampled_out, counters.log_dropped),
                refuses=self._settings.plane.on_log_failure is OnLogFailure.REJECT,
            ),
            guards=counted(self._settings.guards, counters),
            observers=self.monitoring.observers,
            settings=self._settings.plane,
            incidents=Incidents(counters.observer_failed, counters.log_dropped),
        )
        opaque = {s.name for s in self._settings.services}
        face = TioneFace(
            plane,
            max_body_bytes=self._settings.max_body_bytes,
            is_opaque=opaque.__contains__,
            rejected=counters.rejected,
        )
        return App(
            face,
            statuses=self.manager.statuses,
            gate_of=self._gate_of,
            metrics=self.monitoring.page,
            on_shutdown=self.close,
            arrival_waited=self.monitoring.arrivals.waited,
        )

    def _start(self) -> Poller | None:
        """Load what is there; the base folder is watched from now on."""
        services = {
            s.name: {s.version: FoundVersion(s.model_path, s.location)}
            for s in self._settings.services
        }
        if services:
            self.manager.reconcile(services)
        if self._settings.base is None:
            return None
        on_disk = FileSystemSource(self._settings.base, setting="BASE")
        source: Source = _Without(on_disk, frozenset(services))
        if self._remote is not None:
            source = self._remote.source(source)
        poller = Poller(
            source,
            self.manager,
            self._settings.poll_seconds,
            on_error=lambda e: logger.error("%s", e),
            after_round=self._refresh_lookups,
        )
        poller.start()
        return poller

    def _refresh_lookups(self) -> None:
        for status in self._serving():
            with self.manager.acquire(status.id.name, status.id.version) as servable:
                refresh_lookups(servable, self._load)

    def _serving(self) -> list[VersionStatus]:
        return [s for s in self.manager.statuses() if s.state is ManagerState.AVAILABLE]

    def _available(self) -> list[ServableInfo]:
        infos = []
        for status in self._serving():
            try:
                with self.manager.acquire(status.id.name, status.id.version) as servable:
                    infos.append(servable.info)
            except ModelNotFoundError:
                continue  # unloaded since its status was read
        return infos

    def _gate_of(self, status: VersionStatus) -> tuple[str, str]:
        with self.manager.acquire(status.id.name, status.id.version) as servable:
            report = servable.gate_report
            return servable.info.gate.value, "" if report is None else str(report)


@dataclass(frozen=True, slots=True)
class _Without:
    """A source less the models that operator-named services serve."""

    source: FileSystemSource
    names: frozenset[str]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self.source.problems)

    def poll(self) -> Found:
        return {n: v for n, v in self.source.poll().items() if n not in self.names}


def serve(
    settings: ServerSettings, host: str, port: int, on_ready: Callable[[str, Server], None]
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight, and seal the log.

    Args:
        settings: everything there is to choose.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        on_ready: called with the URL once requests are accepted.

    Raises:
        ConfigError: a setting is unusable; LogError: the log cannot be written.
        OSError: the address cannot be listened on.
    """
    sock = listen(host, port)
    try:
        server = Server(settings)
    except BaseException:
        sock.close()
        raise
    on_ready(url_of(sock), server)
    run_app(server.app, sock, turned_away=server.monitoring.turned_away)


def run_app(
    app: App,
    sock: socket.socket,
    until: Callable[[], None] | None = None,
    turned_away: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish what is in flight.

    Args:
        app: answers them; it is told when the last one is answered.
        sock: listens.
        until: returns when it is time to stop for another reason; called in a thread.
        turned_away: called for each request that finds the server at its bound.
    """
    import uvicorn

    from samescore.draining import DrainingServer
    from samescore.overload import telling_protocol

    settings = {**UVICORN, "http": telling_protocol(turned_away)}
    runner = DrainingServer(uvicorn.Config(app, lifespan="on", **settings))
    _stop_in_good_order(runner)
    if until is not None:
        threading.Thread(target=_stop_after, args=(until, runner), daemon=True).start()
    runner.run(sockets=[sock])


def _stop_after(until: Callable[[], None], runner: uvicorn.Server) -> None:
    until()
    runner.should_exit = True


def _stop_in_good_order(runner: uvicorn.Server) -> None:
    """Make SIGTERM and SIGINT an ordered stop with exit code 0.

    uvicorn raises a signal that it handled once more when it is done; this handler is who gets it.
    """

    def stop(_signal: int, _frame: object) -> None:
        runner.should_exit = True

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)


def url_of(sock: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = sock.getsockname()[:2]
    return f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, and that child processes may inherit.

    Raises:
        OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError:
        sock.close()
        raise
    sock.set_inheritable(True)
    return sock


def _tell(status: VersionStatus) -> None:
    if status.error:
        logger.error("%s: %s: %s", status.id, status.state, status.error)
    else:
        logger.info("%s: %s", status.id, status.state)
