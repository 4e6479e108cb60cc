"""TensorFlow's ProfilerService on the model server's gRPC port, for TensorBoard's capture button.

Profile and Terminate are answered as upstream's service answers them. Monitor is UNIMPLEMENTED
there for CPU servers, and so it is here.
"""

from __future__ import annotations

from typing import Final, NoReturn

import grpc  # noqa: TID253 - only the model server loads this module
from google.protobuf.message import DecodeError

from serving.faces.tfs_grpc import truncated
from serving.model_server.observing.profiling import Profiler
from serving.model_server.status import Code, StatusError

_SERVICE: Final = "/tensorflow.ProfilerService"
_STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}


class ProfilerFace:
    """The methods of ProfilerService, by path.

    Args:
        profiler: records.
    """

    def __init__(self, profiler: Profiler) -> None:
        self._profiler = profiler
        self._handlers = {
            f"{_SERVICE}/Profile": grpc.unary_unary_rpc_method_handler(self._profile),
            f"{_SERVICE}/Terminate": grpc.unary_unary_rpc_method_handler(self._terminate),
            f"{_SERVICE}/Monitor": grpc.unary_unary_rpc_method_handler(_monitor),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return what answers a path."""
        return self._handlers.get(details.method)

    def _profile(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return self._profiler.profile(raw, context.is_active)
        except StatusError as error:
            _refuse(context, error.code, error.message)
        except DecodeError as error:
            _refuse(context, Code.INTERNAL, f"Failed to parse the request: {error}")

    def _terminate(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return self._profiler.terminate(raw)
        except StatusError as error:
            _refuse(context, error.code, error.message)
        except DecodeError as error:
            _refuse(context, Code.INTERNAL, f"Failed to parse the request: {error}")


def _monitor(_raw: bytes, context: grpc.ServicerContext) -> NoReturn:
    _refuse(context, Code.UNIMPLEMENTED, "unimplemented.")


def _refuse(context: grpc.ServicerContext, code: Code, message: str) -> NoReturn:
    context.abort(_STATUS[code.value], truncated(message))
    raise AssertionError("abort raises")
