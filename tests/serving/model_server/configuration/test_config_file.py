from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from serving.model_server.status import invalid
from tests.fixtures.server import wait_until

pytestmark = pytest.mark.slow  # the stubs import TensorFlow


def text(*names: str) -> str:
    return " ".join(f"model_config_list {{ config {{ name: '{name}' }} }}" for name in names)


class Reloads:
    """Notes the models of each configuration; waits for those in `gates`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.error: Exception | None = None

    def __call__(self, config: Any) -> None:
        name = config.model_config_list.config[0].name
        self.seen.append(name)
        if name in self.gates:
            assert self.gates[name].wait(30)
        if self.error is not None:
            raise self.error


@pytest.fixture
def reloads() -> Reloads:
    return Reloads()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.config"


def config_file(path: Path, reloads: Reloads, seconds: float = 60.0) -> Any:
    from serving.model_server.configuration.config_file import ConfigFile

    return ConfigFile(path, reloads, seconds)


def test_each_look_applies_the_file_changed_or_not(path: Path, reloads: Reloads) -> None:
    path.write_text(text("a"))
    file = config_file(path, reloads)
    for looks in (1, 2):
        file.look()
        wait_until(lambda looks=looks: len(reloads.seen) == looks, "it is applied")
        wait_until(lambda: not _at_work(), "the reload is over")
    assert reloads.seen == ["a", "a"]


def test_a_reload_that_waits_is_not_repeated_and_an_edit_overtakes_it(
    path: Path, reloads: Reloads
) -> None:
    reloads.gates["a"] = threading.Event()
    path.write_text(text("a"))
    file = config_file(path, reloads)
    for _ in range(3):
        file.look()
    wait_until(lambda: reloads.seen == ["a"], "one reload waits")
    path.write_text(text("b"))
    file.look()
    wait_until(lambda: reloads.seen == ["a", "b"], "the edited file is applied")
    reloads.gates["a"].set()
    wait_until(lambda: not _at_work(), "both are over")


def test_what_cannot_be_used_is_logged_once_and_skipped(
    path: Path, reloads: Reloads, caplog: pytest.LogCaptureFixture
) -> None:
    file = config_file(path, reloads)
    file.look()
    file.look()
    assert len(caplog.records) == 1
    assert "Failed to read ModelServerConfig file" in caplog.text
    path.write_text(text("a"))
    reloads.error = invalid("no such platform")
    file.look()
    wait_until(lambda: "no such platform" in caplog.text, "the refusal is logged")
    wait_until(lambda: not _at_work(), "the reload is over")
    reloads.error = None
    file.look()
    wait_until(lambda: reloads.seen == ["a", "a"], "the next look tries again")
    wait_until(lambda: not _at_work(), "the reload is over")


def test_it_looks_by_itself_until_it_is_stopped(path: Path, reloads: Reloads) -> None:
    path.write_text(text("a"))
    file = config_file(path, reloads, 0.01)
    file.start()
    wait_until(lambda: len(reloads.seen) >= 3, "it looks again and again")
    file.stop()
    wait_until(
        lambda: not any(t.name == "config-file" for t in threading.enumerate()), "its thread ends"
    )


def _at_work() -> bool:
    return any(thread.name == "reload" for thread in threading.enumerate())
