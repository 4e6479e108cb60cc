from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from serving.model_server.batching.parameters import BatchingParameters
from serving.model_server.batching.queue import BatchQueue, BatchScheduler, Task
from serving.model_server.status import Code, StatusError

HOUR = 3600 * 1_000_000


@dataclass(eq=False)
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


# ------------------------------------------------------------------------------------ withdrawing


def _undivided(task: Rows, _room: int) -> list[Rows]:
    return [task]


def put_all(scheduler: BatchScheduler, queue: BatchQueue, *sizes: int) -> list[Rows]:
    tasks = [Rows(size) for size in sizes]
    for task in tasks:
        assert scheduler.schedule(queue, task.rows, partial(_undivided, task))
    return tasks


def test_a_withdrawn_request_does_not_run_and_its_place_is_free(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    queue, put = queue_of(scheduler, ran, max_batch_size=4, batch_timeout_micros=HOUR)
    ran.going.set()
    first, _ = put_all(scheduler, queue, 2, 1)
    scheduler.withdraw(queue, [first])
    put(3)  # with the first still there it would not fit
    assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[1, 3]]


def test_a_full_batch_stays_ready_when_it_loses_a_request(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    queue, put = queue_of(scheduler, ran, max_batch_size=4, batch_timeout_micros=HOUR)
    put(4)
    assert ran.started.acquire(timeout=30)  # the one thread is busy
    _, second = put_all(scheduler, queue, 3, 1)
    scheduler.withdraw(queue, [second])
    ran.going.set()
    for _ in range(2):
        assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[4], [3]]


def test_a_closed_batch_stays_ready_when_the_open_one_is_emptied(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    queue, put = queue_of(scheduler, ran, max_batch_size=4, batch_timeout_micros=HOUR)
    put(4)
    assert ran.started.acquire(timeout=30)
    _, second = put_all(scheduler, queue, 3, 2)  # the second opens a batch of its own
    scheduler.withdraw(queue, [second])
    ran.going.set()
    for _ in range(2):
        assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[4], [3]]


def test_an_emptied_batch_leaves_the_queue_and_room_for_another(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    queue, put = queue_of(scheduler, ran, max_batch_size=2, max_enqueued_batches=2)
    put(2)
    assert ran.started.acquire(timeout=30)
    first, _ = put_all(scheduler, queue, 2, 2)
    with pytest.raises(StatusError, match=r"queue .* is full"):
        put(1)
    scheduler.withdraw(queue, [first])
    put(1)
    ran.going.set()
    for _ in range(3):
        assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[2], [2], [1]]


def test_the_time_of_a_batch_begins_anew_once_all_have_left(
    scheduler: BatchScheduler, ran: Ran
) -> None:
    queue, put = queue_of(scheduler, ran, max_batch_size=4, batch_timeout_micros=400_000)
    ran.going.set()
    tasks = put_all(scheduler, queue, 1, 2)
    scheduler.withdraw(queue, tasks)
    assert queue.is_empty
    time.sleep(0.3)
    put_at = time.monotonic()
    put(1)
    assert ran.ended.acquire(timeout=30)
    assert time.monotonic() - put_at >= 0.4
    assert ran.batches == [[1]]


def test_what_runs_or_ran_cannot_be_withdrawn(scheduler: BatchScheduler, ran: Ran) -> None:
    queue, _ = queue_of(scheduler, ran, max_batch_size=4)
    tasks = put_all(scheduler, queue, 1)
    assert ran.started.acquire(timeout=30)
    scheduler.withdraw(queue, tasks)
    ran.going.set()
    assert ran.ended.acquire(timeout=30)
    scheduler.withdraw(queue, tasks)
    assert ran.batches == [[1]]


def test_a_closed_queue_that_is_emptied_is_forgotten(scheduler: BatchScheduler, ran: Ran) -> None:
    queue, put = queue_of(scheduler, ran, max_batch_size=1)
    put(1)
    assert ran.started.acquire(timeout=30)
    tasks = put_all(scheduler, queue, 1)
    scheduler.close(queue)
    scheduler.withdraw(queue, tasks)
    ran.going.set()
    assert ran.ended.acquire(timeout=30)
    assert ran.batches == [[1]]
    other, put_other = queue_of(scheduler, ran, max_batch_size=1)
    put_other(1)
    assert ran.ended.acquire(timeout=30)
    scheduler.close(other)
