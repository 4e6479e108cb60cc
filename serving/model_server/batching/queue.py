"""The queues of batches, one a signature, and the threads that all of them share.

The rules are those of upstream's shared batch scheduler: a queue holds closed batches and one open
one; the open one may run once it is full or its first request has waited long enough; threads take
from the queues in turn. Better than there: its threads look every millisecond, these sleep until
there is something to do; and a request that nobody waits for any more is withdrawn, which gives its
place to another and changes for none of the others when they run.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from serving.model_server.batching.parameters import BatchingParameters
from serving.model_server.status import Code, StatusError, invalid

_MICROS: Final = 1e-6


class Task(Protocol):
    """What waits in a queue. No task equals another."""

    @property
    def rows(self) -> int:
        """Its size."""
        ...


@dataclass(slots=True, eq=False)
class _Batch:
    tasks: dict[Task, None] = field(default_factory=dict)  # a set that keeps the order
    rows: int = 0
    due: float = 0.0  # by `time.monotonic`, once there is a task
    was_full: bool = False


class BatchQueue:
    """Gathers tasks to batches. The scheduler's lock is held in every call of it.

    Args:
        parameters: when a batch is ready.
        process: runs one, in a thread of the scheduler; it must not raise.
    """

    def __init__(
        self, parameters: BatchingParameters, process: Callable[[Sequence[Task]], None]
    ) -> None:
        self._parameters, self.process = parameters, process
        self._batches: deque[_Batch] = deque([_Batch()])
        self.closed = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return len(self._batches) == 1 and not self._batches[0].tasks

    def room(self) -> int:
        """Rows that the open batch still takes."""
        return self._parameters.batch_limit - self._batches[-1].rows

    def check(self, rows: int) -> None:
        """Refuse a request that finds no place.

        Raises:
            StatusError: INVALID_ARGUMENT, it is too large. UNAVAILABLE, the queue is full.
        """
        given = self._parameters
        if rows > given.max_batch_size:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size {given.max_batch_size}"
            )
        # Upstream takes 0 for 1 here, as many have set it so.
        most = max(given.max_enqueued_batches, 1)
        waiting = len(self._batches)
        full = "The batch scheduling queue to which this task was submitted is full; "
        if given.split:
            capacity = (most - waiting) * given.batch_limit + self.room()
            if rows > capacity:
                raise StatusError(
                    Code.UNAVAILABLE,
                    f"{full}task size is {rows} but scheduling capacity is only {capacity}"
                    f" (num_enqueued_batches={waiting}, max_enqueued_batches={most},"
                    f" open_batch_size={self._batches[-1].rows},"
                    f" max_execution_batch_size={given.batch_limit})",
                )
        elif rows > self.room() and waiting >= most:
            raise StatusError(
                Code.UNAVAILABLE,
                f"{full}currently {waiting} batches enqueued and max_enqueued_batches is {most}",
            )

    def put(self, tasks: Sequence[Task]) -> None:
        """Add the tasks of one request, which was checked; none larger than a batch."""
        for task in tasks:
            if task.rows > self.room():
                self._batches.append(_Batch())
            batch = self._batches[-1]
            if not batch.tasks:
                batch.due = time.monotonic() + self._parameters.batch_timeout_micros * _MICROS
            batch.tasks[task] = None
            batch.rows += task.rows
            batch.was_full |= self.room() <= 0

    def withdraw(self, task: Task) -> None:
        """Take a task out, if it still waits."""
        # From the oldest: there are those who have waited too long.
        batch = next((b for b in self._batches if task in b.tasks), None)
        if batch is None:
            return
        del batch.tasks[task]
        batch.rows -= task.rows
        if not batch.tasks:
            is_open = batch is self._batches[-1]
            self._batches.remove(batch)
            if is_open:
                self._batches.append(_Batch())

    def due(self) -> float | None:
        """Return when a batch may run, by `time.monotonic`; None: nothing waits."""
        if self.is_empty:
            return None
        # One that was full stays ready: the others in it must not wait for whom they lost.
        ready = len(self._batches) > 1 or self.closed or self._batches[0].was_full
        return 0.0 if ready else self._batches[0].due

    def take(self) -> Sequence[Task]:
        """Return the oldest batch."""
        found = self._batches.popleft()
        if not self._batches:
            self._batches.append(_Batch())
        return list(found.tasks)


class BatchScheduler:
    """Threads that run the batches of many queues. Any thread may call.

    Args:
        threads: how many batches run at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._queues: list[BatchQueue] = []
        self._turn = 0
        self._changed = threading.Condition()
        self._started = self._stopping = False

    def add(self, queue: BatchQueue) -> None:
        """Serve a queue from now on."""
        with self._changed:
            self._queues.append(queue)
            if not self._started:
                self._started = True
                for number in range(self._threads):
                    name = f"batch-{number}"
                    threading.Thread(target=self._work, name=name, daemon=True).start()

    def close(self, queue: BatchQueue) -> None:
        """Run what waits in a queue, and forget it. It takes nothing more."""
        with self._changed:
            queue.closed = True
            if queue.is_empty:
                self._drop(queue)
            self._changed.notify_all()

    def stop(self) -> None:
        """End the threads, once nothing waits."""
        with self._changed:
            self._stopping = True
            for queue in self._queues:
                queue.closed = True
            self._changed.notify_all()

    def schedule(
        self, queue: BatchQueue, rows: int, divide: Callable[[int], Sequence[Task]]
    ) -> bool:
        """Put a request into a queue.

        Args:
            queue: that was added.
            rows: of the request, 1 at least.
            divide: returns its tasks; it is told how many rows the open batch still takes.

        Returns:
            False: the queue is closed and took nothing.

        Raises:
            StatusError: see `BatchQueue.check`.
        """
        with self._changed:
            if queue.closed:
                return False
            queue.check(rows)
            queue.put(divide(queue.room()))
            self._changed.notify()
            return True

    def withdraw(self, queue: BatchQueue, tasks: Sequence[Task]) -> None:
        """Take those tasks of a request out of its queue that do not run yet."""
        with self._changed:
            for task in tasks:
                queue.withdraw(task)
            if queue.closed and queue.is_empty:
                self._drop(queue)

    def _work(self) -> None:
        while True:
            with self._changed:
                found = self._wait()
                if found is None:
                    return
                queue, tasks = found
            queue.process(tasks)

    def _wait(self) -> tuple[BatchQueue, Sequence[Task]] | None:
        """Return the next batch, or None when the threads are to end."""
        while True:
            queue, seconds = self._next()
            if queue is not None:
                tasks = queue.take()
                if queue.due() is not None:
                    self._changed.notify()  # there is work for one more
                elif queue.closed:
                    self._drop(queue)
                return queue, tasks
            if self._stopping:
                return None
            self._changed.wait(seconds)

    def _next(self) -> tuple[BatchQueue | None, float | None]:
        """Return a queue with a batch that may run, in turn; else the seconds until one has."""
        now, earliest = time.monotonic(), None
        count = len(self._queues)
        for place in itertools.islice(itertools.count(self._turn), count):
            queue = self._queues[place % count]
            due = queue.due()
            if due is None:
                continue
            if due <= now:
                self._turn = (place + 1) % count
                return queue, None
            earliest = due if earliest is None else min(earliest, due)
        return None, None if earliest is None else earliest - now

    def _drop(self, queue: BatchQueue) -> None:
        if queue in self._queues:
            self._queues.remove(queue)
