from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.saved_model_files import load_saved_model
from serving.model_server.models.warmup import FILE, warm_up
from serving.model_server.observing.serving_metrics import ServingMetrics
from serving.model_server.status import Code, StatusError
from serving.model_server.wire import tensors
from serving.model_server.wire.tfrecord import read_records

pytestmark = pytest.mark.slow

TESTDATA = Path(__file__).parents[3] / "data/tfs/testdata"
HALF = TESTDATA / "saved_model_half_plus_two_cpu/00000123"


class Noted:
    """Notes the signatures that run."""

    def __init__(self, model: SavedModel) -> None:
        self._model, self.signatures, self.thread_hint_seconds = model, model.signatures, 0.0
        self.ran: list[str] = []

    def run(self, signature: Any, feeds: Any, fetches: tuple[str, ...]) -> Any:
        self.ran.append(",".join(fetches))
        return self._model.run(signature, feeds, fetches)


@pytest.fixture
def model() -> Noted:
    return Noted(load_saved_model(HALF))


@pytest.fixture
def metrics() -> ServingMetrics:
    return ServingMetrics()


Version = Callable[[Sequence[bytes]], Path]


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Write a version's folder with these warm-up records, with TensorFlow's own writer."""

    def write(records: Sequence[bytes]) -> Path:
        import tensorflow as tf

        folder = tmp_path / "1"
        shutil.copytree(HALF, folder)
        (folder / FILE).parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
            for record in records:
                writer.write(record)
        return folder

    return write


def predict_log(signature: str = "", value: float = 1.0) -> bytes:
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "another", signature
    tensors.encode(np.array([value], np.float32), request.inputs["x"])
    return bytes(log.SerializeToString())


def examples_log(kind: str, signature: str) -> bytes:
    log = PredictionLog()
    request = getattr(log, kind).request
    if kind == "multi_inference_log":
        task = request.tasks.add(method_name="tensorflow/serving/regress")
        task.model_spec.name, task.model_spec.signature_name = "another", signature
    else:
        request.model_spec.name, request.model_spec.signature_name = "another", signature
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(2.0)
    return bytes(log.SerializeToString())


def failed(model: Noted, folder: Path, metrics: ServingMetrics) -> StatusError:
    with pytest.raises(StatusError) as raised:
        warm_up(model, folder, metrics)
    return raised.value


def test_all_four_kinds_run_and_an_empty_log_is_skipped(
    model: Noted, version: Version, metrics: ServingMetrics
) -> None:
    folder = version(
        [
            predict_log(),
            examples_log("classify_log", "classify_x_to_y"),
            examples_log("regress_log", "regress_x_to_y"),
            examples_log("multi_inference_log", "regress_x_to_y"),
            PredictionLog().SerializeToString(),
        ]
    )
    assert warm_up(model, folder, metrics, iterations=2) == 5
    assert model.ran == [*["y"] * 2, *["scores"] * 2, *["outputs"] * 2, *["y:0"] * 2]
    assert metrics.warmup_records_read.cells() == {(str(folder),): 5}
    assert [*metrics.warmup_latency.cells()] == [(str(folder), "OK")]


def test_without_a_file_there_is_nothing_to_do(model: Noted, metrics: ServingMetrics) -> None:
    assert warm_up(model, HALF, metrics) == 0
    assert not metrics.warmup_latency.cells()


def test_a_thousand_are_enough(model: Noted, version: Version, metrics: ServingMetrics) -> None:
    folder = version([predict_log()] * 1001)
    error = failed(model, folder, metrics)
    assert error.code is Code.INVALID_ARGUMENT
    assert (
        error.message == f"Number of warmup records exceeds the maximum (1000) at {folder / FILE}"
    )


def test_a_request_that_fails_fails_the_load(
    model: Noted, version: Version, metrics: ServingMetrics
) -> None:
    folder = version([predict_log("nope")])
    error = failed(model, folder, metrics)
    assert (error.code, error.message) == (
        Code.FAILED_PRECONDITION, 'Serving signature key "nope" not found.',
    )  # fmt: skip
    ((_, status),) = metrics.warmup_latency.cells()
    assert status.startswith("FAILED_PRECONDITION: ")


def test_a_session_run_cannot_be_run(
    model: Noted, version: Version, metrics: ServingMetrics
) -> None:
    log = PredictionLog()
    log.session_run_log.request.fetch.append("y")
    error = failed(model, version([log.SerializeToString()]), metrics)
    assert (error.code, error.message) == (
        Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 5",
    )  # fmt: skip


def test_a_record_that_is_no_log(model: Noted, version: Version, metrics: ServingMetrics) -> None:
    error = failed(model, version([b"\xff\xff"]), metrics)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith("Failed to parse warmup record: ")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: raw[:-1], "truncated record at"),
        (lambda raw: raw[:5], "truncated record at 0"),
        (lambda raw: raw[:-6] + b"?" + raw[-5:], "corrupted record at"),
        (lambda raw: b"\xff" + raw[1:], "corrupted record at 0"),
        (lambda _: b"not a TFRecord file at all, but some text", "corrupted record at 0"),
    ],
)
def test_a_damaged_file(
    damage: Callable[[bytes], bytes],
    said: str,
    model: Noted,
    version: Version,
    metrics: ServingMetrics,
) -> None:
    folder = version([predict_log(), predict_log()])
    raw = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(damage(raw))
    error = failed(model, folder, metrics)
    assert error.code is Code.DATA_LOSS
    assert error.message.startswith(said)
    assert error.message.endswith(". Please verify your warmup data is in TFRecord format.")


def test_records_are_those_that_tensorflow_wrote(version: Version) -> None:
    records = [b"", b"a", bytes(5000), bytes(range(256)) * 400]
    assert list(read_records(version(records) / FILE)) == records
