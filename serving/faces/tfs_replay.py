"""Answers logged calls of TensorFlow Serving's protocol again: the faces' own readers, no server.

Only a replay loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from consistency.errors import BackendError
from consistency.scored import Outputs, Payload
from consistency.tensor_calls import TENSOR_CALLS, CallRefusedError, Method, TensorCallCodec, Wire
from serving.faces.tfs_rest.examples_request import fill_examples_request
from serving.faces.tfs_rest.predict_request import fill_predict_request
from serving.model_server import inference
from serving.model_server.api import ServedModel
from serving.model_server.multi_inference import multi_inference
from serving.model_server.recording.call_outputs import Response, rows_of
from serving.model_server.status import Code, StatusError, invalid

_REFUSALS: Final = frozenset(
    {Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE, Code.FAILED_PRECONDITION, Code.NOT_FOUND}
)


class CallReplay:
    """A model version that answers logged calls. A `CallScorer`.

    Args:
        model: that was loaded from the folder that was served.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def answer(self, payload: Payload) -> tuple[int, Outputs]:
        """Return rows and outputs of a call; see `CallScorer.answer`."""
        codec = TENSOR_CALLS[payload.codec]
        try:
            return rows_of(self._response(codec, payload.body))
        except StatusError as error:
            if error.code in _REFUSALS:
                raise CallRefusedError(error.message) from error
            raise BackendError(f"{error.code.name}: {error.message}") from error
        except DecodeError as error:
            raise CallRefusedError(f"the logged message cannot be parsed: {error}") from error

    def _response(self, codec: TensorCallCodec, body: bytes) -> Response:
        spec, exact = model_pb2.ModelSpec(), codec.wire is Wire.REST_EXACT
        over_rest = codec.wire is not Wire.GRPC
        if codec.method is Method.PREDICT:
            parse = predict_pb2.PredictRequest.FromString
            request = self._predict(body, exact) if over_rest else parse(body)
            return inference.predict(self._model, request, spec)
        if codec.method is Method.CLASSIFY:
            classified = classification_pb2.ClassificationRequest()
            _fill(body, classified, over_rest, exact)
            return inference.classify(self._model, classified, spec)
        if codec.method is Method.REGRESS:
            regressed = regression_pb2.RegressionRequest()
            _fill(body, regressed, over_rest, exact)
            return inference.regress(self._model, regressed, spec)
        several = inference_pb2.MultiInferenceRequest.FromString(body)
        return multi_inference(self._model, several, spec)

    def _predict(self, body: bytes, exact: bool) -> predict_pb2.PredictRequest:
        request = predict_pb2.PredictRequest()

        def input_types(_name: str) -> dict[str, int]:
            key = inference.signature_key(request.model_spec)
            if key not in self._model.signatures:
                raise invalid(f'Serving signature name: "{key}" not found in signature def')
            inputs = self._model.signatures[key].inputs
            return {name: info.dtype for name, info in inputs.items()}

        fill_predict_request(body, request, input_types, exact=exact)
        return request


def _fill(
    body: bytes,
    request: classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest,
    over_rest: bool,
    exact: bool,
) -> None:
    if over_rest:
        fill_examples_request(body, request, exact=exact)
    else:
        request.ParseFromString(body)
