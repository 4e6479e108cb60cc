"""A model whose requests run in batches: what upstream's batching session does to a session.

A batch is made of requests for the same tensors, and may compute other last digits than its
requests one by one: that is TensorFlow's doing, and the operator's choice. Everything else stays.

Better than upstream, where one bad request fails every request in its batch: a batch that the graph
refuses is run again request by request, and requests of other dtypes never share a batch. A
request of no rows, which hangs there until its deadline, runs by itself. A request whose deadline
has passed is answered and leaves its batch; there it holds its place and its thread until the batch
is due, and is computed unless the whole batch is late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from serving.model_server import deadline
from serving.model_server.batching import merging
from serving.model_server.batching.parameters import BatchingParameters
from serving.model_server.batching.queue import BatchQueue, BatchScheduler, Task
from serving.model_server.status import Code, StatusError
from serving.model_server.wire import tensors

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from serving.model_server.api import ServedModel, Tensor
    from serving.model_server.observing.serving_metrics import ServingMetrics

MOST_QUEUES: Final = 64
"""Of one model: clients choose outputs and dtypes, and so the queues; further ones run alone."""

_WHERE: Final = "the request was in a batch, or waited for one"

_Key: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]


@dataclass(slots=True, eq=False)
class _Part:
    """A request in a queue, or a part of one that was split.

    Attributes:
        inputs: by the tensor's name.
        rows: of each input.
        queued: when, by `time.monotonic`.
        deadline: after which nobody waits for it, by the same clock.
        outputs: set when it is done.
        error: set instead.
    """

    inputs: Mapping[str, Tensor]
    rows: int
    queued: float
    deadline: float
    outputs: list[Tensor] = field(default_factory=list)
    error: StatusError | None = None
    done: threading.Event = field(default_factory=threading.Event)


class BatchedModel:
    """A model that runs the requests of many threads together.

    Args:
        model: what runs.
        parameters: how.
        scheduler: of all models.
        metrics: is added to.
    """

    def __init__(
        self,
        model: ServedModel,
        parameters: BatchingParameters,
        scheduler: BatchScheduler,
        metrics: ServingMetrics,
    ) -> None:
        self._model, self._parameters = model, parameters
        self._scheduler, self._metrics = scheduler, metrics
        self._queues: dict[_Key, BatchQueue] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def signatures(self) -> Mapping[str, SignatureDef]:
        """By key."""
        return self._model.signatures

    @property
    def thread_hint_seconds(self) -> float:
        """Unknown: a call waits for others."""
        return 0.0

    def close(self) -> None:
        """Run what waits; later calls run alone."""
        with self._lock:
            self._closed = True
            queues = list(self._queues.values())
        for queue in queues:
            self._scheduler.close(queue)

    def run(
        self,
        signature: SignatureDef,
        feeds: Mapping[str, Tensor | TensorProto],
        fetches: tuple[str, ...],
    ) -> list[Tensor]:
        """Compute tensors, together with what other threads ask for at the time.

        Raises:
            StatusError: as the model; or the request cannot be batched, the queue is full, or the
                call's deadline passed first.
        """
        arrays = {
            signature.inputs[alias].name: _array(value) for alias, value in sorted(feeds.items())
        }
        rows = merging.batch_size(arrays)
        names = tuple(signature.outputs[alias].name for alias in fetches)
        queue = self._queue(arrays, names) if rows and len(arrays) == len(feeds) else None
        if queue is None:
            return self._model.run(signature, feeds, fetches)
        parts: list[_Part] = []

        def divide(room: int) -> Sequence[_Part]:
            parts.extend(_divided(arrays, rows, room, self._parameters))
            return parts

        if not self._scheduler.schedule(queue, rows, divide):
            return self._model.run(signature, feeds, fetches)
        self._await(queue, parts)
        found = dict(zip(sorted(set(names)), _gathered(parts), strict=True))
        return [found[name] for name in names]

    def _queue(self, arrays: Mapping[str, Tensor], names: tuple[str, ...]) -> BatchQueue | None:
        self._metrics.input_batch_size.observe(next(iter(arrays.values())).shape[0])
        inputs = tuple(sorted((name, str(array.dtype)) for name, array in arrays.items()))
        outputs = tuple(sorted(set(names)))
        key = (inputs, outputs)
        with self._lock:
            if key not in self._queues:
                if self._closed or len(self._queues) >= MOST_QUEUES:
                    return None
                self._queues[key] = self._added(inputs, outputs)
            return self._queues[key]

    def _added(self, inputs: tuple[tuple[str, str], ...], outputs: tuple[str, ...]) -> BatchQueue:
        signature = _by_tensor([name for name, _ in inputs], outputs)
        queue = BatchQueue(
            self._parameters, lambda tasks: self._process(signature, outputs, _parts(tasks))
        )
        self._scheduler.add(queue)
        return queue

    def _process(
        self, signature: SignatureDef, outputs: tuple[str, ...], parts: list[_Part]
    ) -> None:
        """Run a batch, in a thread of the scheduler."""
        now = time.monotonic()
        for part in parts:
            self._metrics.queuing_latency.observe(int((now - part.queued) * 1e6), "")
        try:
            awaited = _awaited(parts)
            if awaited:
                self._settle(signature, outputs, awaited)
        finally:
            for part in parts:
                part.done.set()

    def _await(self, queue: BatchQueue, parts: Sequence[_Part]) -> None:
        """Wait until a request's parts are done; what was not begun by its deadline never is.

        Raises:
            StatusError: DEADLINE_EXCEEDED.
        """
        for part in parts:
            if not deadline.wait_for(part.done, part.deadline):
                self._scheduler.withdraw(queue, parts)
                raise deadline.exceeded(_WHERE)

    def _settle(
        self, signature: SignatureDef, outputs: tuple[str, ...], parts: list[_Part]
    ) -> None:
        """Give each request its outputs or an error."""
        try:
            self._compute(signature, outputs, parts)
        except _GraphError as error:
            if len(parts) == 1:
                parts[0].error = error.status
                return
            for part in parts:
                for awaited in _awaited([part]):
                    self._settle(signature, outputs, [awaited])
        except BaseException as error:  # noqa: BLE001 - it goes to those who wait
            for part in parts:
                part.error = _as_status(error)

    def _compute(
        self, signature: SignatureDef, outputs: tuple[str, ...], parts: list[_Part]
    ) -> None:
        rows = sum(part.rows for part in parts)
        padded = self._parameters.padded_size(rows)
        self._metrics.padding_size.observe(padded - rows, str(padded))
        self._metrics.processed_batch_size.observe(padded)
        pad_inner = self._parameters.pad_variable_length_inputs
        feeds = merging.merge([p.inputs for p in parts], padded, pad_inner=pad_inner)
        self._metrics.wrapped_run_count.add()
        try:
            found = self._model.run(signature, feeds, outputs)
        except StatusError as error:
            raise _GraphError(error) from error
        merging.check_outputs(found, padded)
        divided = merging.split(found, [part.rows for part in parts])
        for part, own in zip(parts, divided, strict=True):
            part.outputs = own


class _GraphError(Exception):
    """The graph refused a batch.

    Attributes:
        status: what it said.
    """

    def __init__(self, status: StatusError) -> None:
        super().__init__(status.message)
        self.status = status


def _array(value: Tensor | TensorProto) -> Tensor:
    return value if isinstance(value, np.ndarray) else tensors.decode(value)


def _parts(tasks: Sequence[Task]) -> list[_Part]:
    return [task for task in tasks if isinstance(task, _Part)]


def _awaited(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts that somebody still waits for; the others fail."""
    now = time.monotonic()
    for part in parts:
        if part.deadline <= now:
            part.error = deadline.exceeded(_WHERE)
    return [part for part in parts if part.error is None]


def _divided(
    arrays: Mapping[str, Tensor], rows: int, room: int, parameters: BatchingParameters
) -> list[_Part]:
    """Return a request's parts: one, unless it may be split and the open batch cannot take it."""
    now, last = time.monotonic(), deadline.call_deadline()
    if not parameters.split or rows <= room:
        return [_Part(arrays, rows, now, last)]
    parts = []
    start, size = 0, room or parameters.batch_limit
    while start < rows:
        end = min(start + size, rows)
        cut = {name: array[start:end] for name, array in arrays.items()}
        parts.append(_Part(cut, end - start, now, last))
        start, size = end, parameters.batch_limit
    return parts


def _gathered(parts: Sequence[_Part]) -> list[Tensor]:
    """Put the outputs of a request's parts together."""
    failed = next((part.error for part in parts if part.error is not None), None)
    if failed is not None:
        # A new one for each: an error that several threads raise gathers all their tracebacks.
        raise StatusError(failed.code, failed.message)
    if len(parts) == 1:
        return parts[0].outputs
    outputs = zip(*(part.outputs for part in parts), strict=True)
    return [np.concatenate(pieces) for pieces in outputs]


def _as_status(error: BaseException) -> StatusError:
    if isinstance(error, StatusError):
        return error
    return StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def _by_tensor(inputs: Sequence[str], outputs: Sequence[str]) -> SignatureDef:
    """Return a signature whose aliases are the tensors' names."""
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    signature = SignatureDef()
    for name in inputs:
        signature.inputs[name].name = name
    for name in outputs:
        signature.outputs[name].name = name
    return signature
