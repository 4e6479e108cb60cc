from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.model_server.batching.batched import MOST_QUEUES, BatchedModel, _by_tensor, _Part
from serving.model_server.batching.parameters import BatchingParameters
from serving.model_server.batching.queue import BatchScheduler
from serving.model_server.deadline import call_deadline, until
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.saved_model_files import load_saved_model
from serving.model_server.observing.serving_metrics import ServingMetrics
from serving.model_server.status import Code, StatusError

pytestmark = pytest.mark.slow

MATRIX = Path(__file__).parents[3] / "data/tfs/testdata/batching_matrix_half_plus_two/1"
SECOND = 1_000_000


class Held:
    """A model that lets batches wait until it is told, and notes them."""

    def __init__(self, model: SavedModel) -> None:
        self.model, self.signatures, self.thread_hint_seconds = model, model.signatures, 0.5
        self.going, self.batches = threading.Event(), list[tuple[int, ...]]()
        self.entered = threading.Semaphore(0)
        self.going.set()

    def run(self, signature: Any, feeds: Mapping[str, Any], fetches: tuple[str, ...]) -> list[Any]:
        self.entered.release()
        assert self.going.wait(30)
        self.batches.append(next(iter(feeds.values())).shape)
        return self.model.run(signature, feeds, fetches)


@pytest.fixture(scope="module")
def matrix() -> SavedModel:
    return load_saved_model(MATRIX)


@pytest.fixture
def held(matrix: SavedModel) -> Held:
    return Held(matrix)


@pytest.fixture
def metrics() -> ServingMetrics:
    return ServingMetrics()


Batched = Callable[..., Callable[[Any], Any]]


@pytest.fixture
def batched(held: Held, metrics: ServingMetrics) -> Iterator[Batched]:
    """Return what makes a call of the model in batches with some parameters."""
    scheduler = BatchScheduler(2)

    def make(**given: Any) -> Callable[[Any], Any]:
        model = BatchedModel(held, BatchingParameters(**given), scheduler, metrics)
        signature = model.signatures["serving_default"]
        (alias,) = signature.inputs
        outputs = tuple(signature.outputs)

        def call(x: Any) -> Any:
            return model.run(signature, {alias: np.asarray(x)}, outputs)[0]

        call.model = model  # type: ignore[attr-defined]
        return call

    yield make
    scheduler.stop()


def rows(*values: float) -> np.ndarray:
    return np.array([[v] for v in values], np.float32)


def together(call: Callable[[Any], Any], *inputs: Any) -> list[Any]:
    """Call in as many threads; an error is returned, not raised."""

    def one(x: Any) -> Any:
        try:
            return call(x).tolist()
        except StatusError as error:
            return error

    with ThreadPoolExecutor(len(inputs)) as pool:
        return list(pool.map(one, inputs))


def test_requests_run_together_and_each_gets_its_own(
    batched: Batched, held: Held, metrics: ServingMetrics
) -> None:
    call = batched(max_batch_size=6, batch_timeout_micros=60 * SECOND)
    answers = together(call, rows(1), rows(2, 3), rows(4, 5, 6))
    assert answers == [[[2.5]], [[3.0], [3.5]], [[4.0], [4.5], [5.0]]]
    assert held.batches == [(6, 1)]
    assert metrics.wrapped_run_count.total() == 1
    assert metrics.queuing_latency.cells()["",].counts[-1] >= 0
    assert sum(metrics.queuing_latency.cells()["",].counts) == 3
    assert metrics.input_batch_size.cells()[()].sum == 6
    assert metrics.processed_batch_size.cells()[()].sum == 6


def test_many_threads_get_bit_by_bit_what_each_would_alone(
    batched: Batched, matrix: SavedModel
) -> None:
    call = batched(allowed_batch_sizes=(8, 64, 1000), num_batch_threads=2)
    signature = matrix.signatures["serving_default"]
    generator = np.random.default_rng(7)
    inputs = [generator.normal(size=(1 + n % 3, 4)).astype(np.float32) for n in range(400)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(call, inputs))
    (alias,), outputs = signature.inputs, tuple(signature.outputs)
    for given, answer in zip(inputs, answers, strict=True):
        (alone,) = matrix.run(signature, {alias: given}, outputs)
        assert (answer.shape, answer.dtype) == (alone.shape, alone.dtype)
        assert answer.tobytes() == alone.tobytes()


def test_a_batch_is_filled_up_to_an_allowed_size(
    batched: Batched, held: Held, metrics: ServingMetrics
) -> None:
    call = batched(max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert call(rows(1, 2, 3)).tolist() == [[2.5], [3.0], [3.5]]
    assert held.batches == [(4, 1)]
    assert metrics.padding_size.cells()["4",].sum == 1


def test_a_scalar_and_a_request_that_is_too_large(batched: Batched) -> None:
    call = batched(max_batch_size=4)
    with pytest.raises(StatusError, match="must have at least one dimension") as raised:
        call(np.float32(1))
    assert raised.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(StatusError, match="Task size 5 is larger than maximum input batch size 4"):
        call(rows(1, 2, 3, 4, 5))


def test_a_request_of_no_rows_is_answered(batched: Batched, held: Held) -> None:
    found = batched(max_batch_size=4, batch_timeout_micros=60 * SECOND)(
        np.zeros((0, 3), np.float32)
    )
    assert found.shape == (0, 3)
    assert held.batches == [(0, 3)]


def test_other_inner_shapes(batched: Batched) -> None:
    wide, narrow = np.ones((1, 3), np.float32), np.zeros((1, 2), np.float32)
    refused = together(batched(max_batch_size=2, batch_timeout_micros=60 * SECOND), wide, narrow)
    assert all(error.code is Code.FAILED_PRECONDITION for error in refused)
    assert "Set pad_variable_length_inputs to true" in refused[0].message
    call = batched(
        max_batch_size=2, batch_timeout_micros=60 * SECOND, pad_variable_length_inputs=True
    )
    assert together(call, wide, narrow) == [[[2.5, 2.5, 2.5]], [[2.0, 2.0, 2.0]]]


def test_a_large_request_is_split(batched: Batched, held: Held) -> None:
    call = batched(max_batch_size=9, split=True, max_execution_batch_size=4)
    assert call(rows(*range(9))).tolist() == [[n / 2 + 2] for n in range(9)]
    assert sorted(held.batches) == [(1, 1), (4, 1), (4, 1)]


def test_a_wrong_dtype_fails_alone(batched: Batched) -> None:
    call = batched(max_batch_size=2, batch_timeout_micros=20_000)
    right, wrong = together(call, rows(2), np.array([[2]], np.int32))
    assert right == [[3.0]]
    assert wrong.message == "Expects arg[0] to be float but int32 is provided"


def test_a_bad_example_fails_alone(
    loaded_model: Callable[[str], SavedModel], metrics: ServingMetrics
) -> None:
    """Upstream fails the whole batch."""
    held, scheduler = Held(loaded_model("examples")), BatchScheduler(1)
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=60 * SECOND)
    model = BatchedModel(held, parameters, scheduler, metrics)
    signature = model.signatures["vector"]

    def call(example: bytes) -> Any:
        return model.run(signature, {"inputs": np.array([example], object)}, ("outputs",))[0]

    from tensorflow.core.example.example_pb2 import Example

    text = Example()
    text.features.feature["x"].bytes_list.value.append(b"no number")
    right, wrong = together(call, b"", text.SerializeToString())
    scheduler.stop()
    assert right == [0.0]
    assert "Data types don't match" in wrong.message
    assert held.batches == [(2,), (1,), (1,)]


def test_a_closed_model_answers_alone(batched: Batched, held: Held) -> None:
    call = batched(batch_timeout_micros=3600 * SECOND)
    held.going.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, rows(1))
        while not call.model._queues:  # type: ignore[attr-defined]
            time.sleep(0.001)
        held.going.set()
        call.model.close()  # type: ignore[attr-defined]
        assert waiting.result(30).tolist() == [[2.5]]
    assert call(rows(2)).tolist() == [[3.0]]


def test_clients_cannot_make_queues_without_end(batched: Batched) -> None:
    call = batched()
    model = call.model  # type: ignore[attr-defined]
    call(rows(1))
    for n in range(MOST_QUEUES + 5):
        model._queue({f"x{n}:0": rows(1)}, ("y:0",))
    assert len(model._queues) == MOST_QUEUES
    assert model.thread_hint_seconds == 0.0


# ------------------------------------------------------------------------------------- deadlines


def late(call: Callable[[Any], Any], x: Any, seconds: float) -> StatusError:
    """Call with a deadline that passes."""
    with pytest.raises(StatusError) as raised, until(time.monotonic() + seconds):
        call(x)
    assert raised.value.code is Code.DEADLINE_EXCEEDED
    return raised.value


def test_a_request_is_answered_at_its_deadline_and_never_computed(
    batched: Batched, held: Held
) -> None:
    call = batched(max_batch_size=3, batch_timeout_micros=3600 * SECOND)
    error = late(call, rows(100), 0.05)
    assert error.message == "Deadline Exceeded: the request was in a batch, or waited for one"
    assert together(call, rows(1), rows(2), rows(3)) == [[[2.5]], [[3.0]], [[3.5]]]
    assert held.batches == [(3, 1)]
    assert call_deadline() == float("inf")


def test_a_deadline_that_does_not_pass_changes_nothing(batched: Batched) -> None:
    call = batched(max_batch_size=4, batch_timeout_micros=1000)
    for seconds in (60, 1e9, 9e18):  # the last is gRPC's word for none
        with until(time.monotonic() + seconds):
            assert call(rows(1)).tolist() == [[2.5]]


def test_one_that_is_computed_is_answered_at_its_deadline_too(batched: Batched, held: Held) -> None:
    call = batched(max_batch_size=1)
    held.going.clear()
    late(call, rows(2), 0.1)
    held.going.set()
    assert call(rows(1)).tolist() == [[2.5]]


def test_all_parts_of_a_split_request_leave(batched: Batched, held: Held) -> None:
    call = batched(
        max_batch_size=9,
        split=True,
        max_execution_batch_size=4,
        batch_timeout_micros=3600 * SECOND,
    )
    held.going.clear()
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(call, rows(0, 0, 0, 0)) for _ in range(2)]
        for _ in busy:  # both threads of the scheduler are at one
            assert held.entered.acquire(timeout=30)
        late(call, rows(*range(9)), 0.05)
        held.going.set()
        assert [b.result(30).tolist() for b in busy] == [[[2.0]] * 4] * 2
    assert together(call, rows(1, 2), rows(3, 4)) == [[[2.5], [3.0]], [[3.5], [4.0]]]
    assert held.batches == [(4, 1)] * 3


@pytest.mark.parametrize("wrong", [None, 1])
def test_a_late_request_is_not_computed_even_if_its_thread_has_not_noticed(
    held: Held, metrics: ServingMetrics, wrong: int | None
) -> None:
    """The others of its batch get what they would get without it, also when one is refused."""
    model = BatchedModel(held, BatchingParameters(), BatchScheduler(1), metrics)
    (tensor,) = (info.name for info in model.signatures["serving_default"].inputs.values())
    outputs = tuple(info.name for info in model.signatures["serving_default"].outputs.values())
    given: list[Any] = [rows(1), rows(100), rows(3)]
    if wrong is not None:
        given = [np.array([["no number"]], object), *given]
    now = time.monotonic()
    parts = [
        _Part({tensor: x}, 1, now, deadline=now - 1 if x is given[-2] else now + 60) for x in given
    ]
    model._process(_by_tensor([tensor], outputs), outputs, parts)
    *_, first, second, third = parts
    assert [part.outputs[0].tolist() for part in (first, third)] == [[[2.5]], [[3.5]]]
    assert second.error is not None
    assert second.error.code is Code.DEADLINE_EXCEEDED
    assert sum(shape[0] for shape in held.batches) == (2 if wrong is None else 6)
    assert all(part.done.is_set() for part in parts)
