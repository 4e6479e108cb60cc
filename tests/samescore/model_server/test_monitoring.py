"""Monitoring, batching, warm-up, TensorFlow Lite and the profiler, as an operator has them."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.cli import mistake, samescore
from tests.fixtures.model_server import (
    HALF_PLUS_TWO,
    TESTDATA,
    ModelServer,
    model_server,
    outputs,
    predict_request,
)

pytestmark = pytest.mark.slow

PAGE = "/monitoring/prometheus/metrics"
SERVING = ":tensorflow:serving:"


def flags(name: str, folder: Path) -> list[str]:
    return [f"--model_name={name}", f"--model_base_path={folder}"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("monitored")
    with model_server(
        *flags("half", HALF_PLUS_TWO),
        f"--monitoring_config_file={TESTDATA / 'monitoring_config.txt'}",
        "--metrics_per_version",
        errors=folder / "errors",
    ) as found:
        yield found


def counted(server: ModelServer, name: str) -> dict[tuple[str, ...], int]:
    """Return a counter's cells, or how many a histogram's cells have observed."""
    text = server.get(PAGE).body.decode()
    cells = re.findall(rf"^{SERVING}{name}(?:_count)?{{(.*)}} (\d+)$", text, re.MULTILINE)
    return {tuple(re.findall(r'="(.*?)"', labels)): int(count) for labels, count in cells}


def grown(server: ModelServer, name: str, work: Callable[[], object]) -> dict[tuple[str, ...], int]:
    """Return by how much each cell grew while something was done."""
    before = counted(server, name)
    work()
    after = counted(server, name)
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}


@pytest.fixture(scope="module")
def stub(server: ModelServer) -> Iterator[Any]:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def test_over_http_each_request_is_counted(server: ModelServer) -> None:
    def work() -> None:
        with ThreadPoolExecutor(8) as pool:
            bodies = [{"instances": [float(n)]} for n in range(57)]
            for body in bodies:
                pool.submit(server.post, "/v1/models/half:predict", body)
        server.post("/v1/models/half:predict", b"x")
        server.post("/v1/models/nope:predict", {"instances": [1]})
        server.get("/v1/models/half")
        server.get("/v1/models/half/metadata")
        server.get("/v1/models/nope")
        server.get("/v1/foo")
        server.get("/v1/models")

    before = counted(server, "request_latency"), counted(server, "runtime_latency")
    assert grown(server, "request_count", work) == {
        ("half", "OK"): 59,
        ("half", "INVALID_ARGUMENT"): 1,
        ("nope", "NOT_FOUND"): 2,
        ("", "INVALID_ARGUMENT"): 2,
    }
    latency, runtime = counted(server, "request_latency"), counted(server, "runtime_latency")
    for key, count in ((("half", "predict", "REST"), 57), (("half", "", "REST"), 2)):
        assert latency[key] - before[0].get(key, 0) == count
    key = ("half", "Predict", "TF1")
    assert runtime[key] - before[1].get(key, 0) == 57
    assert not any(name in {"nope", ""} for name, *_ in latency)


def test_over_grpc_each_request_is_counted(server: ModelServer, stub: Any) -> None:
    import grpc

    def work() -> None:
        futures = [stub.Predict.future(predict_request("half", [n]), timeout=30) for n in range(40)]
        assert [outputs(f.result()) for f in futures] == [[n / 2 + 2] for n in range(40)]
        for wrong in (predict_request("nope", [1]), predict_request("", [1])):
            with pytest.raises(grpc.RpcError):
                stub.Predict(wrong, timeout=30)
        from tensorflow_serving.apis import get_model_metadata_pb2

        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = "half"
        stub.GetModelMetadata(asked, timeout=30)

    before = counted(server, "request_latency")
    assert grown(server, "request_count", work) == {
        ("half", "OK"): 40,
        ("nope", "NOT_FOUND"): 1,
        ("", "INVALID_ARGUMENT"): 1,
    }
    key = ("half", "Predict", "GRPC")
    assert counted(server, "request_latency")[key] - before.get(key, 0) == 40


def test_examples_of_multi_inference_are_counted_and_the_request_is_not(
    server: ModelServer, stub: Any
) -> None:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name, task.model_spec.signature_name = "half", "regress_x_to_y"
    for value in (1.0, 2.0, 3.0):
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    before = counted(server, "request_count")
    total = grown(server, "request_example_count_total",
                  lambda: stub.MultiInference(request, timeout=30))  # fmt: skip
    assert total == {("half",): 3}
    assert counted(server, "request_example_counts") == {("half",): 1}
    assert counted(server, "request_count") == before


def test_versions_and_signatures_are_counted_apart(server: ModelServer) -> None:
    def work() -> None:
        server.post("/v1/models/half:regress", {"signature_name": "regress_x_to_y",
                                                "examples": [{"x": 1.0}]})  # fmt: skip
        server.post("/v1/models/half:regress", {"signature_name": "made_up",
                                                "examples": [{"x": 1.0}]})  # fmt: skip
        server.post("/v1/models/half/versions/77:regress", {"examples": [{"x": 1.0}]})

    assert grown(server, "version_request_count", work) == {
        ("half", "123", "regress_x_to_y", "Regress", "REST", "OK"): 1,
        ("half", "123", "", "Regress", "REST", "INVALID_ARGUMENT"): 1,
        ("", "", "", "Regress", "REST", "NOT_FOUND"): 1,
    }


def test_the_page_is_found_without_a_query_alone(server: ModelServer) -> None:
    assert server.get(PAGE).status == 200
    refused = server.get(PAGE + "?x=1")
    assert refused.status == 400
    assert refused.body.decode() == f"Unexpected path: {PAGE}?x=1. Should be {PAGE}"


def test_tensorflows_own_client_takes_a_profile(server: ModelServer, tmp_path: Path) -> None:
    import tensorflow as tf

    with ThreadPoolExecutor(1) as pool:
        tracing = pool.submit(
            tf.profiler.experimental.client.trace, f"grpc://{server.grpc}", str(tmp_path), 1000
        )
        while not tracing.done():
            server.post("/v1/models/half:predict", {"instances": [1.0]})
        tracing.result()
    (found,) = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    assert b"SessionRun" in found.read_bytes() or b"/host:CPU" in found.read_bytes()


def test_there_is_no_page_unless_it_is_asked_for_and_batching_shares_runs(tmp_path: Path) -> None:
    parameters = tmp_path / "batching.txt"
    parameters.write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 2000 }")
    with model_server(
        *flags("matrix", TESTDATA / "batching_matrix_half_plus_two"),
        "--enable_batching",
        f"--batching_parameters_file={parameters}",
        errors=tmp_path / "errors",
    ) as server:
        assert server.get(PAGE).status == 404
        path = "/v1/models/matrix:predict"
        ask = {"instances": [[1.0, 2.0]]}
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: server.post(path, ask).body, range(60)))
        # As recorded from upstream without batching.
        assert set(answers) == {b'{\n    "predictions": [[2.5, 3.0]\n    ]\n}'}
        refusals = {
            "Batching Run() input tensors must have at least one dimension": {"inputs": 1.0},
            "Task size 5 is larger than maximum input batch size 4": {"instances": [1, 2, 3, 4, 5]},
        }
        for said, body in refusals.items():
            reply = server.post(path, body)
            assert (reply.status, reply.json["error"]) == (400, said)
        assert server.terminate() == 0


def failure(*given: object) -> str:
    ran = samescore("model-server", *given)
    assert ran.code == 255, (ran.out, ran.err)
    return ran.out.strip()


def test_warm_up_requests_that_fail_fail_the_start(tmp_path: Path) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    base = Path(shutil.copytree(HALF_PLUS_TWO, tmp_path / "half"))
    (version,) = base.iterdir()
    (version / "assets.extra").mkdir()
    log = PredictionLog()
    log.predict_log.request.CopyFrom(predict_request("any", [1]))
    log.predict_log.request.model_spec.signature_name = "nope"
    with tf.io.TFRecordWriter(str(version / "assets.extra/tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    given = [*flags("half", base), "--max_num_load_retries=0", "--port=auto"]
    before = set(threading.enumerate())
    assert "did not become available" in failure(*given)
    assert [t for t in set(threading.enumerate()) - before if t.name == "version-poller"] == []
    with model_server(
        *given[:-1], "--enable_model_warmup=false", errors=tmp_path / "errors"
    ) as server:
        assert server.announced["serving"] == ["half version 123"]


def test_a_lite_model_by_flag(tmp_path: Path) -> None:
    with model_server(
        *flags("half", TESTDATA / "saved_model_half_plus_two_tflite"),
        "--prefer_tflite_model",
        "--num_tflite_pools=1",
        errors=tmp_path / "errors",
    ) as server:
        reply = server.post("/v1/models/half:predict", {"instances": [[1.0], [2.0], [5.0]]})
        assert reply.json == {"predictions": [[2.5], [3.0], [4.5]]}
        import grpc
        from tensorflow_serving.apis import predict_pb2  # noqa: F401 - registers the messages

        with grpc.insecure_channel(server.grpc) as channel:
            monitor = channel.unary_unary("/tensorflow.ProfilerService/Monitor")
            with pytest.raises(grpc.RpcError) as raised:
                monitor(b"", timeout=30)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_flags_that_contradict_or_name_a_wrong_file(tmp_path: Path) -> None:
    parameters = tmp_path / "batching.txt"
    parameters.write_text("max_batch_sice { value: 4 }")
    assert failure(f"--batching_parameters_file={parameters}") == (
        "Failed to start server. Error: INVALID_ARGUMENT: server_options.batching_parameters_file "
        "is set without setting server_options.enable_batching to true."
    )
    said = failure("--enable_batching", f"--batching_parameters_file={parameters}")
    assert 'no field named "max_batch_sice"' in said
    assert "No such file" in failure(f"--monitoring_config_file={tmp_path / 'none'}")
    assert "--metrics_per_version needs a page" in mistake("model-server", "--metrics_per_version")
