from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.loaders.runtimes.threads import ThreadCount, cores


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1


def test_the_library_is_told_only_when_the_number_changes() -> None:
    told: list[int] = []
    count = ThreadCount(told.append)
    for asked in (1, 1, 2, 2, None, 1):
        with count.of(asked):
            pass
    assert told == [1, 2, 1]


def test_each_calling_thread_is_told_since_openmp_keeps_a_number_for_each() -> None:
    told: list[tuple[int, str]] = []
    count = ThreadCount(lambda n: told.append((n, threading.current_thread().name)))

    def call() -> None:
        with count.of(2):
            pass

    for name in ("first", "second"):
        thread = threading.Thread(target=call, name=name)
        thread.start()
        thread.join()
    assert told == [(2, "first"), (2, "second")]


def test_another_number_waits_until_the_calls_with_this_one_are_done() -> None:
    current: list[int] = [0]
    wrong: list[tuple[int, int]] = []
    count = ThreadCount(lambda n: current.__setitem__(0, n))

    def call(number: int) -> None:
        for _ in range(200):
            with count.of(number):
                if current[0] != number:
                    wrong.append((number, current[0]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, (1, 2, 1, 2)))
    assert wrong == []


def test_calls_with_the_same_number_run_side_by_side() -> None:
    count = ThreadCount(lambda _: None)
    both = threading.Barrier(2, timeout=30)

    def call() -> None:
        with count.of(1):
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(call), pool.submit(call)]:
            done.result()


def test_a_failing_call_frees_the_number() -> None:
    count = ThreadCount(lambda _: None)
    for asked in (1, 2):
        with pytest.raises(ValueError, match="failed"), count.of(asked):
            int("failed")
