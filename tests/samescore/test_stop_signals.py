from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from samescore.stop_signals import StopSignals, held_back


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


def test_a_signal_that_comes_at_the_wrong_moment_comes_after_it() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    done: list[str] = []

    def interrupted() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored_where_others_are_held_back() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with held_back():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)


def test_another_thread_holds_nothing_back() -> None:
    def work() -> None:
        with held_back():
            seen.append(signal.getsignal(signal.SIGTERM))

    seen: list[object] = []
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
