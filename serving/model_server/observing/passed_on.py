"""The calls that nobody counts or logs: both layers between a face and the core pass them on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        model_pb2,
    )

    from serving.model_server.api import InferenceApi


class PassedOn:
    """The part of an `InferenceApi` that is no inference, as another one answers it.

    Args:
        api: what answers.
    """

    def __init__(self, api: InferenceApi) -> None:
        self._api = api

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signature definitions."""
        return self._api.get_model_metadata(request)

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the states of a model's versions."""
        return self._api.get_model_status(request)

    def handle_reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the whole configuration."""
        return self._api.handle_reload_config(request)

    def signature(self, spec: model_pb2.ModelSpec) -> SignatureDef:
        """Return the signature that a request would use."""
        return self._api.signature(spec)
