"""Stands in for the model server's core where only a face is tested: half_plus_two in numpy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.model_server.status import Code, StatusError, not_found

if TYPE_CHECKING:
    from tensorflow_serving.apis import predict_pb2


class HalfPlusTwo:
    """Answers Predict for model `half`, and fails as its attributes say.

    Attributes:
        gate: Predict waits for it.
        entered: is set once a Predict call waits.
        error: raised by everything else than Predict.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.calls = 0
        self.error: Exception = StatusError(Code.UNIMPLEMENTED, "no")

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        from tensorflow_serving.apis import predict_pb2

        self.calls += 1
        self.entered.set()
        assert self.gate.wait(30)
        if request.model_spec.name != "half":
            raise not_found(f"Servable not found for request: Latest({request.model_spec.name})")
        sent = request.inputs["x"]
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name = "half"
        answer.model_spec.version.value = 123
        answer.model_spec.signature_name = "serving_default"
        found = answer.outputs["y"]
        found.dtype = sent.dtype
        found.tensor_shape.CopyFrom(sent.tensor_shape)
        content = np.frombuffer(sent.tensor_content, np.float32)
        given = content if content.size else np.asarray(sent.float_val, np.float32)
        found.float_val.extend((given * np.float32(0.5) + np.float32(2)).tolist())
        return answer

    def _fail(self, _request: object) -> Any:
        raise self.error

    classify = regress = multi_inference = get_model_metadata = _fail
    get_model_status = handle_reload_config = signature = _fail
