from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from samescore.stop_signals import StopSignals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    held = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in held.items():
        signal.signal(number, handler)


def test_work_that_ends_is_waited_for() -> None:
    done: list[int] = []
    assert StopSignals().wait_for(lambda: done.append(1))
    assert done == [1]


def test_what_work_raises_is_raised_in_the_thread_that_waits() -> None:
    with pytest.raises(ValueError, match="no number"):
        StopSignals().wait_for(lambda: int("no number"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_waiting_and_the_next_is_the_systems(number: signal.Signals) -> None:
    signals, never = StopSignals(), threading.Event()
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    assert not signals.wait_for(lambda: never.wait(30))
    assert signals.stopping.is_set()
    assert signal.getsignal(number) is signal.SIG_DFL
    never.set()
