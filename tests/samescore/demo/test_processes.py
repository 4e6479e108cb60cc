"""The demo's processes are heard, and never left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from samescore.demo.errors import DemoError
from samescore.demo.processes import finish, read_object, run, run_lines, running

CODE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("{", "}", sep="\\n", flush=True)
time.sleep(60)
"""
SLEEP = [sys.executable, "-c", CODE]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_process_is_stopped_when_its_block_fails() -> None:
    held = []

    def interrupted() -> None:
        with running(SLEEP, None) as process:
            held.append(process)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert held[0].returncode is not None


def test_a_process_is_stopped_when_a_signal_comes_while_it_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "Popen", InterruptedPopen)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), running(SLEEP, None):
            pytest.fail("the signal was lost")
    finally:
        signal.signal(signal.SIGINT, before)
    (process,) = InterruptedPopen.started
    assert process.returncode is not None


class InterruptedPopen(subprocess.Popen[bytes]):
    """Starts a process, and gets Ctrl-C before anybody knows of it."""

    started: list[subprocess.Popen[bytes]] = []  # noqa: RUF012 - of the one test

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.started.append(self)
        signal.raise_signal(signal.SIGINT)


def test_an_object_over_several_lines_is_read(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with running(SLEEP, said) as process:
        assert read_object("it", process, said) == {}
        finish("it", process, said)


def test_a_server_that_dies_before_it_is_ready_shows_its_last_words(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = python("import sys; sys.exit('the port is taken')")
    with (
        pytest.raises(DemoError, match="the port is taken"),
        running(command, said) as process,
    ):
        read_object("the server", process, said)


def test_lines_are_passed_on_as_they_come() -> None:
    heard: list[str] = []
    run_lines("it", python("print('one'); print('two')"), None, heard.append)
    assert heard == ["one", "two"]


def test_a_failing_process_is_an_error_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="training failed with exit code 3"):
        run_lines("training", python("raise SystemExit(3)"), tmp_path / "said", str)


def test_a_persons_own_server_settings_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMESCORE_SERVE_PORT", "1")
    code = "import os; print([k for k in os.environ if k.startswith('SAMESCORE_')])"
    assert run(python(code), None).output.strip() == b"[]"
