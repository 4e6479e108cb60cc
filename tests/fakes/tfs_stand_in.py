"""A stand-in for tensorflow_model_server, which cannot be had here: its protocol, and nothing more.

It speaks gRPC through the stubs of tensorflow-serving-api and REST over real sockets, so that
clients meet a real server, and it does what a test tells it: it hangs, loses a version, answers
wrongly, comes back. As a program it serves the SavedModels of a folder, to be killed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from consistency.features import FeatureBatch
from consistency.protocols import Scorer
from consistency.schema import FeatureSchema
from serving.backends.signature import DTYPE_NUMBERS, Signature, Tensor

Compute = Callable[[dict[str, Any]], Mapping[str, Any]]
NAMES = {
    "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "int64": "DT_INT64", "object": "DT_STRING",
    "int32": "DT_INT32", "bool": "DT_BOOL", "float16": "DT_HALF",
}  # fmt: skip


@dataclass
class Served:
    """A version that is served."""

    signature: Signature
    compute: Compute


def half_plus_two(dtype: str = "float32", step: float = 2.0) -> Served:
    """The model of TensorFlow Serving's own examples: x / 2 + 2."""
    kind = np.dtype(dtype)
    signature = Signature(
        "serving_default", (Tensor("x", kind, (-1, 1)),), (Tensor("y", kind, (-1, 1)),)
    )
    return Served(signature, lambda feeds: {"y": feeds["x"] / kind.type(2) + kind.type(step)})


def of_scorer(scorer: Scorer, width: int, output: str, dtype: str = "float64") -> Served:
    """Any scorer, as a model with one matrix."""
    schema = FeatureSchema.float64(tuple(f"f{i}" for i in range(width)))

    def compute(feeds: dict[str, Any]) -> Mapping[str, Any]:
        matrix = np.asfortranarray(feeds["row"], np.float64)
        return scorer.score(FeatureBatch(schema, len(matrix), matrix))

    taken = Tensor("row", np.dtype("float64"), (-1, width))
    return Served(
        Signature("serving_default", (taken,), (Tensor(output, np.dtype(dtype), (-1,)),)), compute
    )


@dataclass
class StandIn:
    """One server; what it does may be changed while it runs.

    Attributes:
        models: by name and version.
        states: states other than AVAILABLE.
        hangs: while set, Predict waits.
        delay_seconds: of every Predict.
        predictions: how many were asked for, by version.
        busiest: most at a time.
        queue_is_full: whether Predict answers what a full batching queue answers.
    """

    models: dict[tuple[str, int], Served]
    states: dict[tuple[str, int], str] = field(default_factory=dict)
    hangs: threading.Event = field(default_factory=threading.Event)
    delay_seconds: float = 0.0
    predictions: list[int] = field(default_factory=list)
    busiest: int = 0
    queue_is_full: bool = False
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def versions(self, name: str) -> dict[int, str]:
        return {v: self.states.get((n, v), "AVAILABLE") for n, v in self.models if n == name}

    def served(self, name: str, version: int) -> Served | None:
        if self.versions(name).get(version) != "AVAILABLE":
            return None
        return self.models[name, version]

    def predict(self, version: int, served: Served, feeds: dict[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            self.predictions.append(version)
            self._now += 1
            self.busiest = max(self.busiest, self._now)
        try:
            if self.delay_seconds:
                time.sleep(self.delay_seconds)
            deadline = time.monotonic() + 20
            while self.hangs.is_set() and time.monotonic() < deadline:
                time.sleep(0.01)
            return served.compute(feeds)
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def over_grpc(stand_in: StandIn, port: int = 0) -> Iterator[int]:
    """Serve on a loopback port until the block ends; then every connection is cut."""
    import grpc
    from tensorflow_serving.apis import (
        model_service_pb2_grpc,
        prediction_service_pb2_grpc,
    )

    server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Predictions(stand_in), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(stand_in), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        stand_in.hangs.clear()
        server.stop(None).wait()


class _Predictions:
    def __init__(self, stand_in: StandIn) -> None:
        self._of = stand_in

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        import grpc
        from tensorflow_serving.apis.predict_pb2 import PredictResponse

        from serving.model_server.wire.tensors import decode, encode

        spec = request.model_spec
        assert spec.WhichOneof("version_choice") == "version", "a version is always asked for"
        version = spec.version.value
        served = self._of.served(spec.name, version)
        if served is None:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Specific({spec.name}, {version})",
            )
        if self._of.queue_is_full:
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        assert spec.signature_name == served.signature.name
        feeds = {alias: decode(proto) for alias, proto in request.inputs.items()}
        for taken in served.signature.inputs:
            if feeds[taken.alias].dtype != taken.dtype:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{taken.alias}: another dtype")
        try:
            outputs = self._of.predict(version, served, feeds)
        except ValueError as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))
        answer = PredictResponse()
        for alias, array in outputs.items():
            encode(np.asarray(array), answer.outputs[alias])
        return answer

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

        spec = request.model_spec
        served = self._of.served(spec.name, spec.version.value)
        if served is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific")
        held = metadata.SignatureDefMap()
        held.signature_def["__saved_model_init_op"].method_name = ""
        signature = held.signature_def[served.signature.name]
        signature.method_name = "tensorflow/serving/predict"
        for infos, tensors in (
            (signature.inputs, served.signature.inputs),
            (signature.outputs, served.signature.outputs),
        ):
            for tensor in tensors:
                infos[tensor.alias].dtype = DTYPE_NUMBERS[tensor.dtype]
                if tensor.shape is None:
                    infos[tensor.alias].tensor_shape.unknown_rank = True
                for size in tensor.shape or ():
                    infos[tensor.alias].tensor_shape.dim.add().size = size
        answer = metadata.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(held)
        return answer

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        _not_stood_in_for(context)

    Regress = MultiInference = Classify


class _Models:
    def __init__(self, stand_in: StandIn) -> None:
        self._of = stand_in

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        import grpc
        from tensorflow_serving.apis import get_model_status_pb2 as status

        found = self._of.versions(request.model_spec.name)
        if not found:
            context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model")
        answer = status.GetModelStatusResponse()
        for version, state in sorted(found.items(), reverse=True):
            value = status.ModelVersionStatus.State.Value(state)
            answer.model_version_status.add(version=version, state=value)
        return answer

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        _not_stood_in_for(context)


def _not_stood_in_for(context: Any) -> None:
    """Answer as a server does that lacks a method: the wrapper calls none of these."""
    import grpc

    context.abort(grpc.StatusCode.UNIMPLEMENTED, "the stand-in has Predict and metadata alone")


@contextmanager
def over_rest(stand_in: StandIn, port: int = 0) -> Iterator[int]:
    """Serve on a loopback port until the block ends; then every connection is cut."""
    handler = type("Handler", (_Rest,), {"of": stand_in})
    server = _HttpServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        stand_in.hangs.clear()
        server.shutdown()
        server.server_close()
        server.cut()
        thread.join()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: list[Any] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        import socket

        for request in self._open:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is no news."""


class _Rest(BaseHTTPRequestHandler):
    of: StandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = self.path.split("/")
        name = parts[3]
        if self.path.endswith("/metadata"):
            served = self.of.served(name, int(parts[5]))
            if served is None:
                self._send(404, {"error": "Servable not found for request: Specific"})
                return
            signature = {
                "inputs": _infos(served.signature.inputs),
                "outputs": _infos(served.signature.outputs),
                "method_name": "tensorflow/serving/predict",
            }
            held = {"signature_def": {served.signature.name: signature}}
            self._send(200, {"metadata": {"signature_def": held}})
            return
        found = self.of.versions(name)
        if not found:
            self._send(404, {"error": f"Could not find any versions of model {name}"})
            return
        status = {"error_code": "OK", "error_message": ""}
        states = [{"version": str(v), "state": s, "status": status} for v, s in found.items()]
        self._send(200, {"model_version_status": states})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = self.path.removesuffix(":predict").split("/")
        name, version = parts[3], int(parts[5])
        served = self.of.served(name, version)
        if served is None:
            self._send(404, {"error": f"Servable not found for request: Specific({name})"})
            return
        if self.of.queue_is_full:
            self._send(503, {"error": "The batch scheduling queue to which it went is full"})
            return
        asked = json.loads(body)
        assert asked["signature_name"] == served.signature.name
        feeds = {t.alias: np.array(asked["inputs"][t.alias], t.dtype)
                 for t in served.signature.inputs}  # fmt: skip
        try:
            outputs = self.of.predict(version, served, feeds)
        except ValueError as e:
            self._send(400, {"error": str(e)})
            return
        listed = {alias: np.asarray(array).tolist() for alias, array in outputs.items()}
        self._send(200, {"outputs": listed if len(listed) > 1 else next(iter(listed.values()))})

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _infos(tensors: tuple[Tensor, ...]) -> dict[str, Any]:
    return {
        t.alias: {
            "dtype": NAMES[t.dtype.name],
            "tensor_shape": {
                "dim": [{"size": str(n), "name": ""} for n in t.shape or ()],
                "unknown_rank": t.shape is None,
            },
            "name": f"{t.alias}:0",
        }
        for t in tensors
    }


def _saved_models(base: Path) -> dict[tuple[str, int], Served]:
    from serving.loaders.saved_model import load

    served = {}
    for folder in base.glob("[!.]*/[0-9]*"):
        scorer = load(folder, 1)
        signature = scorer._model.signatures["serving_default"]
        taken = scorer.inputs[0]
        outputs = tuple(
            Tensor(alias, np.dtype(t.dtype.as_numpy_dtype), (-1, 1))
            for alias, t in sorted(signature.structured_outputs.items())
        )
        row = Tensor(taken.name, taken.dtype, (-1, taken.width or -1))

        def compute(feeds: dict[str, Any], scorer: Any = scorer) -> Mapping[str, Any]:
            tensors = scorer._call(*(scorer._constant(a) for a in feeds.values()))
            return {n: t.numpy() for n, t in zip(scorer._names, tensors, strict=True)}

        served[folder.parent.name, int(folder.name)] = Served(
            Signature("serving_default", (row,), outputs), compute
        )
    return served


def main() -> None:
    """Serve the SavedModels of a folder until killed; says the port when it is ready."""
    parser = argparse.ArgumentParser()
    parser.add_argument("base", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    with over_grpc(StandIn(_saved_models(options.base)), options.port) as port:
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
