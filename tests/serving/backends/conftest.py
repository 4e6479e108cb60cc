from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from consistency.bundle import open_bundle
from consistency.scored import Payload
from serving.backends.fleet_events import FleetEvents
from serving.backends.health import HealthPolicy
from serving.backends.remote import Remote
from serving.backends.settings import BackendSettings
from serving.core.state import ServableId
from serving.loaders import load_scorer
from serving.servable import LoadSettings, Servable
from tests.fakes.tfs_stand_in import Served, StandIn, of_scorer, over_grpc, over_rest
from tests.fixtures.tiny import Tiny, record_body

QUICK = HealthPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.2)


@dataclass
class Instances:
    """Stand-ins of one protocol, and what they run on."""

    protocol: str
    stand_ins: list[StandIn] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    running: list[AbstractContextManager[int] | None] = field(default_factory=list)

    def add(self, stand_in: StandIn) -> StandIn:
        """Start an instance."""
        self.stand_ins.append(stand_in)
        self.running.append(None)
        self.ports.append(0)
        self.start(len(self.ports) - 1)
        return stand_in

    def start(self, index: int) -> None:
        """Start an instance again, on its port."""
        serve = over_grpc if self.protocol == "grpc" else over_rest
        self.running[index] = running = serve(self.stand_ins[index], self.ports[index])
        self.ports[index] = running.__enter__()

    def kill(self, index: int) -> None:
        """Cut every connection of an instance, and refuse new ones."""
        running, self.running[index] = self.running[index], None
        if running is not None:
            running.__exit__(None, None, None)

    def settings(self, **more: Any) -> BackendSettings:
        text = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        parsed = BackendSettings.parse(f"{self.protocol}://{text}")
        return BackendSettings(
            parsed.addresses,
            **{"probe_seconds": 0.05, "health": QUICK, "timeout_seconds": 5.0, **more},
        )

    def address(self, index: int) -> str:
        return f"{self.protocol}://127.0.0.1:{self.ports[index]}"


@pytest.fixture(params=["rest", pytest.param("grpc", marks=pytest.mark.slow)])
def instances(request: pytest.FixtureRequest) -> Iterator[Instances]:
    """No instance yet; of either protocol. (The stubs import TensorFlow, which takes seconds.)"""
    made = Instances(request.param)
    yield made
    for index in range(len(made.ports)):
        made.kill(index)


@pytest.fixture(scope="session")
def tiny_served(tiny: Tiny) -> Served:
    """The model of the tiny bundle, as an instance serves it."""
    scorer = load_scorer("xgboost", tiny.bundle)
    width = len(open_bundle(tiny.bundle).manifest.features)
    return of_scorer(scorer, width, "output", "float32")


@pytest.fixture
def remote() -> Iterator[Callable[..., Remote]]:
    """Makes remote backends that are closed in the end."""
    with ExitStack() as stack:

        def make(settings: BackendSettings, events: FleetEvents | None = None) -> Remote:
            made = Remote(settings, events)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def load(tiny: Tiny, settings: LoadSettings) -> Callable[..., Servable]:
    """Loads the tiny bundle through a remote backend."""

    def loaded(remote: Remote, settings: LoadSettings = settings, version: int = 1) -> Servable:
        path = tiny.bundle.parent / str(version)
        return remote.loader(ServableId("tiny", version), path, settings).load()

    return loaded


def payload(records: list[dict[str, Any]]) -> Payload:
    return Payload(orjson.dumps(record_body(records)), "tione/1", "application/json")
