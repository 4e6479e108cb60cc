"""The instances of a remote backend: whose turn it is, who is ejected, who has room.

A request goes to an instance that is not ejected, that has passed the golden gate of the version
asked for, and that has room; with none of the last kind it waits until its deadline. Nothing is
sent a second time unless certainly nothing was computed, and then once.

What is done better here than in the proxies that the scheme comes from: nginx and Envoy try a dead
instance again with a user's request, or with a health page that says nothing about scores. Here the
trial is the golden gate of every version that the instance is to serve, so no user pays for a
trial, and an instance that comes back with another model gets no request (`probing`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from consistency.errors import BackendError
from serving.backends.balancing import SmoothRoundRobin
from serving.backends.fleet_events import FleetEvents
from serving.backends.health import Health
from serving.backends.instance_errors import (
    Attempt,
    Failure,
    InstanceError,
    InstanceTimeoutError,
)
from serving.backends.settings import Address, BackendSettings, WireProtocol
from serving.backends.tfs_grpc import GrpcTransport
from serving.backends.tfs_rest import RestTransport
from serving.backends.transport import Transport

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LEAST_SHARE: Final = 0.1
"""What must be left of the deadline for a request to be sent at all."""
_FAIR_SHARE: Final = 0.5
"""What an instance must have had of the deadline for its silence to count against it."""


@dataclass(slots=True, eq=False)
class Instance:
    """One server.

    Attributes:
        index: its place in the settings.
        address: as logged.
        transport: speaks to it.
        blocking: held while a thread asks it in the blocking way.
        health: replaced, never changed; under the fleet's lock.
        in_flight: requests that it has now.
    """

    index: int
    address: str
    transport: Transport
    blocking: threading.RLock = field(default_factory=threading.RLock)
    health: Health = field(default_factory=Health)
    in_flight: int = 0


class Fleet:
    """All instances of a backend. Health may be told from any thread; requests are a loop's.

    Args:
        settings: which instances, and the bounds.
        events: for the metrics.
        transports: one an instance; made from the addresses unless given.
        clock: seconds, monotonic.

    Raises:
        ConfigError: a library is missing.
    """

    def __init__(
        self,
        settings: BackendSettings,
        events: FleetEvents | None = None,
        *,
        transports: Sequence[Transport] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        speak = transports or [transport_to(address) for address in settings.addresses]
        self.instances = tuple(
            Instance(i, str(address), transport)
            for i, (address, transport) in enumerate(zip(settings.addresses, speak, strict=True))
        )
        self._events, self._clock = events or FleetEvents(), clock
        self._turns = SmoothRoundRobin(settings.every_weight)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._waiters = 0
        for instance in self.instances:
            self._events.health(instance.address, True)

    def now(self) -> float:
        """Return the time that health goes by."""
        return self._clock()

    async def ask(
        self,
        what: str,
        able: Callable[[], Collection[int]],
        call: Callable[[Instance, float], Awaitable[T]],
    ) -> tuple[T, Instance, float]:
        """Have one of the able instances answer a request.

        Args:
            what: is asked for, for messages.
            able: says the indices of the instances that can answer, asked at every choice.
            call: asks an instance, within so many seconds.

        Returns:
            The answer, who gave it, and how many seconds the request waited for room.

        Raises:
            InstanceError: the instance failed; nobody can answer.
            InstanceTimeoutError: no answer, or no room, before the deadline.
        """
        begin = self._clock()
        deadline = begin + self.settings.timeout_seconds
        tried: set[int] = set()
        while True:
            instance = await self._lease(what, able, tried, deadline)
            waited = self._clock() - begin
            try:
                return await self._attempt(instance, deadline, call), instance, waited
            except InstanceError as e:
                others = bool(self._eligible(able(), {*tried, instance.index}))
                if tried or not e.failure.is_safe_to_retry or not others:
                    raise
                tried.add(instance.index)
                self._events.retried(instance.address)

    async def _attempt(
        self, instance: Instance, deadline: float, call: Callable[[Instance, float], Awaitable[T]]
    ) -> T:
        """Ask one instance, and take note of how that ended."""
        left, ended = 0.0, None
        try:
            left = self._left(deadline)
            answer = await call(instance, left)
        except InstanceError as e:
            ended = Attempt.failed(e.failure)
            self._failed(instance, e)
            raise
        except InstanceTimeoutError as e:
            ended = Attempt.TIMEOUT if e.instance else None
            if e.instance and left >= _FAIR_SHARE * self.settings.timeout_seconds:
                self.late(instance)
            raise
        except Exception:
            ended = Attempt.ERROR
            raise
        else:
            ended = Attempt.OK
            self._answered(instance)
            return answer
        finally:
            self._give_back(instance)
            if ended is not None:
                self._events.attempted(instance.address, ended)

    def lost(self, instance: Instance, reason: str) -> None:
        """Eject an instance."""
        policy = self.settings.health
        self._change(instance, lambda health: health.lost(self._clock(), reason, policy))

    def late(self, instance: Instance) -> None:
        """Note that an instance did not answer in time; several times in a row eject it."""
        policy = self.settings.health
        with self._lock:
            self._turns.failed(instance.index)
        self._change(instance, lambda health: health.timed_out(self._clock(), policy))

    def failed_trial(self, instance: Instance, reason: str) -> None:
        """Leave an ejected instance out for longer."""
        policy = self.settings.health
        self._change(instance, lambda health: health.failed_trial(self._clock(), reason, policy))

    def returned(self, instance: Instance) -> None:
        """Let an ejected instance have requests again, a few at first."""
        with self._lock:
            instance.health = instance.health.returned()
            self._turns.begin_small(instance.index)
        logger.info("backend %s is back", instance.address)
        self._events.health(instance.address, True)
        self.wake()

    def wake(self) -> None:
        """Have those who wait for room look again."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for loop, future in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)

    def close(self) -> None:
        """Close all connections."""
        for instance in self.instances:
            instance.transport.close()

    async def _lease(
        self,
        what: str,
        able: Callable[[], Collection[int]],
        tried: Collection[int],
        deadline: float,
    ) -> Instance:
        while True:
            with self._lock:
                eligible = self._eligible(able(), tried)
                room = [i for i in eligible if self._has_room(i)]
                chosen = self._turns.choose(room)
                if chosen is not None:
                    self._has(self.instances[chosen], 1)
                    return self.instances[chosen]
                if not eligible:
                    raise BackendError(f"no instance serves {what}: {self._why(able())}")
                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                self._waiting.append((loop, future))
            try:
                self._wait(1)
                await asyncio.wait_for(future, max(deadline - self._clock(), 0))
            except TimeoutError as e:
                raise self._no_room() from e
            finally:
                self._wait(-1)

    def _has(self, instance: Instance, more: int) -> None:
        """Change how many requests an instance has; under the lock."""
        instance.in_flight += more
        self._events.in_flight(instance.address, instance.in_flight)

    def _wait(self, more: int) -> None:
        with self._lock:
            self._waiters += more
            self._events.waiting(self._waiters)

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left < _LEAST_SHARE * self.settings.timeout_seconds:
            raise self._no_room()
        return left

    def _no_room(self) -> InstanceTimeoutError:
        self._events.no_room()
        return InstanceTimeoutError(
            "",
            f"no instance of the backend had room in time: each has"
            f" {self.settings.max_in_flight} requests, the deadline is"
            f" {self.settings.timeout_seconds:g} s",
        )

    def _eligible(self, able: Collection[int], tried: Collection[int]) -> list[int]:
        return [
            i.index
            for i in self.instances
            if i.index in able and i.index not in tried and not i.health.is_ejected
        ]

    def _has_room(self, index: int) -> bool:
        return self.instances[index].in_flight < self.settings.max_in_flight

    def _why(self, able: Collection[int]) -> str:
        return "; ".join(
            f"{i.address} "
            + (
                f"is ejected ({i.health.reason})"
                if i.health.is_ejected
                else "was just tried"
                if i.index in able
                else "does not have it, or has not passed its golden gate"
            )
            for i in self.instances
        )

    def _give_back(self, instance: Instance) -> None:
        with self._lock:
            self._has(instance, -1)
            while self._waiting and self._waiting[0][1].done():
                self._waiting.popleft()  # its deadline came first
            waiting = self._waiting.popleft() if self._waiting else None
        if waiting is not None:
            _resolve(waiting[1])

    def _answered(self, instance: Instance) -> None:
        with self._lock:
            self._turns.succeeded(instance.index)
            instance.health = instance.health.answered()

    def _failed(self, instance: Instance, error: InstanceError) -> None:
        if error.failure.ejects or error.failure is Failure.BUSY:
            with self._lock:
                self._turns.failed(instance.index)
        if error.failure.ejects:
            self.lost(instance, str(error))

    def _change(self, instance: Instance, change: Callable[[Health], Health]) -> None:
        with self._lock:
            before = instance.health
            instance.health = change(before)
        if instance.health.is_ejected and not before.is_ejected:
            logger.error("backend %s is ejected: %s", instance.address, instance.health.reason)
            self._events.ejected(instance.address)
            self._events.health(instance.address, False)
            self.wake()


def transport_to(address: Address) -> Transport:
    """Return what speaks to an instance.

    Raises:
        ConfigError: a library is missing.
    """
    if address.protocol is WireProtocol.GRPC:
        return GrpcTransport(address)
    return RestTransport(address)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
