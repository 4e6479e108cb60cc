"""TensorFlow Serving's gRPC services, through tensorflow-serving-api.

Requests go over `grpc.aio`, in the event loop of the serving process. Probes and golden rows go
over a blocking channel from other threads: `grpc.aio` in the loops of several threads of a process
is known to trip over itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Final

import numpy as np

from consistency.errors import ConfigError
from consistency.records import Column
from consistency.scored import Outputs
from serving.backends.instance_errors import Failure, InstanceError, InstanceTimeoutError
from serving.backends.settings import Address
from serving.backends.signature import Signature, Tensor, choose_signature, tensor
from serving.backends.transport import LARGEST_ANSWER_BYTES, RemoteModel
from serving.loaders.runtimes.tensorflow_runtime import import_tensorflow

if TYPE_CHECKING:
    import grpc
    import grpc.aio
    from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST_ANSWER_BYTES),
    ("grpc.max_send_message_length", -1),  # the server's face has bounded the request
    # Channels would share connections, and with them the pause after a failed attempt, by which an
    # instance that is back would be refused without being asked.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

# How gRPC words it when it did not get as far as sending.
_UNSENT: Final = (
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
    "Name resolution failure",
)
_QUEUE_FULL: Final = "batch scheduling queue"
NOT_SERVED: Final = "Servable not found"
"""How TensorFlow Serving says that it does not have a version."""


def stubs_installed() -> None:
    """Import the stubs.

    Raises:
        ConfigError: they are not installed.
    """
    try:
        import grpc  # noqa: F401

        import_tensorflow()  # before the stubs do: they would bring Keras along
        import tensorflow_serving.apis  # noqa: F401
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"backend grpc:// needs {e.name}, which is not installed; run"
            f" pip install 'samescore[tfserving]', or use rest://"
        ) from e


class GrpcTransport:
    """One instance, over gRPC. See `Transport`."""

    def __init__(self, address: Address) -> None:
        stubs_installed()
        self._instance, self._target = str(address), address.netloc
        self._lock = threading.Lock()
        self._blocking: grpc.Channel | None = None
        self._serving: tuple[asyncio.AbstractEventLoop, grpc.aio.Channel] | None = None
        self._stub: PredictionServiceStub | None = None

    def states(self, name: str, timeout_seconds: float) -> Mapping[int, str]:
        """See `Transport.states`."""
        import grpc
        from tensorflow_serving.apis import get_model_status_pb2 as status
        from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

        request = status.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            answer = ModelServiceStub(self._channel()).GetModelStatus(
                request, timeout=timeout_seconds
            )
        except grpc.RpcError as e:
            if e.code() is grpc.StatusCode.NOT_FOUND:
                return {}
            raise _error(self._instance, e) from e
        known = status.ModelVersionStatus.State.DESCRIPTOR.values_by_number
        return {
            found.version: known[found.state].name if found.state in known else str(found.state)
            for found in answer.model_version_status
        }

    def signature(self, model: RemoteModel, timeout_seconds: float) -> Signature:
        """See `Transport.signature`."""
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        request = metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name, request.model_spec.version.value = model.name, model.version
        try:
            answer = PredictionServiceStub(self._channel()).GetModelMetadata(
                request, timeout=timeout_seconds
            )
        except grpc.RpcError as e:
            raise _error(self._instance, e) from e
        held = metadata.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(held)
        where = f"{model} on {self._instance}"
        name = choose_signature(held.signature_def, where)
        chosen = held.signature_def[name]
        return Signature(name, _tensors(chosen.inputs, where), _tensors(chosen.outputs, where))

    def predict_blocking(
        self, model: RemoteModel, signature: Signature, feeds: list[Column], timeout_seconds: float
    ) -> Outputs:
        """See `Transport.predict_blocking`."""
        import grpc
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        request = _request(model, signature, feeds)
        try:
            answer = PredictionServiceStub(self._channel()).Predict(
                request, timeout=timeout_seconds
            )
        except grpc.RpcError as e:
            raise _error(self._instance, e) from e
        return self._outputs(answer, signature)

    async def predict(
        self, model: RemoteModel, signature: Signature, feeds: list[Column], timeout_seconds: float
    ) -> Outputs:
        """See `Transport.predict`."""
        import grpc

        request = _request(model, signature, feeds)
        try:
            answer = await self._loop_stub().Predict(request, timeout=timeout_seconds)
        except grpc.RpcError as e:
            raise _error(self._instance, e) from e
        return self._outputs(answer, signature)

    def renew(self) -> None:
        """See `Transport.renew`."""
        with self._lock:
            blocking, self._blocking = self._blocking, None
            serving, self._serving, self._stub = self._serving, None, None
        if blocking is not None:
            blocking.close()
        if serving is not None and not serving[0].is_closed():
            serving[0].call_soon_threadsafe(_close, serving[1])

    def close(self) -> None:
        """See `Transport.close`."""
        self.renew()

    def _channel(self) -> grpc.Channel:
        import grpc

        with self._lock:
            if self._blocking is None:
                self._blocking = grpc.insecure_channel(self._target, _OPTIONS)
            return self._blocking

    def _loop_stub(self) -> PredictionServiceStub:
        """Return the stub of the running loop: an asynchronous channel belongs to one."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._stub is None or self._serving is None or self._serving[0] is not loop:
                import grpc.aio
                from tensorflow_serving.apis.prediction_service_pb2_grpc import (
                    PredictionServiceStub,
                )

                self._serving = (loop, grpc.aio.insecure_channel(self._target, _OPTIONS))
                self._stub = PredictionServiceStub(self._serving[1])
            return self._stub

    def _outputs(self, answer: PredictResponse, signature: Signature) -> Outputs:
        from serving.model_server.status import StatusError
        from serving.model_server.wire.tensors import MalformedTensorError, decode

        outputs: dict[str, Column] = {}
        for expected in signature.outputs:
            where = f"output {expected.alias!r}"
            try:
                array = decode(answer.outputs[expected.alias])
            except (MalformedTensorError, StatusError) as e:
                raise self._odd(f"{where} cannot be read: {e}") from e
            if array.dtype != expected.dtype:
                raise self._odd(f"{where} is {array.dtype}, its signature says {expected.dtype}")
            outputs[expected.alias] = array
        return outputs

    def _odd(self, problem: str) -> InstanceError:
        return InstanceError(self._instance, Failure.ANSWERED, problem)


_CLOSING: Final[set[asyncio.Task[None]]] = set()
"""The event loop itself keeps only weak references to its tasks."""


def _close(channel: grpc.aio.Channel) -> None:
    """Close a channel in its loop, when its requests have been answered."""
    task = asyncio.ensure_future(channel.close(grace=None))
    _CLOSING.add(task)
    task.add_done_callback(_CLOSING.discard)


def _request(model: RemoteModel, signature: Signature, feeds: list[Column]) -> PredictRequest:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    from serving.model_server.wire.tensors import encode

    request = PredictRequest()
    spec = request.model_spec
    spec.name, spec.version.value, spec.signature_name = model.name, model.version, signature.name
    for taken, array in zip(signature.inputs, feeds, strict=True):
        is_text = array.dtype.kind == "O"
        encode(_as_bytes(array) if is_text else array, request.inputs[taken.alias], not is_text)
    return request


def _as_bytes(texts: Column) -> Column:
    encoded = np.empty(texts.size, object)
    encoded[:] = [t if isinstance(t, bytes) else str(t).encode() for t in texts.ravel().tolist()]
    return encoded.reshape(texts.shape)


def _tensors(infos: MutableMapping[str, TensorInfo], where: str) -> tuple[Tensor, ...]:
    return tuple(
        tensor(alias, info.dtype, _shape(info), where) for alias, info in sorted(infos.items())
    )


def _shape(info: TensorInfo) -> tuple[int, ...] | None:
    shape = info.tensor_shape
    return None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)


def _error(instance: str, error: grpc.RpcError) -> InstanceError | InstanceTimeoutError:
    """Return what a failed call means."""
    import grpc

    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return InstanceTimeoutError(instance, "no answer in time")
    failure = Failure.ANSWERED
    if code is grpc.StatusCode.UNAVAILABLE:
        failure = Failure.REFUSED if details.startswith(_UNSENT) else Failure.LOST
        if _QUEUE_FULL in details:
            failure = Failure.BUSY
    elif code is grpc.StatusCode.CANCELLED:
        failure = Failure.LOST
    elif code is grpc.StatusCode.NOT_FOUND and details.startswith(NOT_SERVED):
        failure = Failure.NO_SUCH_VERSION
    return InstanceError(instance, failure, f"{code.name}: {details}")
