from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorflow_serving.apis import model_pb2, predict_pb2

from serving.model_server import inference
from serving.model_server.models.tflite import load_tflite
from serving.model_server.status import Code, StatusError
from serving.model_server.wire import tensors

pytestmark = pytest.mark.slow

TESTDATA = Path(__file__).parents[3] / "data/tfs/testdata"
PLAIN = TESTDATA / "saved_model_half_plus_two_tflite/00000123"
SIGNED = TESTDATA / "saved_model_half_plus_two_tflite_with_sigdef/00000123"


def failed(call: Callable, *args: object) -> StatusError:
    with pytest.raises(StatusError) as raised:
        call(*args)
    return raised.value


@pytest.mark.parametrize(("folder", "tensor"), [(PLAIN, "x"), (SIGNED, "tflite_input")])
def test_half_plus_two(folder: Path, tensor: str) -> None:
    model = load_tflite(folder)
    assert model.signatures["serving_default"].inputs["x"].name == tensor
    for rows in ([[1.0]], [[1.0], [2.0], [5.0]], [[2.0]]):
        request = predict_pb2.PredictRequest()
        tensors.encode(np.array(rows, np.float32), request.inputs["x"])
        response = inference.predict(model, request, model_pb2.ModelSpec())
        assert tensors.decode(response.outputs["y"]).tolist() == [[r[0] / 2 + 2] for r in rows]


def test_a_made_up_signature_describes_the_tensors() -> None:
    signature = load_tflite(PLAIN).signatures["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in signature.outputs["y"].tensor_shape.dim] == [1, 1]


def test_another_dtype_or_rank() -> None:
    model = load_tflite(PLAIN)
    signature = model.signatures["serving_default"]
    error = failed(model.run, signature, {"x": np.zeros((1, 1))}, ("y",))
    assert error.message == "Expects arg[0] to be float but double is provided"
    (found,) = model.run(signature, {"x": np.zeros((2, 1), np.float32)}, ("y",))
    assert found.tolist() == [[2.0], [2.0]]


def test_threads_share_interpreters() -> None:
    model, wrong = load_tflite(PLAIN, interpreters=2), []
    signature = model.signatures["serving_default"]

    def work(seed: int) -> None:
        for step in range(1, 40):
            given = np.full((1 + step % 3, 1), seed, np.float32)
            (found,) = model.run(signature, {"x": given}, ("y",))
            if found.tolist() != (given / 2 + 2).tolist():
                wrong.append((seed, step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert model.thread_hint_seconds > 0


def test_strings(tmp_path: Path) -> None:
    import tensorflow as tf

    def gather(words: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        return tf.gather(words, places)

    specs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)]
    call = tf.function(gather, input_signature=specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    model = load_tflite(tmp_path)
    signature = model.signatures["serving_default"]
    words = np.empty(2, dtype=object)
    words[:] = [b"a\0", b"\xff"]
    feeds = {"words": words, "places": np.array([1, 0, 1], np.int32)}
    (found,) = model.run(signature, feeds, tuple(signature.outputs))
    assert found.tolist() == [b"\xff", b"a\0", b"\xff"]


def test_an_operation_that_is_not_built_in() -> None:
    error = failed(load_tflite, TESTDATA / "parse_example_tflite/00000123")
    assert error.code is Code.INTERNAL
    assert "ParseExampleV2" in error.message


def test_what_is_no_model(tmp_path: Path) -> None:
    assert failed(load_tflite, tmp_path).code is Code.NOT_FOUND
    (tmp_path / "model.tflite").write_bytes(b"no model at all")
    error = failed(load_tflite, tmp_path)
    assert error.message == "Cannot build FlatBufferModel from buffer."


def test_a_signature_of_another_model_s_tensor(tmp_path: Path) -> None:
    content = (SIGNED / "model.tflite").read_bytes()
    (tmp_path / "model.tflite").write_bytes(content.replace(b"tflite_input:0", b"tflite_other:0"))
    error = failed(load_tflite, tmp_path)
    assert error.message.startswith("Unknown tensor 'tflite_other:0'.")
