"""The gRPC cases that were recorded from upstream, against a real `samescore model-server`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.fixtures.model_server import DATA, TESTDATA, ModelServer, cases_config, model_server

pytestmark = pytest.mark.slow

RECORDED: Final = orjson.loads((DATA / "grpc_cases.json").read_bytes())
CASES: Final[list[dict[str, Any]]] = RECORDED["cases"]

REQUESTS: Final = {
    "Predict": ("PredictionService", "predict_pb2", "PredictRequest", "PredictResponse"),
    "Classify": (
        "PredictionService", "classification_pb2", "ClassificationRequest",
        "ClassificationResponse",
    ),
    "Regress": (
        "PredictionService", "regression_pb2", "RegressionRequest", "RegressionResponse",
    ),
    "MultiInference": (
        "PredictionService", "inference_pb2", "MultiInferenceRequest", "MultiInferenceResponse",
    ),
    "GetModelMetadata": (
        "PredictionService", "get_model_metadata_pb2", "GetModelMetadataRequest",
        "GetModelMetadataResponse",
    ),
    "GetModelStatus": (
        "ModelService", "get_model_status_pb2", "GetModelStatusRequest", "GetModelStatusResponse",
    ),
    "HandleReloadConfigRequest": (
        "ModelService", "model_management_pb2", "ReloadConfigRequest", "ReloadConfigResponse",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """One server for what only asks, and one for what may change what is served."""
    folder = tmp_path_factory.mktemp("grpc_cases")
    config = folder / "models.config"
    config.write_text(cases_config(RECORDED["server"]))
    with model_server(
        f"--model_config_file={config}",
        f"--file_system_poll_wait_seconds={RECORDED['server']['poll_seconds']}",
        "--allow_version_labels_for_unavailable_models=true",
        "--rest_api_port=0",
        errors=folder / "errors",
    ) as found:
        yield found


@pytest.fixture(scope="module")
def channel(server: ModelServer) -> Iterator[Any]:
    import grpc

    with grpc.insecure_channel(server.grpc) as found:
        yield found


def purpose(case: dict[str, Any]) -> str:
    return "reloading" if case["method"] == "HandleReloadConfigRequest" else "asking"


@pytest.mark.parametrize(
    ("server", "case"),
    [pytest.param(purpose(case), case, id=case["id"]) for case in CASES],
    indirect=["server"],
    scope="module",
)
def test_a_recorded_call_is_answered_as_upstream_did(channel: Any, case: dict[str, Any]) -> None:
    import grpc

    expected = case["expect"]
    request, response, call = _method(channel, case["method"], case["request_text"])
    if expected["code"] == "OK":
        assert call(request, timeout=60) == _parsed(response, expected["response_text"])
        return
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    assert caught.value.code().name == expected["code"]
    assert caught.value.details() == expected["message"]


def _method(channel: Any, name: str, text: str) -> tuple[Any, Any, Any]:
    import importlib

    service, module, request, response = REQUESTS[name]
    messages = importlib.import_module(f"tensorflow_serving.apis.{module}")
    stubs = importlib.import_module(
        "tensorflow_serving.apis."
        + ("prediction" if service == "PredictionService" else "model")
        + "_service_pb2_grpc"
    )
    stub = getattr(stubs, f"{service}Stub")(channel)
    parsed = _parsed(getattr(messages, request), text.replace("TESTDATA", str(TESTDATA)))
    return parsed, getattr(messages, response), getattr(stub, name)


def _parsed(kind: Any, text: str) -> Any:
    from google.protobuf import text_format

    return text_format.Parse(text, kind())


def test_all_cases_are_here() -> None:
    assert len(CASES) == 31
    assert {case["kind"] for case in CASES} == {"grpc"}


def test_paths_of_the_recorded_requests_are_those_of_the_data() -> None:
    for case in CASES:
        for part in case["request_text"].split('"'):
            if part.startswith("TESTDATA/"):
                assert Path(part.replace("TESTDATA", str(TESTDATA))).is_dir()
