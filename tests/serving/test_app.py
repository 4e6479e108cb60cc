from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.app import App
from serving.core.state import ManagerState, ServableId, VersionStatus
from serving.dataplane import DataPlane
from serving.faces.tione import TioneFace
from serving.servable import Servable
from tests.fakes.asgi import Response, body_events, call, scope_of
from tests.fakes.serving import MemoryLog, Shelf
from tests.fixtures.tiny import Tiny, record_body

S = ManagerState


def status(name: str, version: int, state: ManagerState, error: str = "") -> VersionStatus:
    return VersionStatus(ServableId(name, version), state, error)


@dataclass
class Pages:
    """The application, with the statuses that it is told."""

    servable: Servable
    statuses: Sequence[VersionStatus] = ()
    stopped: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        plane = DataPlane(Shelf({("tiny", 1): self.servable}), MemoryLog())
        self.app = App(
            TioneFace(plane, max_body_bytes=1 << 20),
            statuses=lambda: self.statuses,
            gate_of=lambda s: (f"gate of {s.id.name}/{s.id.version}", "its report"),
            metrics=self.page,
            on_shutdown=lambda: self.stopped.append("stopped"),
            arrival_waited=self.waits.append,
        )

    def page(self, accept: str) -> tuple[bytes, str]:
        self.accepted.append(accept)
        return b"samescore_requests_total 1\n", "text/plain; version=0.0.4"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:
        return call(self.app, scope_of(path, method, headers), body_events(body)).response


@pytest.fixture
def pages(servable: Servable) -> Pages:
    return Pages(servable)


# ------------------------------------------------------------------------------------------- health


def test_a_living_server_says_so(pages: Pages) -> None:
    response = pages.ask("/health/live")
    assert (response.status, response.body) == (200, b"ok")


@pytest.mark.parametrize(
    ("statuses", "ready", "waiting"),
    [
        ([], False, []),
        ([status("a", 1, S.AVAILABLE)], True, []),
        ([status("a", 1, S.LOADING)], False, ["a"]),
        ([status("a", 2, S.LOADING), status("a", 1, S.AVAILABLE)], True, []),
        ([status("a", 2, S.END, "failed"), status("a", 1, S.AVAILABLE)], True, []),
        ([status("a", 1, S.END, "failed")], False, ["a"]),
        ([status("a", 1, S.AVAILABLE), status("b", 1, S.START)], False, ["b"]),
        ([status("a", 1, S.UNLOADING)], False, ["a"]),
    ],
)
def test_it_is_ready_when_every_model_has_a_version_that_serves(
    pages: Pages, statuses: Sequence[VersionStatus], ready: bool, waiting: list[str]
) -> None:
    pages.statuses = statuses
    response = pages.ask("/health/ready")
    assert response.status == (200 if ready else 503)
    assert response.json["ready"] is ready
    assert response.json["not_serving"] == waiting


# ------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("state", "error", "tione", "gate"),
    [
        (S.START, "", "deploying", None),
        (S.LOADING, "", "deploying", None),
        (S.AVAILABLE, "", "serving", "gate of m/3"),
        (S.UNLOADING, "", "serving", None),
        (S.END, "", "unloaded", None),
        (S.END, "golden gate FAILED", "failed", None),
    ],
)
def test_each_version_is_shown_in_tiones_words(
    pages: Pages, state: ManagerState, error: str, tione: str, gate: str | None
) -> None:
    pages.statuses = [status("m", 3, state, error)]
    assert pages.ask("/models").json == [
        {
            "name": "m",
            "version": 3,
            "state": state.value,
            "status": tione,
            "gate": gate,
            "gate_report": "its report" if gate else "",
            "error": error,
        }
    ]


def test_metrics_come_as_the_registry_writes_them(pages: Pages) -> None:
    response = pages.ask("/metrics")
    assert response.body == b"samescore_requests_total 1\n"
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_registry_is_told_what_the_scraper_accepts(pages: Pages) -> None:
    pages.ask("/metrics")
    pages.ask("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert pages.accepted == ["", "application/openmetrics-text"]


# ------------------------------------------------------------------------------------------ routing


def test_predictions_go_to_their_face(pages: Pages, tiny: Tiny) -> None:
    import orjson

    raw = orjson.dumps(record_body(tiny.records[0]))
    for path in ("/predict/tiny/1", "/any/base//predict/tiny/1", "//predict/tiny"):
        response = pages.ask(path, "POST", raw)
        assert response.status == 200
        assert response.json["message"] == "SUCCESS"


@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [
        ("GET", "/", 404),
        ("GET", "/predict/tiny/1", 404),
        ("POST", "/predict/tiny/one", 404),
        ("POST", "/models", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/modelsx", 404),
    ],
)
def test_other_paths_and_methods_are_refused(
    pages: Pages, method: str, path: str, status_code: int
) -> None:
    assert pages.ask(path, method).status == status_code


@pytest.mark.parametrize(("method", "path"), [("GET", "/predict/tiny/1"), ("POST", "/predict/t/x")])
def test_who_asks_in_the_wrong_way_is_told_the_right_one(
    pages: Pages, method: str, path: str
) -> None:
    told = pages.ask(path, method).json
    assert told["code"] == 2
    assert f"for {method}; a score is asked for by POST {{base}}/predict/" in told["message"]


def test_head_asks_for_a_page_without_its_content(pages: Pages) -> None:
    assert pages.ask("/health/live", "HEAD").status == 200


# ----------------------------------------------------------------------------------------- lifespan


def test_the_server_is_stopped_once_after_the_last_request(pages: Pages) -> None:
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        if sent == ["lifespan.startup.complete"]:
            assert pages.stopped == []
        return next(events)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event["type"])

    asyncio.run(pages.app({"type": "lifespan"}, receive, send))
    assert pages.waits == [], "it ended before anybody could have waited"
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert pages.stopped == ["stopped"]


def test_arrivals_are_watched_while_the_server_runs(pages: Pages) -> None:
    begun = False

    async def receive() -> dict[str, Any]:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "lifespan.startup"}
        for _ in range(3000):
            if len(pages.waits) >= 3:
                break
            await asyncio.sleep(0.01)
        return {"type": "lifespan.shutdown"}

    async def send(_event: dict[str, Any]) -> None:
        """Nobody waits for it."""

    async def run() -> None:
        await pages.app({"type": "lifespan"}, receive, send)
        before = len(pages.waits)
        await asyncio.sleep(0.25)
        assert len(pages.waits) == before, "it has ended with the server"

    asyncio.run(run())
    assert len(pages.waits) >= 3
    assert min(pages.waits) >= 0
