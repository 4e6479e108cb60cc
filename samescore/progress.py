"""A progress bar where a person watches, plain lines where nobody does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

PLAIN_SECONDS: Final = 10.0
"""How often a plain line is printed."""


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show how far a loop has come, on standard error.

    Args:
        what: a few words.
        total: the number of steps, or None if it is not known.

    Yields:
        A function to call once a step.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
    else:
        yield _plain(what, total)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _plain(what: str, total: int | None) -> Callable[[], None]:
    done, shown = 0, time.monotonic()

    def step() -> None:
        nonlocal done, shown
        done += 1
        if done % 256 == 0 and time.monotonic() - shown > PLAIN_SECONDS:
            shown = time.monotonic()
            of = "" if total is None else f" of {total}"
            sys.stderr.write(f"{what}: {done}{of}\n")

    return step


@contextmanager
def byte_progress(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much of so many bytes is done, on standard error.

    Args:
        what: a few words.
        total_bytes: of all the work.

    Yields:
        A function to call with the bytes that were done since the last call.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
            TransferSpeedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total_bytes)
            yield lambda done: bar.advance(task, done)
    else:
        yield _plain_bytes(what, total_bytes)


def _plain_bytes(what: str, total_bytes: int) -> Callable[[int], None]:
    done, shown = 0, time.monotonic()

    def step(more: int) -> None:
        nonlocal done, shown
        done += more
        if time.monotonic() - shown > PLAIN_SECONDS:
            shown = time.monotonic()
            share = done / max(1, total_bytes)
            sys.stderr.write(f"{what}: {share:.1%} of {total_bytes / 1e6:,.0f} MB\n")

    return step
