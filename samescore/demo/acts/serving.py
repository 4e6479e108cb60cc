"""Act 2: `samescore serve` in a process of its own, and what it says of its models."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from samescore.demo.processes import read_object, running, samescore_command
from samescore.demo.stage import FLOAT32_MODEL, PIPELINE_PACKAGE, VERSION, Stage

POLL_SECONDS: Final = 0.25
"""How soon a published snapshot is seen."""

LOOKUP: Final = "weather"
_LOOKUP_KEYS: Final = ("origin", "hour")


@dataclass(frozen=True, slots=True)
class Served:
    """A running server.

    Attributes:
        url: its address.
        process: the process.
        said: what it wrote to standard error.
        failed: why each version that is not served is not, by its name.
    """

    url: str
    process: subprocess.Popen[bytes]
    said: Path
    failed: dict[str, str]

    def models(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the page `/models`."""
        found: list[dict[str, Any]] = orjson.loads(ask(f"{self.url}/models")[1])
        return found


@contextmanager
def serving(stage: Stage) -> Iterator[Served]:
    """Serve the bundles; a version that fails its golden gate is served too, marked unverified."""
    command = samescore_command(
        "serve", stage.models, "--pipeline", PIPELINE_PACKAGE, "--log", stage.requests,
        "--port", 0, "--gate", "report", "--poll-seconds", POLL_SECONDS, "--json",
    )  # fmt: skip
    with server(command, stage.said("server")) as served:
        yield served


@contextmanager
def server(command: Sequence[str], said: Path) -> Iterator[Served]:
    """Run a server and wait until it is ready."""
    with running(command, said) as process:
        ready = read_object("the server", process, said)
        yield Served(ready["url"], process, said, ready["failed"])


def ask(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Return the status and the body of a page, whatever the status."""
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own server
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as e:
        with e:
            return e.code, e.read()


@dataclass(frozen=True, slots=True)
class WeatherDesk:
    """Publishes weather snapshots, as a nightly job would.

    Attributes:
        store: the snapshot store that the server reads.
        training: the snapshot that the models were trained with; it ends in June.
        year: the one that training left as the current one.
    """

    store: SnapshotStore
    training: str
    year: str

    def publish(self, snapshot: str) -> None:
        """Make a snapshot the current one; the server sees it at its next look."""
        self.store.put(LOOKUP, self.store.get(snapshot, _LOOKUP_KEYS).columns)


def weather_desk(stage: Stage) -> WeatherDesk:
    """Return the desk, the training snapshot published.

    Raises:
        ConfigError: the example left no later snapshot.
    """
    store = SnapshotStore(stage.models / SNAPSHOT_FOLDER)
    manifest = open_bundle(stage.models / FLOAT32_MODEL / str(VERSION)).manifest
    training, year = manifest.snapshots[LOOKUP], store.current(LOOKUP)
    if year is None or year == training:
        raise ConfigError(
            f"{store.root} holds no weather later than the training's; the example's train.py must "
            f"put the whole year's after it"
        )
    desk = WeatherDesk(store, training, year)
    desk.publish(training)
    return desk
