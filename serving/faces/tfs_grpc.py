"""TensorFlow Serving's gRPC face: PredictionService and ModelService, on TCP and a Unix socket.

Calls run in the threads of grpc's synchronous server. On one core it answered more than `grpc.aio`
with uvloop (a stub of half_plus_two: 7,200 against 5,700 requests a second with 16 in flight, 3,600
either way one after the other), and a long model, a reload or a batch that waits holds up nobody
else. Messages are parsed in those threads as well, not by the one that reads the sockets.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import grpc  # noqa: TID253 - see the module's text
from google.protobuf.message import DecodeError, EncodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.faces.tfs_threads import Threads
from serving.model_server.deadline import until
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from typing import Any

    from serving.model_server.api import InferenceApi
    from serving.model_server.configuration.listening import GrpcSettings, Tls
    from serving.model_server.recording.received import Reception

    Context: TypeAlias = grpc.ServicerContext
    Behavior: TypeAlias = Callable[[Any, Context], Any]  # Any: of any kind of call

_LOG: Final = logging.getLogger(__name__)

MESSAGE_LIMIT: Final = 1024
"""Bytes of an error's text; upstream cuts there."""
WAITING: Final = 1024
"""Calls that may wait for a thread; one more is refused with RESOURCE_EXHAUSTED."""
MOMENT_SECONDS: Final = 0.2
"""How long a stop answers calls that arrive, which were sent before anybody knew of it."""
QUIET_SECONDS: Final = 2.0
"""How long a stop then refuses calls, until there is a moment without any."""
_QUIET_LOOKS: Final = 5

_PREDICTION: Final = "/tensorflow.serving.PredictionService"
_MODEL: Final = "/tensorflow.serving.ModelService"
_STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}


class GrpcFace:
    """Answers upstream's gRPC services.

    Args:
        api: what answers.
        settings: where and how to listen.
        services: handlers of further services, asked after these two.
        reception: where messages' bytes are left for an API that logs them.

    Attributes:
        port: the TCP port that was bound; None when none was asked for.

    Raises:
        StatusError: an address cannot be listened on, or the TLS files are unusable.
    """

    def __init__(
        self,
        api: InferenceApi,
        settings: GrpcSettings,
        services: Sequence[grpc.GenericRpcHandler] = (),
        reception: Reception | None = None,
    ) -> None:
        self._settings = settings
        self._threads = Threads(settings.threads, "grpc")
        self._refusal = _Refusal()
        self._server = grpc.server(
            self._threads,
            handlers=(self._refusal, Services(api, reception), *services, _Unknown()),
            options=_options(settings),
            maximum_concurrent_rpcs=settings.threads + WAITING,
        )
        self.port = None if settings.port is None else self._listen(_tcp_address(settings))
        if settings.socket_path is not None:
            self._listen(f"unix:{settings.socket_path}")

    def start(self) -> None:
        """Accept calls from now on."""
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        """Accept nothing more, and return when the calls in flight are answered.

        grpc cancels the calls that have arrived and were not handed to a thread yet. So the face
        goes on for a moment, then refuses new calls with UNAVAILABLE, which tells clients to go
        elsewhere, and stops when nothing comes any more, after `QUIET_SECONDS` at most.

        Args:
            grace_seconds: after that time the clients of those left get CANCELLED.
        """
        self._wait_for_quiet(min(grace_seconds, MOMENT_SECONDS))
        self._refusal.is_on = True
        self._wait_for_quiet(min(grace_seconds, QUIET_SECONDS))
        self._server.stop(grace_seconds).wait()
        self._threads.shutdown()

    def _wait_for_quiet(self, seconds: float) -> None:
        deadline, quiet = time.monotonic() + seconds, 0
        while quiet < _QUIET_LOOKS and time.monotonic() < deadline:
            time.sleep(0.02)
            quiet = quiet + 1 if self._threads.is_idle else 0

    def _listen(self, address: str) -> int:
        tls = self._settings.tls
        try:
            if tls is None:
                port: int = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(tls))
        except (RuntimeError, ValueError) as e:
            text = f"Failed to BuildAndStart gRPC server: {address}: {e}"
            raise StatusError(Code.INVALID_ARGUMENT, text) from e
        return port


class Services:
    """The methods of PredictionService and ModelService, by path.

    Args:
        api: what answers.
        reception: where messages' bytes are left for an API that logs them.
    """

    def __init__(self, api: InferenceApi, reception: Reception | None = None) -> None:
        def inference(kind: type[Message], call: Callable[[Any], Message]) -> grpc.RpcMethodHandler:
            if reception is None:
                return _unary(kind, call)
            return _unary(kind, call, reception.parsing(kind.FromString))

        predict = predict_pb2.PredictRequest
        metadata = get_model_metadata_pb2.GetModelMetadataRequest
        self._handlers: Mapping[str, grpc.RpcMethodHandler] = {
            f"{_PREDICTION}/Predict": inference(predict, api.predict),
            f"{_PREDICTION}/Classify": inference(
                classification_pb2.ClassificationRequest, api.classify
            ),
            f"{_PREDICTION}/Regress": inference(regression_pb2.RegressionRequest, api.regress),
            f"{_PREDICTION}/MultiInference": inference(
                inference_pb2.MultiInferenceRequest, api.multi_inference
            ),
            f"{_PREDICTION}/GetModelMetadata": _unary(metadata, api.get_model_metadata),
            f"{_MODEL}/GetModelStatus": _unary(
                get_model_status_pb2.GetModelStatusRequest, api.get_model_status
            ),
            f"{_MODEL}/HandleReloadConfigRequest": _unary(
                model_management_pb2.ReloadConfigRequest, api.handle_reload_config
            ),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return what answers a path."""
        return self._handlers.get(details.method)


class _Refusal:
    """While it is on, every method: the server stops.

    Attributes:
        is_on: can be set at any time.
    """

    def __init__(self) -> None:
        self.is_on = False

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.stream_stream_rpc_method_handler(_unavailable) if self.is_on else None


def _unavailable(_requests: object, context: Context) -> NoReturn:
    _fail(context, Code.UNAVAILABLE, "The server stops and takes no more calls.")


class _Unknown:
    """Every other method, SessionService's too: as the stock server refuses it, without a text."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.stream_stream_rpc_method_handler(_unimplemented)


def _unimplemented(_requests: object, context: Context) -> NoReturn:
    _fail(context, Code.UNIMPLEMENTED, "")


def _unary(
    kind: type[Message],
    call: Callable[[Any], Message],
    parse: Callable[[bytes], Message] | None = None,
) -> grpc.RpcMethodHandler:
    """Return the handler of one method.

    It takes and gives bytes: grpc would log a traceback for every message that is none.
    """
    parse = parse or kind.FromString

    def behavior(raw: bytes, context: Context) -> bytes:
        left_seconds = context.time_remaining()
        if not left_seconds:
            _fail(context, Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        try:
            with until(time.monotonic() + left_seconds):
                answer: bytes = call(parse(raw)).SerializeToString()
        except StatusError as e:
            _fail(context, e.code, e.message)
        except DecodeError as e:
            _fail(context, Code.INTERNAL, f"Failed to parse the request: {e}")
        except (EncodeError, ValueError) as e:
            _fail(context, Code.INTERNAL, f"Failed to serialize the response: {e}")
        except Exception as e:  # noqa: BLE001 - one call's bug costs that call, and is told
            _LOG.exception("%s failed", kind.DESCRIPTOR.full_name)
            _fail(context, Code.INTERNAL, f"{type(e).__name__}: {e}")
        return answer

    return grpc.unary_unary_rpc_method_handler(behavior)


def _fail(context: Context, code: Code, message: str) -> NoReturn:
    context.abort(_STATUS[code.value], truncated(message))
    raise AssertionError("abort raises")


def truncated(message: str) -> str:
    """Cut an error's text as upstream does, at 1024 bytes.

    >>> truncated("as it was"), len(truncated("x" * 2000)), truncated("x" * 1025)[-15:]
    ('as it was', 1036, 'xxx...TRUNCATED')
    """
    raw = message.encode("utf-8", "replace")
    if len(raw) <= MESSAGE_LIMIT:
        return raw.decode()
    # A character that the cut went through is left out: the text must stay UTF-8.
    return raw[:MESSAGE_LIMIT].decode("utf-8", "ignore") + "...TRUNCATED"


def _tcp_address(settings: GrpcSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def _options(settings: GrpcSettings) -> list[tuple[str, str | int]]:
    ours = {
        # A second server on the port must fail, not get half of the calls.
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": settings.max_message_bytes,
        "grpc.max_send_message_length": settings.max_message_bytes,
    }
    return list({**ours, **settings.channel_arguments}.items())


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)],
        root_certificates=tls.client_authority or None,
        require_client_auth=tls.ask_client,
    )
