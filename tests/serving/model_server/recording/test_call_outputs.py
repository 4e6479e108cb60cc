"""What the request log holds of an answer: every dtype, exact, and readable as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.records import Column
from tests.fixtures.scored import make_request

pytestmark = pytest.mark.slow  # the stubs import TensorFlow


def response(**outputs: Any) -> Any:
    from tensorflow_serving.apis import predict_pb2

    from serving.model_server.wire import tensors

    found = predict_pb2.PredictResponse()
    for name, values in outputs.items():
        tensors.encode(values, found.outputs[name])
    return found


def logged(**outputs: Any) -> tuple[int, dict[str, Column]]:
    """Return rows and outputs, on their way through a line of the log."""
    from serving.model_server.recording.call_outputs import rows_of

    rows, columns = rows_of(response(**outputs))
    line = encode_line(make_request(outputs=columns, scores=None, features=None, rows=rows))
    back = decode_line(line.rstrip(b"\n")).outputs
    assert back is not None
    return rows, back


@pytest.mark.parametrize(
    "dtype", ["f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
)
def test_numbers_come_back_bit_for_bit(dtype: str) -> None:
    values = np.arange(6).reshape(3, 2).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values[0] = [np.nan, -np.inf]
        values[1] = [np.finfo(dtype).tiny, -0.0]
    if dtype in ("i8", "u8"):
        values[2, 1] = np.iinfo(dtype).max
    rows, found = logged(y=values)
    assert rows == 3
    assert found["y"].dtype == np.dtype(dtype)
    assert found["y"].tobytes() == values.tobytes()


def test_what_json_has_no_form_for_is_turned_into_what_it_has_one_for() -> None:
    import ml_dtypes

    rows, found = logged(
        b=np.array([1.5, -2.0], ml_dtypes.bfloat16), c=np.complex64([1 + 2j, np.inf]),
        z=np.complex128([[1 + 2j], [3 - 4j]]),
    )  # fmt: skip
    assert rows == 2
    assert found["b"].dtype == np.float32
    assert found["b"].tolist() == [1.5, -2.0]
    assert found["c"].tolist() == [[1.0, 2.0], [np.inf, 0.0]]
    assert found["z"].tolist() == [[[1.0, 2.0]], [[3.0, -4.0]]]


def test_texts_and_bytes_stay_apart() -> None:
    values = np.array(["数".encode(), b"\xff\x00", b"b64:/w==", b""], object)
    _, found = logged(y=values)
    assert found["y"].tolist() == ["数", "b64:/wA=", "b64:YjY0Oi93PT0=", ""]


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.float32(2.5)[...]},
        {"y": np.zeros((0, 3))},
        {"y": np.zeros(2), "z": np.zeros(3)},
        {"y": np.zeros(2), "z": np.float64(1.0)[...]},
    ],
)
def test_without_rows_in_common_the_whole_answer_is_one(outputs: dict[str, Any]) -> None:
    rows, found = logged(**outputs)
    assert rows == 1
    for name, values in outputs.items():
        assert found[name].ravel().tolist() == np.asarray(values).ravel().tolist()


def test_several_signatures_are_kept_apart() -> None:
    from tensorflow_serving.apis import inference_pb2

    from serving.model_server.recording.call_outputs import rows_of, signature_of, version_of

    answer = inference_pb2.MultiInferenceResponse()
    for signature in ("regress", "classify"):
        result = answer.results.add()
        result.model_spec.name, result.model_spec.version.value = "m", 4
        result.model_spec.signature_name = signature
    answer.results[0].regression_result.regressions.add(value=0.5)
    found = answer.results[1].classification_result.classifications.add()
    found.classes.add(label="low", score=0.25)
    found.classes.add(label="high", score=0.75)
    rows, columns = rows_of(answer)
    assert (rows, signature_of(answer), version_of(answer)) == (1, "", ("m", 4))
    assert columns["0/regress/outputs"].tolist() == [0.5]
    assert columns["1/classify/classes"].tolist() == [["low", "high"]]
    assert columns["1/classify/scores"].tolist() == [[0.25, 0.75]]
