"""Looks at each instance of a backend again and again, in a thread each.

It sees who has which version, ejects who does not answer, and brings back who does: an ejected
instance is tried with the golden rows of every version that it is to serve, never with a request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from serving.backends.fleet import Fleet, Instance
from serving.backends.instance_errors import InstanceError, InstanceTimeoutError
from serving.backends.route import Examined, Route
from serving.backends.transport import AVAILABLE

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 2.0
"""How long a status may take."""
SECOND_LOOK_SECONDS: Final = 30.0
"""After which an instance that failed a golden gate is put through it again."""


class Prober:
    """Knows the state of each watched model on each instance. Safe in any thread.

    Args:
        fleet: whose instances are looked at.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._lock = threading.Lock()
        self._routes: tuple[Route, ...] = ()
        self._known: dict[str, dict[int, Mapping[int, str]]] = {}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run, args=(i,), name=f"backend-probe-{i.index}", daemon=True
            )
            for i in fleet.instances
        ]

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; waits for the look at hand."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def watch(self, names: Iterable[str]) -> None:
        """Look at these models too, from now on; at new ones on the spot."""
        for name in names:
            with self._lock:
                is_new = name not in self._known
                if is_new:
                    self._known[name] = {}
            if is_new:
                for instance in self._fleet.instances:
                    with instance.blocking:
                        self._try_to_ask(instance, name)

    def offers(self, name: str, version: int) -> tuple[bool, ...]:
        """Return for each instance whether it had a version when it was last looked at."""
        with self._lock:
            known = dict(self._known.get(name, {}))
        return tuple(
            known.get(i.index, {}).get(version) == AVAILABLE for i in self._fleet.instances
        )

    def examine(self, route: Route, instance: Instance) -> Examined:
        """Ask an instance for a version's state, and put it through the golden gate.

        Who does not answer is ejected.
        """
        with instance.blocking:
            if instance.health.is_ejected:
                return Examined(instance.address, f"is ejected ({instance.health.reason})")
            try:
                states = self._ask(instance, route.model.name)
                return route.examine(instance, states.get(route.model.version))
            except (InstanceError, InstanceTimeoutError) as e:
                self._fleet.lost(instance, str(e))
                return Examined(instance.address, str(e))

    def add(self, route: Route) -> None:
        """Watch over a route from now on."""
        with self._lock:
            self._routes = (*self._routes, route)

    def remove(self, route: Route) -> None:
        """Forget a route."""
        with self._lock:
            self._routes = tuple(r for r in self._routes if r is not route)

    def look_at(self, instance: Instance) -> None:
        """Do one round with one instance."""
        is_trial = instance.health.is_ejected
        if is_trial and not instance.health.may_be_tried(self._fleet.now()):
            return
        with instance.blocking:
            try:
                if is_trial:
                    instance.transport.renew()
                    for route in self._routes:
                        route.withdraw(instance.index)
                        route.try_again_at.pop(instance.index, None)
                if self._look(instance) and is_trial:
                    self._fleet.returned(instance)
            except (InstanceError, InstanceTimeoutError) as e:
                self._forget(instance)
                if is_trial:
                    self._fleet.failed_trial(instance, str(e))
                elif isinstance(e, InstanceTimeoutError):
                    self._fleet.late(instance)
                else:
                    self._fleet.lost(instance, str(e))

    def _run(self, instance: Instance) -> None:
        while not self._stopping.wait(self._pause(instance)):
            try:
                self.look_at(instance)
            except Exception as e:
                # a bug here must not leave an instance without a look for ever
                logger.exception("backend %s could not be looked at", instance.address)
                if instance.health.is_ejected:
                    self._fleet.failed_trial(instance, f"{type(e).__name__}: {e}")

    def _pause(self, instance: Instance) -> float:
        """Seconds to the next look."""
        pause = self._fleet.settings.probe_seconds
        health = instance.health
        if health.is_ejected:
            return max(0.01, health.trial_at - self._fleet.now())
        return (
            min(pause, self._fleet.settings.health.first_pause_seconds)
            if health.timeouts
            else pause
        )

    def _look(self, instance: Instance) -> bool:
        """Return whether there was something to look at."""
        with self._lock:
            names = list(self._known)
        states = {name: self._ask(instance, name) for name in names}
        for route in self._routes:
            self._look_for(route, instance, states.get(route.model.name, {}))
        return bool(names)

    def _look_for(self, route: Route, instance: Instance, states: Mapping[int, str]) -> None:
        index, state = instance.index, states.get(route.model.version)
        if index in route.able and state == AVAILABLE:
            return
        if state == AVAILABLE and route.try_again_at.get(index, 0.0) > self._fleet.now():
            return
        route.withdraw(index)
        found = route.examine(instance, state)
        if found.signature is not None and (not found.problem or not route.needs_gate):
            route.accept(index, found.signature)
            logger.info("%s: backend %s answers for it", route.model, instance.address)
            self._fleet.wake()
            return
        if not found.is_absent:
            route.try_again_at[index] = self._fleet.now() + SECOND_LOOK_SECONDS
        if route.problems.get(index) != found.problem:
            route.problems[index] = found.problem
            logger.error("%s: backend %s %s", route.model, instance.address, found.problem)

    def _ask(self, instance: Instance, name: str) -> Mapping[int, str]:
        states = instance.transport.states(name, PROBE_SECONDS)
        with self._lock:
            self._known.setdefault(name, {})[instance.index] = states
        return states

    def _try_to_ask(self, instance: Instance, name: str) -> None:
        if instance.health.is_ejected:
            return
        try:
            self._ask(instance, name)
        except (InstanceError, InstanceTimeoutError) as e:
            self._fleet.lost(instance, str(e))

    def _forget(self, instance: Instance) -> None:
        with self._lock:
            for known in self._known.values():
                known.pop(instance.index, None)
