"""The model server over gRPC: Predict on half_plus_two, one core for it, one client process.

The client is the unmodified one of tensorflow-serving-api. Beside it stand a bare servicer, which
is what Python's grpc costs without any model, and the same SavedModel, called in this process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns
from typing import Any, Final, TypeAlias

from benchmarks.budgets import measured, quantile
from benchmarks.processes import pinned, running, two_cores
from benchmarks.results import Result
from benchmarks.workload import ROOT, BenchmarkError, Workload, say

Message: TypeAlias = Any  # Any: of the protocol, or grpc's own; neither has types
Predict: TypeAlias = Any  # Any: grpc's multi-callable

MODEL: Final = ROOT / "tests" / "data" / "tfs" / "testdata" / "saved_model_half_plus_two_cpu"
IN_FLIGHT: Final = 16
_WARM_UP: Final = 500
_VALUES: Final = (1.0, 2.0, 5.0)
_EXPECTED: Final = [2.5, 3.0, 4.5]


@dataclass(slots=True)
class _Rounds:
    """What one contestant was measured at.

    Attributes:
        predict: its call.
        singles: nanoseconds of each call, one after another, by round.
        crowds: calls a second with 16 in flight, by round.
    """

    predict: Predict
    singles: list[list[int]] = field(default_factory=list)
    crowds: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Calls a second, one after another, by round."""
        return [len(block) / sum(block) * 1e9 for block in self.singles]

    @property
    def p50_us(self) -> list[float]:
        """The median call's microseconds, by round."""
        return [quantile(block, 0.5) / 1e3 for block in self.singles]


def measure(workload: Workload) -> Iterator[Result]:
    """Ask one request after another, then 16 at a time; contestants and rounds take turns."""
    with _served(workload) as (ours, bare):
        request = _request()
        for contestant in (ours, bare):
            _check(contestant.predict(request))
            _one_by_one(contestant.predict, request, _WARM_UP)
        for _ in range(workload.effort.rounds):
            for each in (ours, bare):
                each.singles.append(_one_by_one(each.predict, request, workload.effort.block))
                each.crowds.append(_at_once(each.predict, request, workload.effort.many))
    inside = quantile(_in_process(_WARM_UP + workload.effort.block)[_WARM_UP:], 0.5) / 1e3
    yield _beside("model_server.sequential_rps", ours.rates, bare.rates)
    yield _beside("model_server.inflight16_rps", ours.crowds, bare.crowds)
    yield measured(
        "model_server.added_p50_us",
        [value - inside for value in ours.p50_us],
        peer=f"in process, p50 {inside:.0f} µs; a bare servicer, {median(bare.p50_us):.0f} µs",
    )


def _beside(name: str, ours: list[float], bare: list[float]) -> Result:
    peer = f"a bare servicer, {median(bare):.0f} 1/s"
    return measured(name, ours, peer=peer, ratio=median(ours) / median(bare))


@contextmanager
def _served(workload: Workload) -> Iterator[tuple[_Rounds, _Rounds]]:
    """Run the model server and the bare servicer, which take turns on one core."""
    cores = two_cores()
    say(f"model server: {cores}")
    command = [
        *(sys.executable, "-m", "samescore", "model-server", "--port=auto", "--json"),
        *("--model_name=half", f"--model_base_path={MODEL}"),
    ]
    bare = [sys.executable, "-m", "benchmarks.bare_servicer"]
    with (
        running(command, workload.scratch / "model_server.log", cores.server) as one,
        running(bare, workload.scratch / "bare_servicer.log", cores.server) as other,
        pinned(cores.client),
        _predict(one["grpc"]) as ours,
        _predict(other["grpc"]) as peer,
    ):
        yield _Rounds(ours), _Rounds(peer)


@contextmanager
def _predict(address: str) -> Iterator[Predict]:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


def _request() -> Message:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half"
    tensor = request.inputs["x"]
    tensor.dtype = 1  # DT_FLOAT
    tensor.tensor_shape.dim.add().size = len(_VALUES)
    tensor.float_val.extend(_VALUES)
    return request


def _check(response: Message) -> None:
    found = list(response.outputs["y"].float_val)
    if found != _EXPECTED:
        raise BenchmarkError(f"the model server answers {found}, not {_EXPECTED}")


def _one_by_one(predict: Predict, request: Message, number: int) -> list[int]:
    """Return the nanoseconds of each call."""
    taken = []
    for _ in range(number):
        start = perf_counter_ns()
        predict(request)
        taken.append(perf_counter_ns() - start)
    return taken


def _at_once(predict: Predict, request: Message, number: int) -> float:
    """Return calls a second with 16 in flight."""
    free = threading.Semaphore(IN_FLIGHT)
    failures: list[str] = []

    def over(call: Message) -> None:
        if call.code().value[0]:
            failures.append(str(call.details()))
        free.release()

    start = perf_counter_ns()
    for _ in range(number):
        free.acquire()
        predict.future(request).add_done_callback(over)
    for _ in range(IN_FLIGHT):
        free.acquire()
    seconds = (perf_counter_ns() - start) / 1e9
    if failures:
        raise BenchmarkError(f"{len(failures)} calls failed, the first with: {failures[0]}")
    return number / seconds


def _in_process(number: int) -> list[int]:
    """Return the nanoseconds of each call of the SavedModel, arrays in and out."""
    import numpy as np

    from serving.model_server.models.saved_model_files import load_saved_model

    model = load_saved_model(next(MODEL.iterdir()))
    signature = model.signatures["serving_default"]
    values = np.asarray(_VALUES, np.float32)
    taken = []
    for _ in range(number):
        start = perf_counter_ns()
        model.run(signature, {"x": values}, ("y",))
        taken.append(perf_counter_ns() - start)
    return taken
