"""A caller's deadline and the batches of a real server, over real gRPC and HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fixtures.model_server import (
    TESTDATA,
    ModelServer,
    model_server,
    outputs,
    predict_request,
)

pytestmark = pytest.mark.slow

PAGE = "/monitoring/prometheus/metrics"
HOUR_MICROS = 3_600_000_000
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A batch of two rows runs at once, one of fewer after an hour."""
    folder = tmp_path_factory.mktemp("deadlines")
    parameters = folder / "batching.txt"
    parameters.write_text(
        f"max_batch_size {{ value: 2 }} batch_timeout_micros {{ value: {HOUR_MICROS} }}"
    )
    with model_server(
        "--model_name=matrix",
        f"--model_base_path={TESTDATA / 'batching_matrix_half_plus_two'}",
        "--enable_batching",
        f"--batching_parameters_file={parameters}",
        f"--monitoring_config_file={TESTDATA / 'monitoring_config.txt'}",
        "--rest_api_timeout_in_ms=500",
        errors=folder / "errors",
    ) as found:
        yield found


@pytest.fixture
def stub(server: ModelServer) -> Iterator[Any]:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def figure(server: ModelServer, line: str) -> int:
    """Return the number that a line of the monitoring page begins with; 0 if it has none."""
    text = server.get(PAGE).body.decode()
    found = re.search(rf"^:tensorflow:serving:{line} (\d+)$", text, re.MULTILINE)
    return 0 if found is None else int(found[1])


def rows_computed(server: ModelServer) -> int:
    return figure(server, r"batching_session:processed_batch_size_sum\S*")


def answered_late(server: ModelServer) -> int:
    return figure(server, r'request_count{model_name="matrix",status="DEADLINE_EXCEEDED"}')


def one_row(value: float) -> Any:
    rows: list[Any] = [[value]]
    return predict_request("matrix", rows)


def together(stub: Any, *values: float) -> list[Any]:
    with ThreadPoolExecutor(len(values)) as pool:
        asked = [one_row(v) for v in values]
        futures = [pool.submit(stub.Predict, a, timeout=PATIENCE_SECONDS) for a in asked]
        return [outputs(f.result()) for f in futures]


def test_over_grpc_a_late_request_is_answered_leaves_its_batch_and_is_not_computed(
    server: ModelServer, stub: Any
) -> None:
    import grpc

    rows_before, late_before = rows_computed(server), answered_late(server)
    until = time.monotonic() + PATIENCE_SECONDS
    # The client tells itself; the server's own answer is on its page. Again, as on a busy machine
    # the time may be over before the request is in its batch.
    while answered_late(server) == late_before:
        assert time.monotonic() < until, "the server has not answered a late request"
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(one_row(100.0), timeout=0.2)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.2)
    assert rows_computed(server) == rows_before
    # Had one stayed, the first of these two would make a batch with it, and the other wait an hour.
    assert together(stub, 1.0, 2.0) == [[[2.5]], [[3.0]]]
    assert rows_computed(server) == rows_before + 2


def test_over_http_as_well(server: ModelServer) -> None:
    rows_before = rows_computed(server)
    reply = server.post("/v1/models/matrix:predict", {"instances": [[100.0]]})
    assert (reply.status, reply.json["error"]) == (504, "Timed out waiting for notification")
    assert rows_computed(server) == rows_before
