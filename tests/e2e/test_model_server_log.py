"""The model server's own request log: served over gRPC and REST, then replayed from its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency.log import LoggedRequest, RequestLogReader
from samescore.pytest_plugin.catalogue import every_check
from samescore.pytest_plugin.configuring.configuration import settings_from
from samescore.pytest_plugin.fresh import run_fresh
from samescore.pytest_plugin.telling.findings import Verdict
from tests.fixtures.cli import samescore
from tests.fixtures.model_server import HALF_PLUS_TWO, ModelServer, model_server, predict_request
from tests.fixtures.tensorflow_apart import apart, keras_network

pytestmark = pytest.mark.slow

WIDTH = 4
FIRST = [1.0, 2.0, 5.0, float("nan"), float("inf")]


def stub_of(server: ModelServer) -> Any:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.grpc))


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a float64 Keras network, version 3."""
    base = tmp_path_factory.mktemp("keras")
    apart(keras_network, base / "3", WIDTH)
    return base


@pytest.fixture(scope="module")
def logged(keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of both models, over both protocols; errors too."""
    import grpc

    folder = tmp_path_factory.mktemp("logged")
    config = folder / "models.config"
    config.write_text(
        "model_config_list {"
        f' config {{ name: "half" base_path: "{HALF_PLUS_TWO}" model_platform: "tensorflow" }}'
        f' config {{ name: "keras" base_path: "{keras}" model_platform: "tensorflow"'
        '   version_labels { key: "stable" value: 3 } } }'
    )
    with model_server(
        f"--model_config_file={config}", "--request_log", folder / "log",
        "--allow_version_labels_for_unavailable_models", errors=folder / "errors",
    ) as server:  # fmt: skip
        stub = stub_of(server)
        ask_half(server, stub)
        ask_keras(server, stub)
        with pytest.raises(grpc.RpcError):  # not logged: no model was asked
            stub.Predict(predict_request("nobody", [1.0]))
        assert server.terminate() == 0
    return folder / "log"


def ask_half(server: ModelServer, stub: Any) -> None:
    import grpc

    stub.Predict(predict_request("half", FIRST))
    with pytest.raises(grpc.RpcError):
        stub.Predict(predict_request("half", [1.0], signature="nope"))
    path = "/v1/models/half"
    assert server.post(f"{path}:predict", {"instances": [1.0, 0.1]}).status == 200
    assert server.post(f"{path}:predict", {"inputs": 3.0}).status == 200
    assert server.post(f"{path}:predict", {"instances": [1.0, "x"]}).status == 400
    assert server.post(f"{path}:predict", b"{").status == 400
    examples = {"examples": [{"x": 1.0}, {"x": 2.0}]}
    for verb in ("classify", "regress"):
        body = {**examples, "signature_name": f"{verb}_x_to_y"}
        assert server.post(f"{path}:{verb}", body).status == 200
    stub.MultiInference(several_tasks())


def several_tasks() -> Any:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for verb in ("regress", "classify"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{verb}")
        task.model_spec.name, task.model_spec.signature_name = "half", f"{verb}_x_to_y"
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(7.0)
    return request


def ask_keras(server: ModelServer, stub: Any) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(9)
    for rows in (1, 1, 7, 64):
        values = rng.normal(size=(rows, WIDTH)) * 100
        request = predict_request("keras", [], label="stable")
        request.inputs.clear()
        name = next(iter(server.get("/v1/models/keras/metadata").json["metadata"]
                    ["signature_def"]["signature_def"]["serving_default"]["inputs"]))  # fmt: skip
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        stub.Predict(request)
        body = {"instances": values.tolist()}
        assert server.post("/v1/models/keras/labels/stable:predict", body).status == 200


def requests_of(log: Path, model: str) -> list[LoggedRequest]:
    held = [r for r in RequestLogReader(log) if isinstance(r, LoggedRequest)]
    return [r for r in held if r.model[0] == model]


def test_each_call_is_a_line_with_its_bytes_and_its_outputs(logged: Path) -> None:
    first, refused, row, column, bad, broken, *rest = requests_of(logged, "half")
    assert first.model == ("half", 123)
    assert first.fields["signature"] == "serving_default"
    assert first.payload.body == predict_request("half", FIRST).SerializeToString()
    assert first.outputs is not None
    np.testing.assert_array_equal(
        first.outputs["y"], np.float32([2.5, 3.0, 4.5, np.nan, np.inf])
    )  # fmt: skip
    assert first.outputs["y"].dtype == np.float32
    assert refused.fields["message"] == 'Serving signature key "nope" not found.'
    assert [r.payload.codec for r in (row, column)] == ["tfs-rest/1"] * 2
    assert row.payload.body == b'{"instances":[1.0,0.1]}'
    assert [str(r.outcome) for r in (refused, row, column, bad, broken)] == [
        "data_error", "ok", "ok", "data_error", "data_error",
    ]  # fmt: skip
    assert [r.payload.codec for r in rest] == [
        "tfs-rest-classify/1", "tfs-rest-regress/1", "tfs-multi-inference/1",
    ]  # fmt: skip
    assert {r.fields["label"] for r in requests_of(logged, "keras")} == {"stable"}


def test_the_replay_of_both_models_agrees_to_ten_decimals(logged: Path, keras: Path) -> None:
    places = [
        part
        for name, path in (("half", HALF_PLUS_TWO), ("keras", keras))
        for part in ("--model-base-path", f"{name}={path}")
    ]
    ran = samescore("replay", logged, *places, "--json")
    assert ran.code == 0, ran.out
    half, network = ran.json["models"]["half/123"], ran.json["models"]["keras/3"]
    assert network["stages"].keys() == {"outputs"}
    assert network["stages"]["outputs"]["rows_agreeing"] == 2 * (1 + 1 + 7 + 64)
    assert (half["rejected"], half["rejected_reproduced"]) == (3, 3)
    assert half["stages"]["outputs"]["rows_agreeing"] == half["rows"] == 5 + 2 + 1 + 2 + 2 + 1
    shown = samescore("replay", logged, *places)
    assert "half/123: no feature stage: replayed from the payload to the outputs" in shown.words


def test_a_replay_of_the_pipeline_alone_says_that_there_is_none(logged: Path, keras: Path) -> None:
    ran = samescore(
        "replay", logged, "--model", "keras", "--model-base-path", f"keras={keras}",
        "--mode", "pipeline", "--json",
    )  # fmt: skip
    assert ran.code == 1
    assert ran.json["models"]["keras/3"]["not_replayable"] == {"no feature stage": 8}


@pytest.mark.parametrize("trusted", [[], ["some_features"]])
def test_the_pytest_plugin_replays_it_too(logged: Path, tmp_path: Path, trusted: list[str]) -> None:
    (tmp_path / "half").symlink_to(HALF_PLUS_TWO)
    of_log = {"path": str(logged), "bundles": str(tmp_path), "models": ["half"]}
    table = {"trusted": trusted, "logs": {"night": of_log}}
    settings = settings_from(tmp_path / "samescore.toml", table)
    (check,) = every_check(settings)
    found = run_fresh(check, settings)
    assert found.verdict is Verdict.PASSED, found.summary
    assert found.properties["rows"] == 13


def test_other_files_than_the_ones_that_served_are_refused(logged: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(HALF_PLUS_TWO, tmp_path / "half")
    (copy / "00000123" / "added").write_text("x")
    ran = samescore("replay", logged, "--model", "half", "--bundles", tmp_path)
    assert ran.code == 2
    assert "replay with the ones that served" in ran.err
    shutil.rmtree(copy / "00000123")
    ran = samescore("replay", logged, "--model", "half", "--bundles", tmp_path)
    assert "holds no version 123 of half; name its base path with --model-base-path" in ran.err
