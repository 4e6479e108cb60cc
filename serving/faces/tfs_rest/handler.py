"""One request of the HTTP face, from path and body to status and body: JSON around `InferenceApi`.

Blocks while a model computes; `app.py` runs it on a thread. Only the model server loads this.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from consistency.tensor_calls import Method, Wire
from serving.faces.tfs_rest.examples_request import fill_examples_request
from serving.faces.tfs_rest.json_write import quote, record
from serving.faces.tfs_rest.predict_request import JsonFormat, fill_predict_request
from serving.faces.tfs_rest.predict_response import column_body, row_body
from serving.faces.tfs_rest.proto_json import metadata_body, status_body
from serving.faces.tfs_rest.results_response import classification_body, regression_body
from serving.faces.tfs_rest.routes import Call, Route
from serving.model_server.recording.received import OnRefused, Reception
from serving.model_server.status import Code, StatusError, invalid

if TYPE_CHECKING:
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from serving.model_server.api import InferenceApi

logger = logging.getLogger(__name__)

METHODS: Final = {
    Call.PREDICT: Method.PREDICT,
    Call.CLASSIFY: Method.CLASSIFY,
    Call.REGRESS: Method.REGRESS,
}
"""What is logged, by what the path says."""

HTTP_STATUS: Final = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
"""The HTTP status of a code; 500 for the others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    code: Code
    body: bytes


def error_answer(code: Code, message: str) -> Answer:
    """Return `{"error": message}`; surrogate escapes become the bytes they stand for."""
    text = message.encode("utf-8", "surrogateescape")
    return Answer(code, record([(b"error", quote(text))], 0))


class RestHandler:
    """Answers one request after the other; any thread may call.

    Args:
        api: what answers.
        exact_floats: read and write floats exactly instead of as upstream does.
        reception: where bodies are left for an API that logs them.
        refused: told of bodies that the API never saw.
    """

    def __init__(
        self,
        api: InferenceApi,
        *,
        exact_floats: bool = False,
        reception: Reception | None = None,
        refused: OnRefused | None = None,
    ) -> None:
        self._api = api
        self._exact = exact_floats
        self._reception, self._refused = reception, refused

    def answer(self, route: Route, body: bytes) -> Answer:
        """Answer a request; every failure becomes an answer with a message."""
        try:
            if self._reception is not None and route.call in METHODS:
                return Answer(Code.OK, self._logged(route, body, self._reception))
            return Answer(Code.OK, self._body(route, body))
        except StatusError as error:
            return error_answer(error.code, error.message)
        except (
            Exception
        ) as error:  # whatever it is, the client gets a message and the server lives on
            logger.exception("request failed: %s of model %s", route.call or "status", route.model)
            return error_answer(Code.INTERNAL, f"Internal error: {type(error).__name__}")

    def _logged(self, route: Route, body: bytes, reception: Reception) -> bytes:
        """Return the answer's body; what is refused before the API sees it is told as well."""
        reception.leave(body, Wire.REST_EXACT if self._exact else Wire.REST)
        try:
            return self._body(route, body)
        except StatusError as error:
            received = reception.take()
            if received is not None and self._refused is not None:
                model = (route.model, route.version, route.label)
                self._refused(METHODS[route.call], model, received, error)
            raise
        finally:
            reception.take()

    def _body(self, route: Route, body: bytes) -> bytes:
        if route.call is Call.PREDICT:
            return self._predict(route, body)
        if route.call is Call.CLASSIFY:
            classification = ClassificationRequest()
            _fill_spec(classification.model_spec, route)
            fill_examples_request(body, classification, exact=self._exact)
            result = self._api.classify(classification).result
            return classification_body(result, exact=self._exact)
        if route.call is Call.REGRESS:
            regression = RegressionRequest()
            _fill_spec(regression.model_spec, route)
            fill_examples_request(body, regression, exact=self._exact)
            return regression_body(self._api.regress(regression).result, exact=self._exact)
        if not route.model:
            raise invalid("Missing model name in request.")
        return self._metadata(route) if route.call is Call.METADATA else self._status(route)

    def _predict(self, route: Route, body: bytes) -> bytes:
        request = PredictRequest()
        _fill_spec(request.model_spec, route)

        def input_types(_name: str) -> dict[str, int]:
            inputs = self._api.signature(request.model_spec).inputs
            return {name: info.dtype for name, info in inputs.items()}

        form = fill_predict_request(body, request, input_types, exact=self._exact)
        outputs = self._api.predict(request).outputs
        write = row_body if form is JsonFormat.ROW else column_body
        return write(outputs, exact=self._exact)

    def _metadata(self, route: Route) -> bytes:
        request = GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill_spec(request.model_spec, route)
        return metadata_body(self._api.get_model_metadata(request))

    def _status(self, route: Route) -> bytes:
        request = GetModelStatusRequest()
        _fill_spec(request.model_spec, route)
        return status_body(self._api.get_model_status(request))


def _fill_spec(spec: ModelSpec, route: Route) -> None:
    spec.name = route.model
    if route.version is not None:
        spec.version.value = route.version
    if route.label is not None:
        spec.version_label = route.label
