"""Upstream's recorded gRPC cases of inference, on the upstream's models, below any transport."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server import inference
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.saved_model_files import load_saved_model
from serving.model_server.multi_inference import multi_inference, multi_inference_spec
from serving.model_server.status import Code, StatusError

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data/tfs"
RECORDED = json.loads((DATA / "grpc_cases.json").read_text())
CALLS = {
    "Predict": (predict_pb2.PredictRequest, inference.predict),
    "Classify": (classification_pb2.ClassificationRequest, inference.classify),
    "Regress": (regression_pb2.RegressionRequest, inference.regress),
    "MultiInference": (inference_pb2.MultiInferenceRequest, multi_inference),
    "GetModelMetadata": (
        get_model_metadata_pb2.GetModelMetadataRequest,
        inference.get_model_metadata,
    ),
}
# Which model and version a request means is the server core's to find out.
OF_THE_CORE = {"grpc-no-spec", "grpc-no-name", "grpc-unknown-model", "grpc-unknown-label"}
CASES = [
    case for case in RECORDED["cases"] if case["method"] in CALLS and case["id"] not in OF_THE_CORE
]


@cache
def model(name: str) -> SavedModel:
    (found,) = (m for m in RECORDED["server"]["models"] if m["name"] == name)
    return load_saved_model(min((DATA / "testdata" / found["testdata"]).iterdir()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_upstream_s_answer(case: dict) -> None:
    message, call = CALLS[case["method"]]
    request = text_format.Parse(case["request_text"], message())
    multi = case["method"] == "MultiInference"
    asked = multi_inference_spec(request) if multi else request.model_spec
    spec = model_pb2.ModelSpec(name=asked.name)
    spec.version.value = 123
    expected = case["expect"]
    if expected["code"] == "OK":
        response = call(model("half"), request, spec)
        assert response == text_format.Parse(expected["response_text"], type(response)())
        return
    with pytest.raises(StatusError) as raised:
        call(model("half"), request, spec)
    assert raised.value.code.name == expected["code"]
    assert raised.value.message == expected["message"]


def test_most_cases_are_run() -> None:
    assert len(CASES) == 20


REST = {case["id"]: case for case in json.loads((DATA / "rest_cases.json").read_text())["cases"]}


def failed(call: Callable, *args: object) -> StatusError:
    with pytest.raises(StatusError) as raised:
        call(*args)
    return raised.value


def test_tensorflow_s_own_words_come_through() -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "incr_counter_by"
    request.inputs["delta"].dtype = 1
    request.inputs["delta"].tensor_shape.dim.add().size = 1
    request.inputs["delta"].float_val.append(1.0)
    error = failed(inference.predict, model("counter"), request, model_pb2.ModelSpec())
    assert error.message == REST["http-predict-scalar-output-row"]["expect"]["error"]


def test_bytes_that_are_no_example() -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "classify_x_to_y"
    request.inputs["inputs"].dtype = 7
    request.inputs["inputs"].tensor_shape.dim.add().size = 1
    request.inputs["inputs"].string_val.append(b"bad example")
    error = failed(inference.predict, model("half"), request, model_pb2.ModelSpec())
    assert error.message == REST["http-predict-empty-string-dtype"]["expect"]["error"]
    assert error.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "id", ["http-classify-on-regress-signature", "http-classify-unknown-signature"]
)
def test_classify_on_what_is_no_classification(id: str) -> None:
    case = REST[id]
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = json.loads(case["body"])["signature_name"]
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    error = failed(inference.classify, model("half"), request, model_pb2.ModelSpec())
    assert error.message == case["expect"]["error"]


def test_the_context_is_part_of_each_example() -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.signature_name = "regress_x_to_y"
    listed = request.input.example_list_with_context
    listed.context.features.feature["x"].float_list.value.append(6.0)
    listed.examples.add()
    listed.examples.add().features.feature["x"].float_list.value.append(2.0)
    response = inference.regress(model("half"), request, model_pb2.ModelSpec(name="half"))
    assert [found.value for found in response.result.regressions] == [5.0, 3.0]


def test_the_shape_is_the_graph_s_to_judge() -> None:
    request = predict_pb2.PredictRequest()
    request.inputs["x"].dtype = 1
    for size in (1, 2):
        request.inputs["x"].tensor_shape.dim.add().size = size
    request.inputs["x"].float_val.extend([1.0, 2.0])
    response = inference.predict(model("matrix"), request, model_pb2.ModelSpec())
    assert list(response.outputs["y"].float_val) == [2.5, 3.0]


@pytest.mark.parametrize("name", ["half", "three", "tf2", "counter", "matrix"])
def test_metadata_lists_every_signature(name: str) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = name
    spec = model_pb2.ModelSpec(name=name, signature_name="not told")
    response = inference.get_model_metadata(model(name), request, spec)
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    assert dict(found.signature_def) == dict(model(name).signatures)
    assert response.model_spec.signature_name == ""


def test_the_metadata_of_upstream_s_own_file() -> None:
    file = DATA / "testdata/saved_model_half_plus_two_tf2_2_versions_metadata.json"
    recorded = json.loads(file.read_text())["metadata"]["signature_def"]["signature_def"]
    assert set(recorded) == set(model("tf2").signatures)
