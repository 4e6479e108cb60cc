from __future__ import annotations

import threading

import pytest

from serving.faces.tfs_threads import Pending, Threads


def test_calls_run_and_call_back_once_each() -> None:
    threads, ran, over = Threads(4, "t"), [], threading.Semaphore(0)
    told: list[Pending] = []
    for i in range(2000):
        pending = threads.submit(ran.append, i)
        pending.add_done_callback(lambda p: (told.append(p), over.release()))
    for _ in range(2000):
        assert over.acquire(timeout=30)
    assert sorted(ran) == list(range(2000))
    assert len(told) == len(set(map(id, told))) == 2000
    assert not over.acquire(blocking=False)
    threads.shutdown()


def test_a_callback_that_comes_late_is_called_at_once() -> None:
    pending, told = Pending(), list[Pending]()
    pending.finish()
    pending.add_done_callback(told.append)
    assert told == [pending]


def test_a_call_that_raises_is_logged_and_the_thread_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads, over = Threads(1, "t"), threading.Event()
    threads.submit(int, "no number")
    threads.submit(over.set)
    assert over.wait(30)
    assert "no number" in caplog.text
    threads.shutdown()


def test_shutting_down_makes_the_calls_that_wait() -> None:
    threads, gate, ran = Threads(1, "leaving"), threading.Event(), list[int]()
    threads.submit(gate.wait, 30)
    threads.submit(ran.append, 1)
    assert not threads.is_idle
    threads.shutdown()
    gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("leaving"):
            thread.join(30)
    assert ran == [1]
    assert threads.is_idle
