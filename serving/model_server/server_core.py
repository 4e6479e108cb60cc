"""The model server's core: resolves the model that a request names, and has it answer.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from serving.core.handle import Handle
from serving.core.loader import LoaderFactory
from serving.core.state import VersionStatus
from serving.model_server import inference, multi_inference
from serving.model_server.api import ServedModel
from serving.model_server.configuration.configured import (
    ConfiguredModels,
    CoreSettings,
    refuse_logging,
)
from serving.model_server.core_status import status_response
from serving.model_server.status import Code, invalid

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef


class ServerCore:
    """Answers `PredictionService` and `ModelService`; an `InferenceApi`.

    Args:
        platforms: by `model_platform`, what loads a version.
        settings: everything there is to choose.
        set_logging: is told the models of a configuration that came into force, for their
            `logging_config`; raises StatusError.
        metric: the value of a counter by name, for a reload that asks what it changed.
        on_status: is told of each new state of a version.

    Attributes:
        models: what is configured and served: `start`, `stop`, `reload` and `statuses` are its.
    """

    def __init__(
        self,
        platforms: Mapping[str, LoaderFactory[ServedModel]],
        settings: CoreSettings | None = None,
        *,
        set_logging: Callable[
            [Sequence[model_server_config_pb2.ModelConfig]], None
        ] = refuse_logging,
        metric: Callable[[str], int] = lambda _: 0,
        on_status: Callable[[VersionStatus], None] = lambda _: None,
    ) -> None:
        self._settings = settings or CoreSettings()
        self._metric = metric
        self.models = ConfiguredModels(
            platforms, self._settings, set_logging=set_logging, on_status=on_status
        )

    def start(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Take the first configuration; returns when every model has a version that is AVAILABLE.

        Raises:
            StatusError: the configuration is unusable, or a first version failed.
        """
        self.models.start(config)

    def stop(self) -> None:
        """Unload everything, for good, once the requests in flight are done."""
        self.models.stop()

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Run a signature on tensors."""
        handle = self.models.acquire(_spec(request))
        with handle as model:
            return inference.predict(
                model,
                request,
                _answered(handle),
                as_content=self._settings.as_content,
                check_method=self._settings.check_method,
            )

    def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classify `tf.Example`s."""
        handle = self.models.acquire(_spec(request))
        with handle as model:
            check = self._settings.check_method
            return inference.classify(model, request, _answered(handle), check_method=check)

    def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Regress `tf.Example`s."""
        handle = self.models.acquire(_spec(request))
        with handle as model:
            check = self._settings.check_method
            return inference.regress(model, request, _answered(handle), check_method=check)

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several classify and regress signatures of one model on the same examples."""
        handle = self.models.acquire(multi_inference.multi_inference_spec(request))
        with handle as model:
            check = self._settings.check_method
            return multi_inference.multi_inference(
                model, request, _answered(handle), check_method=check
            )

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signature definitions."""
        spec = _spec(request)
        inference.check_metadata_request(request)
        handle = self.models.acquire(spec)
        with handle as model:
            return inference.get_model_metadata(model, request, _answered(handle))

    def signature(self, spec: model_pb2.ModelSpec) -> SignatureDef:
        """Return the signature that a request would use; the default one when none is named."""
        name = inference.signature_key(spec)
        with self.models.acquire(spec) as model:
            if name not in model.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return model.signatures[name]

    # ------------------------------------------------------------------------------- ModelService

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the states of a model's versions, newest first, ended ones included."""
        spec = _spec(request)
        return status_response(spec, self.models.statuses(spec.name))

    def handle_reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the whole configuration, if that is allowed; waits for new models."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        before = {name: self._metric(name) for name in request.metric_names}
        self.models.reload(request.config, self._settings.reload)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = Code.OK
        for name, value in before.items():
            response.metric.add(name=name, int64_value_increase=self._metric(name) - value)
        return response


def _spec(
    request: predict_pb2.PredictRequest
    | classification_pb2.ClassificationRequest
    | regression_pb2.RegressionRequest
    | get_model_metadata_pb2.GetModelMetadataRequest
    | get_model_status_pb2.GetModelStatusRequest,
) -> model_pb2.ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec


def _answered(handle: Handle[ServedModel]) -> model_pb2.ModelSpec:
    """Return the spec of an answer: the version that was looked up."""
    spec = model_pb2.ModelSpec(name=handle.id.name)
    spec.version.value = handle.id.version
    return spec
