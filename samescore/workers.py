"""Several worker processes behind one socket, and the process that watches over them.

The supervisor binds the socket and serves nothing itself. Each worker is a whole server with a
request log writer of its own in the same folder; the kernel gives a connection to one of them.
Their counts are in files that any of them adds up, so it does not matter which one is scraped, nor
that one has died.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from consistency.errors import ConfigError, LogError, SamescoreError
from consistency.log.segments import seal_abandoned
from monitors.online.cell_folder import CellFolder
from samescore.monitoring import WorkerPlace
from samescore.server import Server, ServerSettings, listen, run_app, url_of
from serving.core.state import ManagerState

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 45.0
"""After which a worker that does not stop is killed; it has 30 s for what is in flight."""
PAUSE_SECONDS: Final = 1.0
"""Before a worker is started again that died young, so that a broken one does not spin."""
YOUNG_SECONDS: Final = 10.0

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_spawn: Final = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a server says once it accepts requests.

    Attributes:
        serving: `name/version` of what is available.
        failed: `name/version` to why it is not.
    """

    serving: tuple[str, ...]
    failed: dict[str, str]

    @classmethod
    def of(cls, server: Server) -> Announcement:
        """Return what a server has to say now."""
        statuses = server.manager.statuses()
        serving = (str(s.id) for s in statuses if s.state is ManagerState.AVAILABLE)
        return cls(tuple(serving), {str(s.id): s.error for s in statuses if s.error})


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a worker cannot serve."""

    message: str


@dataclass(slots=True)
class _Worker:
    """A worker process.

    Attributes:
        hears: what it says; closed when it is dead.
        started: by the monotonic clock.
        announced: None until it serves.
    """

    process: SpawnProcess
    hears: Connection
    started: float
    announced: Announcement | None = None


class Supervisor:
    """Keeps workers alive until it is told to stop.

    Args:
        settings: of each worker.
        sock: listens; shared by all workers.
        workers: how many.

    Raises:
        LogError: the log folder cannot be written.
    """

    def __init__(self, settings: ServerSettings, sock: socket.socket, workers: int) -> None:
        self._settings, self._sock = settings, sock
        try:
            self._cells = CellFolder(settings.log.folder)
        except OSError as e:
            raise LogError(
                f"log {settings.log.folder}: {e.strerror}; give a writable folder"
            ) from e
        self._workers: dict[int, _Worker] = {}
        self._due = dict.fromkeys(range(workers), 0.0)
        self._stopping = False
        self._wakes, self._wake = os.pipe()

    def run(self, on_ready: Callable[[Announcement, list[int]], None]) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            on_ready: called once, when all workers serve, with what the first one says and the
                process ids.

        Raises:
            SamescoreError: a worker cannot serve at the start, or one had to be killed at the end.
        """
        before = [signal.signal(name, self._stop) for name in _STOP_SIGNALS]
        try:
            self._until_all_serve()
            if not self._stopping:
                first = self._workers[0].announced
                assert first is not None
                on_ready(first, [w.process.pid or 0 for w in self._workers.values()])
            while not self._stopping:
                self._keep_alive()
        finally:
            for name in _STOP_SIGNALS:
                signal.signal(name, signal.SIG_IGN)  # it is stopping
            self._end()
            for name, handler in zip(_STOP_SIGNALS, before, strict=True):
                signal.signal(name, handler)

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True
        os.write(self._wake, b".")

    def _until_all_serve(self) -> None:
        while not self._stopping and not self._all_serve():
            self._start_those_due()
            for slot, refusal in self._listen():
                raise ConfigError(f"worker {slot}: {refusal}")

    def _all_serve(self) -> bool:
        return not self._due and all(w.announced for w in self._workers.values())

    def _keep_alive(self) -> None:
        self._start_those_due()
        for slot, refusal in self._listen():
            logger.error("worker %d %s; a new one is started", slot, refusal)

    def _start_those_due(self) -> None:
        now = time.monotonic()
        for slot in [s for s, due in self._due.items() if due <= now]:
            del self._due[slot]
            self._workers[slot] = self._start(slot)
        self._workers = dict(sorted(self._workers.items()))

    def _start(self, slot: int) -> _Worker:
        hears, says = _spawn.Pipe(duplex=False)
        place = WorkerPlace(self._cells.path, slot)
        level = logging.getLogger().level
        process = _spawn.Process(
            target=_work, args=(self._settings, self._sock, place, says, level)
        )
        process.start()
        says.close()  # so that the worker's death is heard
        return _Worker(process, hears, time.monotonic())

    def _listen(self) -> list[tuple[int, str]]:
        """Wait until something happens; return the slots of dead workers, and why they died."""
        soonest = min(self._due.values(), default=None)
        timeout = None if soonest is None else max(0.0, soonest - time.monotonic())
        heard = wait([self._wakes, *(w.hears for w in self._workers.values())], timeout)
        if self._wakes in heard:
            os.read(self._wakes, 16)
        found = [(s, w) for s, w in self._workers.items() if w.hears in heard]
        return [(slot, why) for slot, worker in found if (why := self._hear(slot, worker))]

    def _hear(self, slot: int, worker: _Worker) -> str:
        """Take what a worker says; return why it is gone, or nothing."""
        try:
            said = worker.hears.recv()
        except (EOFError, OSError):
            why = self._bury(slot, worker)
            return "" if self._stopping else why
        if isinstance(said, Announcement):
            worker.announced = said
            return ""
        self._bury(slot, worker)
        return str(said.message)

    def _bury(self, slot: int, worker: _Worker) -> str:
        worker.process.join()
        worker.hears.close()
        del self._workers[slot]
        is_young = time.monotonic() - worker.started < YOUNG_SECONDS
        self._due[slot] = time.monotonic() + (PAUSE_SECONDS if is_young else 0.0)
        return f"(pid {worker.process.pid}) ended with exit code {worker.process.exitcode}"

    def _end(self) -> None:
        """Stop all workers in good order, seal what dead ones left, and take the counts away."""
        self._sock.close()  # or the kernel would go on to accept connections that nobody answers
        for worker in self._workers.values():
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        killed = [
            w.process.pid
            for w in self._workers.values()
            if not _ended(w.process, deadline - time.monotonic())
        ]
        for sealed in seal_abandoned(self._settings.log.folder):
            logger.info("sealed %s of a dead worker", sealed.path)
        self._cells.close()
        os.close(self._wakes)
        os.close(self._wake)
        if killed:
            raise LogError(f"workers {killed} did not stop in {STOP_SECONDS:g} s and were killed")


def serve_with_workers(
    settings: ServerSettings,
    host: str,
    port: int,
    workers: int,
    on_ready: Callable[[str, Announcement, list[int]], None],
) -> None:
    """Serve with several worker processes until SIGTERM or SIGINT; restart those that die.

    Args:
        settings: everything there is to choose; it is pickled for the workers.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        workers: how many.
        on_ready: called once, with the URL, what is served, and the workers' process ids.

    Raises:
        SamescoreError: a worker cannot serve.
        OSError: the address cannot be listened on.
    """
    sock = listen(host, port)
    try:
        supervisor = Supervisor(settings, sock, workers)
    except BaseException:
        sock.close()
        raise
    url = url_of(sock)
    supervisor.run(lambda announced, pids: on_ready(url, announced, pids))


def _ended(process: SpawnProcess, seconds: float) -> bool:
    process.join(max(0.0, seconds))
    if process.exitcode is not None:
        return True
    process.kill()
    process.join()
    return False


def _work(
    settings: ServerSettings,
    sock: socket.socket,
    place: WorkerPlace,
    says: Connection,
    level: int,
) -> None:
    """Be a worker: the whole life of its process."""
    for name in _STOP_SIGNALS:
        signal.signal(name, lambda *_: sys.exit(0))  # until there is something to finish
    logging.basicConfig(
        level=level,
        format=f"%(asctime)s %(levelname)s worker {place.slot} %(name)s: %(message)s",
    )
    try:
        server = Server(settings, place)
    except SamescoreError as e:
        says.send(_Refusal(str(e)))
        return
    says.send(Announcement.of(server))
    run_app(server.app, sock, until=_parent_is_gone, turned_away=server.monitoring.turned_away)


def _parent_is_gone() -> None:
    """Return when the supervisor has died: without it nobody would stop this worker."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
