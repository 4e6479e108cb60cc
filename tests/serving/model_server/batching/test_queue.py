from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from serving.model_server.batching.parameters import BatchingParameters
from serving.model_server.batching.queue import BatchQueue, BatchScheduler, Task
from serving.model_server.status import Code, StatusError

HOUR = 3600 * 1_000_000


@dataclass
class Rows:
    rows: int


class Ran:
    """Notes the sizes of batches; `hold` keeps the thread that runs one."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.going = threading.Event()
        self.started = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def __call__(self, tasks: Sequence[Task]) -> None:
        self.started.release()
        assert self.going.wait(30)
        self.batches.append([task.rows for task in tasks])
        self.ended.release()


@pytest.fixture
def ran() -> Ran:
    return Ran()


@pytest.fixture
def scheduler() -> Iterator[BatchScheduler]:
    found = BatchScheduler(1)
    yield found
    found.stop()


Put = Callable[[int], bool]


def queue_of(scheduler: BatchScheduler, ran: Ran, **given: int) -> tuple[BatchQueue, Put]:
    queue = BatchQueue(BatchingParameters(**given), ran)  # type: ignore[arg-type]
    scheduler.add(queue)
    return queue, lambda rows: scheduler.schedule(queue, rows, lambda _: [Rows(rows)])


def test_what_arrives_while_a_thread_is_busy_becomes_one_batch(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    _, put = queue_of(scheduler, ran, max_batch_size=10)
    put(1)
    assert ran.started.acquire(timeout=30)
    for rows in (2, 3, 5, 1):
        put(rows)
    ran.going.set()
    for _ in range(3):
        assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[1], [2, 3, 5], [1]]


def test_a_full_batch_does_not_wait_for_its_time(scheduler: BatchScheduler, ran: Ran) -> None:
    ran.going.set()
    _, put = queue_of(scheduler, ran, max_batch_size=4, batch_timeout_micros=HOUR)
    for _ in range(5):
        put(2)
    for _ in range(2):
        assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[2, 2], [2, 2]]


def test_one_that_is_not_full_runs_when_its_time_has_come(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    ran.going.set()
    _, put = queue_of(scheduler, ran, batch_timeout_micros=100_000)
    started = time.monotonic()
    put(1)
    assert ran.ended.acquire(timeout=30)
    assert time.monotonic() - started >= 0.1


def test_a_request_larger_than_a_batch(scheduler: BatchScheduler, ran: Ran) -> None:
    _, put = queue_of(scheduler, ran, max_batch_size=4)
    with pytest.raises(StatusError) as raised:
        put(5)
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert raised.value.message == "Task size 5 is larger than maximum input batch size 4"


def test_a_full_queue(scheduler: BatchScheduler, ran: Ran) -> None:
    _, put = queue_of(scheduler, ran, max_batch_size=2, max_enqueued_batches=2)
    put(2)
    assert ran.started.acquire(timeout=30)  # it is no longer in the queue
    put(2)
    put(2)
    with pytest.raises(StatusError) as raised:
        put(1)
    assert raised.value.code is Code.UNAVAILABLE
    assert raised.value.message == (
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches "
        "enqueued and max_enqueued_batches is 2"
    )
    ran.going.set()
    for _ in range(3):
        assert ran.ended.acquire(timeout=30)


def test_a_full_queue_of_requests_that_may_be_split(scheduler: BatchScheduler, ran: Ran) -> None:
    queue, _ = queue_of(scheduler, ran, max_batch_size=9, max_enqueued_batches=2, split=True,
                        max_execution_batch_size=3)  # fmt: skip
    with pytest.raises(StatusError) as raised:
        scheduler.schedule(queue, 7, lambda _: [Rows(7)])
    assert raised.value.message == (
        "The batch scheduling queue to which this task was submitted is full; task size is 7 but "
        "scheduling capacity is only 6 (num_enqueued_batches=1, max_enqueued_batches=2, "
        "open_batch_size=0, max_execution_batch_size=3)"
    )


def test_queues_take_turns(scheduler: BatchScheduler) -> None:
    order: list[str] = []
    going, ended = threading.Event(), threading.Semaphore(0)

    def process(name: str) -> Callable[[Sequence[Task]], None]:
        def run(_: Sequence[Task]) -> None:
            going.wait(30)
            order.append(name)
            ended.release()

        return run

    queues = {name: BatchQueue(BatchingParameters(max_batch_size=1), process(name))
              for name in "ab"}  # fmt: skip
    for queue in queues.values():
        scheduler.add(queue)
    for name in "aaabb":
        scheduler.schedule(queues[name], 1, lambda _: [Rows(1)])
    going.set()
    for _ in range(5):
        assert ended.acquire(timeout=30)
    assert "".join(order) in {"ababa", "aabab"}  # the first may run before the second queue has any


def test_closing_runs_what_waits_and_takes_nothing_more(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    ran.going.set()
    queue, put = queue_of(scheduler, ran, batch_timeout_micros=HOUR)
    assert put(1)
    scheduler.close(queue)
    assert ran.ended.acquire(timeout=30)
    assert not put(1)
