"""Starts the demo's processes, and never leaves one behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import Any, Final

import orjson

from samescore.demo.errors import DemoError
from samescore.stop_signals import held_back

STOP_SECONDS: Final = 60.0
"""How long a process may take to finish what it does."""

READY_SECONDS: Final = 180.0
"""How long a server may take to load and gate its models."""

_TAIL_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that came to its end.

    Attributes:
        code: its exit code.
        output: its standard output.
    """

    code: int
    output: bytes


def samescore_command(*arguments: object) -> list[str]:
    """Return the command line of a `samescore` command in this Python."""
    return [sys.executable, "-m", "samescore", *map(str, arguments)]


def module_command(name: str, *arguments: object) -> list[str]:
    """Return the command line of a module in this Python."""
    return [sys.executable, "-m", name, *map(str, arguments)]


@contextmanager
def running(
    command: Sequence[str], said: Path | None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside this process; stop it, by its id, when the block ends.

    Args:
        command: what to run.
        said: gets its standard error; None shares this process's.
        environment: variables on top of this process's.

    Yields:
        The process, its standard output piped.
    """
    process = None
    try:
        with _opened(said) as stream, held_back():
            # A session of its own: Ctrl-C reaches the demo alone, which then stops what it started.
            process = subprocess.Popen(  # noqa: S603 - command lines made in this folder
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=_environment(environment or {}),
                start_new_session=True,
            )
        yield process
    finally:
        if process is not None:
            _end(process)


def run(
    command: Sequence[str], said: Path | None, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a command to its end."""
    with running(command, said, environment) as process:
        output, _ = process.communicate()
        return Finished(process.returncode, output)


def run_lines(
    what: str,
    command: Sequence[str],
    said: Path | None,
    on_line: Callable[[str], object],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end and pass its lines on as they come.

    Raises:
        DemoError: it failed.
    """
    with running(command, said, environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            on_line(line.decode(errors="replace").rstrip())
        if process.wait() != 0:
            raise failed(what, process.returncode, said)


def read_object(what: str, process: subprocess.Popen[bytes], said: Path) -> dict[str, Any]:
    """Return the JSON object that a process prints first, over one or more lines.

    Raises:
        DemoError: it ended without, or took longer than `READY_SECONDS` and was killed.
    """
    assert process.stdout is not None
    timer = Timer(READY_SECONDS, process.kill)
    timer.start()
    text = b""
    try:
        for line in process.stdout:
            text += line
            if line.rstrip() == b"}":
                found: dict[str, Any] = orjson.loads(text)  # Any: JSON
                return found
    finally:
        timer.cancel()
    raise failed(f"{what}, before it was ready,", process.wait(), said)


def finish(what: str, process: subprocess.Popen[bytes], said: Path) -> None:
    """Ask a server to finish what is in flight, and wait for its end.

    Raises:
        DemoError: it does not end, or fails.
    """
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise DemoError(f"{what} did not stop within {STOP_SECONDS:.0f} s of SIGTERM") from None
    if code != 0:
        raise failed(what, code, said)


def failed(what: str, code: int, said: Path | None) -> DemoError:
    """Return the error of a process that failed, with the last lines that it wrote."""
    text = f"{what} failed with exit code {code}"
    if said is None or not said.exists():
        return DemoError(f"{text}; see what it wrote above")
    lines = said.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return DemoError("\n  ".join([f"{text}; the end of {said}:", *lines]))


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception, so that its processes are stopped too."""
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _opened(said: Path | None) -> Iterator[Any]:  # Any: what Popen takes as stderr
    if said is None:
        yield None
        return
    with said.open("ab") as stream:
        yield stream


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    # A person's own SAMESCORE_SERVE_... settings are for a person's own servers.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SAMESCORE_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
