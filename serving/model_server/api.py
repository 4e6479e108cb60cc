"""What the faces of the model server call, in upstream's own messages.

REST turns its JSON into the same request messages that gRPC receives, as upstream does: there is
one way through the server. Messages are those of `tensorflow_serving.apis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from numpy.typing import NDArray
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
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

    Tensor: TypeAlias = NDArray[Any]  # Any: every dtype of TensorFlow


class ServedModel(Protocol):
    """A loaded version, whatever library computes it.

    Attributes:
        signatures: by signature key. A bundle that is no SavedModel has one, `serving_default`,
            made up from its features and outputs.
        thread_hint_seconds: how long a call takes at most as far as is known, 0.0 for unknown: a
            face may run a short one on its event loop.
    """

    @property
    def signatures(self) -> Mapping[str, SignatureDef]:
        """By signature key."""
        ...

    @property
    def thread_hint_seconds(self) -> float:
        """How long a call takes at most, as far as is known; 0.0 for unknown."""
        ...

    def run(
        self,
        signature: SignatureDef,
        feeds: Mapping[str, Tensor | TensorProto],
        fetches: tuple[str, ...],
    ) -> list[Tensor]:
        """Compute tensors.

        Args:
            signature: one of `signatures`' values.
            feeds: by alias (key of `signature.inputs`), every dtype as it came.
            fetches: aliases of `signature.outputs`.

        Returns:
            One array a fetch, in order; strings are object arrays of bytes.

        Raises:
            StatusError: the graph failed; the code and text are TensorFlow's.
        """
        ...


class InferenceApi(Protocol):
    """The calls of `PredictionService` and `ModelService`. Any thread may call.

    Every call raises `StatusError` and nothing else.
    """

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Run a signature on tensors."""
        ...

    def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classify `tf.Example`s."""
        ...

    def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Regress `tf.Example`s."""
        ...

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several classify and regress signatures of one model on the same examples."""
        ...

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signature definitions."""
        ...

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the states of a model's versions."""
        ...

    def handle_reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the whole configuration; waits for new models."""
        ...

    def signature(self, spec: model_pb2.ModelSpec) -> SignatureDef:
        """Return the signature that a request would use: REST needs its dtypes before it parses."""
        ...
