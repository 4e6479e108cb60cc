from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving.core.loader import Loader
from serving.core.state import ServableId
from serving.model_server.api import ServedModel
from serving.model_server.batching.batched import BatchedModel
from serving.model_server.batching.parameters import PER_MODEL_FILE, BatchingParameters
from serving.model_server.models.prepared import Preparation, Preparer
from serving.model_server.models.tensorflow_platform import TensorFlowOptions, tensorflow_platform
from serving.model_server.models.warmup import FILE
from serving.model_server.observing.counted_api import TimedModel
from serving.model_server.observing.serving_metrics import ServingMetrics
from serving.model_server.status import StatusError
from serving.model_server.wire import tensors

pytestmark = pytest.mark.slow

TESTDATA = Path(__file__).parents[3] / "data/tfs/testdata"
MATRIX = TESTDATA / "batching_matrix_half_plus_two/1"
PLAIN_LITE = TESTDATA / "saved_model_half_plus_two_tflite/00000123"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MATRIX, tmp_path / "1"))


def loader(
    folder: Path, preparation: Preparation, options: TensorFlowOptions | None = None
) -> tuple[Loader[ServedModel], ServingMetrics]:
    metrics = ServingMetrics()
    preparer = Preparer(preparation, metrics)
    platform = preparer.platform(tensorflow_platform(options or TensorFlowOptions()))
    return platform(ServableId("m", 1), folder), metrics


def test_a_load_is_counted(folder: Path) -> None:
    made, metrics = loader(folder, Preparation())
    made.load()
    assert metrics.load_attempt_count.cells() == {(str(folder), "success"): 1}
    assert metrics.load_latency.cells()[str(folder),] > 0
    (folder / "saved_model.pb").unlink()
    made, metrics = loader(folder, Preparation())
    with pytest.raises(StatusError):
        made.load()
    assert metrics.load_attempt_count.cells() == {(str(folder), "fail"): 1}


def test_with_parameters_of_its_own_a_model_has_those_or_none(folder: Path) -> None:
    preparation = Preparation(BatchingParameters(max_batch_size=4), per_model_batching=True)
    made, _ = loader(folder, preparation)
    assert not isinstance(made.load(), BatchedModel)
    (folder / PER_MODEL_FILE).write_text("max_batch_size { value: 2 }")
    made, _ = loader(folder, preparation)
    model = made.load()
    signature = model.signatures["serving_default"]
    (alias,) = signature.inputs
    with pytest.raises(StatusError, match="larger than maximum input batch size 2"):
        model.run(signature, {alias: np.zeros((3, 1), np.float32)}, tuple(signature.outputs))
    made.unload(model)


def test_parameters_that_are_wrong_fail_the_load(folder: Path) -> None:
    (folder / PER_MODEL_FILE).write_text("max_batch_sice { value: 2 }")
    made, _ = loader(folder, Preparation(BatchingParameters(), per_model_batching=True))
    with pytest.raises(StatusError, match="max_batch_sice"):
        made.load()


def test_warm_up_runs_in_batches_and_fails_the_load_as_later_requests_would(folder: Path) -> None:
    import tensorflow as tf

    log = PredictionLog()
    tensors.encode(np.zeros((3, 1), np.float32), log.predict_log.request.inputs["x"])
    (folder / FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        writer.write(log.SerializeToString())
    made, metrics = loader(folder, Preparation(BatchingParameters(max_batch_size=3)))
    made.unload(made.load())
    assert metrics.wrapped_run_count.total() == 1
    made, _ = loader(folder, Preparation(BatchingParameters(max_batch_size=2)))
    with pytest.raises(StatusError, match="Task size 3 is larger"):
        made.load()
    made, metrics = loader(folder, Preparation(warmup_iterations=0, timed=True))
    assert isinstance(made.load(), TimedModel)
    assert not metrics.warmup_records_read.cells()


def test_a_lite_model_is_preferred_or_required(folder: Path) -> None:
    both = Path(shutil.copytree(PLAIN_LITE, folder.parent / "2"))
    (both / "saved_model.pb").write_bytes((MATRIX / "saved_model.pb").read_bytes())
    for options, name in (
        (TensorFlowOptions(), "SavedModel"),
        (TensorFlowOptions(prefer_tflite=True), "TfLiteModel"),
        (TensorFlowOptions(only_tflite=True, tflite_interpreters=2), "TfLiteModel"),
    ):
        assert type(loader(both, Preparation(), options)[0].load()).__name__ == name
    prefers = loader(folder, Preparation(), TensorFlowOptions(prefer_tflite=True))[0].load()
    assert type(prefers).__name__ == "SavedModel"
    with pytest.raises(StatusError, match=r"model\.tflite"):
        loader(folder, Preparation(), TensorFlowOptions(only_tflite=True))[0].load()
