from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consistency.errors import ConfigError
from consistency.log import LogSettings
from samescore.server import Server, ServerSettings
from serving.core.state import ManagerState, ServableId, VersionStatus
from tests.fakes.asgi import Response, body_events, call, scope_of
from tests.fixtures.tiny import PACKAGE, Tiny


@pytest.fixture
def server(tiny: Tiny, tmp_path: Path) -> Iterator[Server]:
    made = Server(
        ServerSettings(
            tiny.base, LogSettings(tmp_path / "log"), frozenset({PACKAGE}), poll_seconds=60
        )
    )
    yield made
    made.close()


def get(server: Server, path: str) -> Response:
    return call(server.app, scope_of(path, "GET"), body_events(b"")).response


def test_a_version_that_goes_away_while_a_page_is_made_breaks_no_page(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = VersionStatus(ServableId("tiny", 7), ManagerState.AVAILABLE)
    now = server.manager.statuses()
    monkeypatch.setattr(type(server.manager), "statuses", lambda *_: (stale, *now))
    assert get(server, "/metrics").status == 200
    server.app._statuses = server.manager.statuses
    models = {m["version"]: m["gate"] for m in get(server, "/models").json}
    assert models == {7: None, 1: "verified"}


def test_closing_twice_is_no_error_and_leaves_a_sealed_log(server: Server, tmp_path: Path) -> None:
    server.close()
    server.close()
    assert list((tmp_path / "log").iterdir()) == []


def test_a_base_that_is_not_there_leaves_no_open_segment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Server(ServerSettings(tmp_path / "nowhere", LogSettings(tmp_path / "log")))
    assert list((tmp_path / "log").glob("*.open")) == []
