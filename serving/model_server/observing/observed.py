"""The API, with somebody looking on: each inference call is told to observers when it is over.

An observer runs before the reply: what it wrote is there when the client reads the answer. It sees
the messages, not copies, and the bytes that the face received.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from consistency.tensor_calls import Method, Wire
from serving.model_server.multi_inference import multi_inference_spec
from serving.model_server.observing.passed_on import PassedOn
from serving.model_server.recording.call_outputs import Response
from serving.model_server.recording.received import Received, Reception
from serving.model_server.status import StatusError

if TYPE_CHECKING:
    from serving.model_server.api import InferenceApi

Request: TypeAlias = (
    predict_pb2.PredictRequest
    | classification_pb2.ClassificationRequest
    | regression_pb2.RegressionRequest
    | inference_pb2.MultiInferenceRequest
)
A = TypeVar("A", predict_pb2.PredictRequest, classification_pb2.ClassificationRequest,
            regression_pb2.RegressionRequest, inference_pb2.MultiInferenceRequest)  # fmt: skip
B = TypeVar("B", predict_pb2.PredictResponse, classification_pb2.ClassificationResponse,
            regression_pb2.RegressionResponse, inference_pb2.MultiInferenceResponse)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ObservedCall:
    """One inference call that is over.

    Attributes:
        method: what was asked.
        spec: of the model, as asked.
        received: the bytes.
        request: the message; None when the bytes never became one.
        response: None when it failed.
        error: None when it did not.
        seconds: that the call itself took.
    """

    method: Method
    spec: model_pb2.ModelSpec
    received: Received
    request: Request | None
    response: Response | None
    error: StatusError | None
    seconds: float


class CallObserver(Protocol):
    """Looks on."""

    def observe(self, call: ObservedCall) -> None:
        """Take note of a call.

        Raises:
            StatusError: the client gets this instead of its answer.
        """
        ...


class ObservedApi(PassedOn):
    """An `InferenceApi` in front of another one.

    Args:
        api: answers.
        observers: see each inference call, in order.

    Attributes:
        reception: where the faces leave the bytes.
    """

    def __init__(self, api: InferenceApi, observers: Sequence[CallObserver]) -> None:
        super().__init__(api)
        self._observers = tuple(observers)
        self.reception = Reception()

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Run a signature on tensors."""
        return self._call(Method.PREDICT, request.model_spec, request, self._api.predict)

    def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classify `tf.Example`s."""
        return self._call(Method.CLASSIFY, request.model_spec, request, self._api.classify)

    def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Regress `tf.Example`s."""
        return self._call(Method.REGRESS, request.model_spec, request, self._api.regress)

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several classify and regress signatures of one model on the same examples."""
        spec = multi_inference_spec(request)
        return self._call(Method.MULTI_INFERENCE, spec, request, self._api.multi_inference)

    def refused(
        self,
        method: Method,
        model: tuple[str, int | None, str | None],
        received: Received,
        error: StatusError,
    ) -> None:
        """Observe a request that a face refused before it became a message; see `OnRefused`."""
        name, version, label = model
        spec = model_pb2.ModelSpec(name=name)
        if version is not None:
            spec.version.value = version
        if label is not None:
            spec.version_label = label
        self._tell(ObservedCall(method, spec, received, None, None, error, 0.0))

    def _call(
        self, method: Method, spec: model_pb2.ModelSpec, request: A, call: Callable[[A], B]
    ) -> B:
        received = self.reception.take() or Received(
            request.SerializeToString(), Wire.GRPC, time.perf_counter_ns()
        )
        start = time.perf_counter()
        try:
            response = call(request)
        except StatusError as error:
            seconds = time.perf_counter() - start
            self._tell(ObservedCall(method, spec, received, request, None, error, seconds))
            raise
        seconds = time.perf_counter() - start
        self._tell(ObservedCall(method, spec, received, request, response, None, seconds))
        return response

    def _tell(self, call: ObservedCall) -> None:
        for observer in self._observers:
            observer.observe(call)
