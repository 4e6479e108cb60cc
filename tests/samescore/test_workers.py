from __future__ import annotations

import pickle
import signal
from pathlib import Path

import pytest

from consistency.log import LogSettings
from monitors.online.window import WindowSettings
from samescore.server import Server, ServerSettings
from samescore.workers import Announcement
from tests.fixtures.cli import mistake
from tests.fixtures.tiny import PACKAGE, Tiny


def settings(tiny: Tiny, folder: Path) -> ServerSettings:
    return ServerSettings(
        tiny.base,
        LogSettings(folder),
        frozenset({PACKAGE}),
        store=tiny.store,
        poll_seconds=60,
        window=WindowSettings(slices=2),
    )


def test_settings_travel_to_a_worker(tiny: Tiny, tmp_path: Path) -> None:
    made = settings(tiny, tmp_path)
    again = pickle.loads(pickle.dumps(made))
    assert (again.base, again.log, again.trusted) == (made.base, made.log, made.trusted)
    assert again.window == WindowSettings(slices=2)
    assert again.snapshot_store.root == tiny.store.root


def test_what_a_server_announces(tiny: Tiny, tmp_path: Path) -> None:
    server = Server(settings(tiny, tmp_path / "log"))
    announced = Announcement.of(server)
    server.close()
    assert announced == Announcement(("tiny version 1",), {})
    untrusting = Server(ServerSettings(tiny.base, LogSettings(tmp_path / "log"), poll_seconds=60))
    announced = Announcement.of(untrusting)
    untrusting.close()
    assert announced.serving == ()
    assert "is not trusted" in announced.failed["tiny version 1"]


def test_no_worker_is_a_mistake(tiny: Tiny, tmp_path: Path) -> None:
    said = mistake("serve", tiny.base, "--log", tmp_path / "log", "--workers", 0)
    assert "--workers" in said


@pytest.mark.parametrize("option", ["slices", "slice-seconds", "min-rows"])
def test_a_window_of_nothing_is_a_mistake(tiny: Tiny, tmp_path: Path, option: str) -> None:
    said = mistake("serve", tiny.base, "--log", tmp_path / "log", f"--window-{option}", 0)
    assert f"--window-{option}" in said


def test_a_log_folder_that_cannot_be_written_is_a_mistake(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = tmp_path / "file" / "log"
    said = mistake("serve", tiny.base, "--log", log, "--workers", 2, "--port", 0)
    assert "give a writable folder" in said


@pytest.mark.slow
def test_what_no_worker_can_serve_is_a_mistake_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    options = ("--log", tmp_path / "log", "--workers", 2, "--port", 0)
    said = mistake("serve", tmp_path / "nowhere", *options)
    assert said.startswith("Error: worker ")
    assert "give an existing directory that holds <model>/<version>/" in said
    assert list((tmp_path / "log").iterdir()) == []
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
