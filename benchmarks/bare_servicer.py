"""The peer: a servicer that computes half_plus_two itself, and nothing else.

No model, no versions, no checks: what Python's grpc costs with the stubs of tensorflow-serving-api,
in the threads that its own examples take. Runs in a process of its own:

    python -m benchmarks.bare_servicer
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    import grpc
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

THREADS = 4 * (os.cpu_count() or 1)


def half_plus_two(request: PredictRequest, _context: grpc.ServicerContext) -> PredictResponse:
    """Answer with half of each value, plus two."""
    from tensorflow_serving.apis import predict_pb2

    response = predict_pb2.PredictResponse()
    sent, found = request.inputs["x"], response.outputs["y"]
    found.dtype = sent.dtype
    found.tensor_shape.CopyFrom(sent.tensor_shape)
    found.float_val.extend([0.5 * value + 2.0 for value in sent.float_val])
    return response


def main() -> None:
    """Say where it listens, and serve until SIGTERM."""
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc] # Any: grpc has no types
        Predict = staticmethod(half_plus_two)

    server = grpc.server(ThreadPoolExecutor(THREADS))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    server.start()
    ready = orjson.dumps({"grpc": f"127.0.0.1:{port}"}, option=orjson.OPT_INDENT_2)
    print(ready.decode(), flush=True)
    stopping.wait()
    server.stop(1).wait()
    sys.exit(0)


if __name__ == "__main__":
    main()
