"""The recorded cases of upstream's REST interface, each against the part that it names."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from serving.faces.tfs_rest.examples_request import fill_examples_request
from serving.faces.tfs_rest.predict_request import JsonFormat, fill_predict_request
from serving.faces.tfs_rest.predict_response import column_body, row_body
from serving.faces.tfs_rest.results_response import classification_body, regression_body
from serving.model_server.status import StatusError
from serving.model_server.wire.dtypes import FIELDS, DataType
from tests.fixtures.model_server import DATA, ModelServer, cases_config, model_server

pytestmark = pytest.mark.slow  # TensorFlow and a server

RECORDED = json.loads((DATA / "rest_cases.json").read_text())
CASES: list[dict[str, Any]] = RECORDED["cases"]
NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def _of(kind: str) -> pytest.MarkDecorator:
    cases = [case for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", cases, ids=[case["id"] for case in cases])


def _bytes(value: Any) -> bytes:
    """Return recorded text or binary as bytes."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return (value or "").encode()


def _number(value: Any) -> Any:
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _tokens(text: bytes) -> Any:
    """Return JSON with every number as the text it was written with."""
    return json.loads(
        text, parse_float=lambda t: ("number", t), parse_int=lambda t: ("number", t),
        parse_constant=lambda t: ("number", t),
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("rest_cases")
    config = folder / "models.config"
    config.write_text(cases_config(RECORDED["http_server"]))
    with model_server(
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
        errors=folder / "errors.txt",
    ) as running:
        yield running


def test_every_recorded_case_is_run() -> None:
    kinds = {"decode_predict", "encode_predict", "decode_examples", "encode_result", "http"}
    assert len(CASES) == 123
    assert {case["kind"] for case in CASES} == kinds


@_of("decode_predict")
def test_decode_predict(case: dict[str, Any]) -> None:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    types = {name: DataType[word.upper()] for name, word in case["inputs"].items()}
    body, expect = _bytes(case["body"]), case["expect"]
    if "status" in expect:
        with pytest.raises(StatusError) as caught:
            fill_predict_request(body, request, lambda _name: types)
        assert (caught.value.code.name, caught.value.message) == (
            expect["status"],
            expect["message"],
        )
        return
    form = fill_predict_request(body, request, lambda _name: types)
    assert form is {"row": JsonFormat.ROW, "column": JsonFormat.COLUMN}[expect["format"]]
    assert request.model_spec.signature_name == expect.get("signature_name", "")
    assert request.inputs.keys() == expect["tensors"].keys()
    for name, tensor in expect["tensors"].items():
        _check_tensor(request.inputs[name], tensor)


def _check_tensor(proto: Any, expect: dict[str, Any]) -> None:
    dtype = DataType[expect["dtype"].upper()]
    assert proto.dtype == dtype
    assert [dim.size for dim in proto.tensor_shape.dim] == expect["shape"]
    if dtype is DataType.STRING:
        assert list(proto.string_val) == [_bytes(value) for value in expect["values"]]
        return
    found = list(getattr(proto, FIELDS[dtype].field))
    assert [repr(float(v)) for v in found] == [repr(float(_number(v))) for v in expect["values"]]


@_of("encode_predict")
def test_encode_predict(case: dict[str, Any]) -> None:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    protos = {}
    for name, tensor in case["outputs"].items():
        dtype = DataType[tensor["dtype"].upper()]
        proto = protos[name] = TensorProto(dtype=dtype)
        for size in tensor["shape"]:
            proto.tensor_shape.dim.add(size=size)
        if dtype is DataType.STRING:
            proto.string_val.extend(map(_bytes, tensor["values"]))
        else:
            getattr(proto, FIELDS[dtype].field).extend(map(_number, tensor["values"]))
    write = row_body if case["format"] == "row" else column_body
    _check_body(case["expect"], lambda: write(protos), same_text=len(protos) < 2)


def _check_body(expect: dict[str, Any], write: Any, *, same_text: bool = True) -> None:
    if "status" in expect:
        with pytest.raises(StatusError) as caught:
            write()
        assert (caught.value.code.name, caught.value.message) == (
            expect["status"],
            expect["message"],
        )
        return
    body = write()
    if same_text:
        assert body.decode() == expect["body_text"]
    assert _tokens(body) == _tokens(expect["body_text"].encode())


@_of("decode_examples")
def test_decode_examples(case: dict[str, Any]) -> None:
    from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
    from tensorflow_serving.apis.regression_pb2 import RegressionRequest

    request = ClassificationRequest() if case["method"] == "classify" else RegressionRequest()
    body, expect = _bytes(case["body"]), case["expect"]
    if "status" in expect:
        with pytest.raises(StatusError) as caught:
            fill_examples_request(body, request)
        assert (caught.value.code.name, caught.value.message) == (
            expect["status"],
            expect["message"],
        )
        return
    fill_examples_request(body, request)
    kind = request.input.WhichOneof("kind")
    assert kind == expect["input_kind"]
    examples = getattr(request.input, kind).examples
    assert [_features(example) for example in examples] == expect["examples"]


def _features(example: Any) -> dict[str, Any]:
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value)
        found[name] = {
            "kind": kind,
            "values": [v.decode() if isinstance(v, bytes) else v for v in values],
        }
    return found


@_of("encode_result")
def test_encode_result(case: dict[str, Any]) -> None:
    from tensorflow_serving.apis.classification_pb2 import ClassificationResult
    from tensorflow_serving.apis.regression_pb2 import RegressionResult

    if case["method"] == "regress":
        result = RegressionResult()
        for value in case["result"]:
            result.regressions.add(value=_number(value))
        _check_body(case["expect"], lambda: regression_body(result))
        return
    classes = ClassificationResult()
    for row in case["result"]:
        target = classes.classifications.add()
        for label, score in row:
            target.classes.add(label=label, score=_number(score))
    _check_body(case["expect"], lambda: classification_body(classes))


@_of("http")
def test_http(case: dict[str, Any], server: ModelServer) -> None:
    expect = case["expect"]
    post = case["method"] == "POST"
    reply = server.post(case["path"], _bytes(case["body"])) if post else server.get(case["path"])
    assert reply.status == expect["http"], reply.body
    assert reply.headers["content-type"] == expect["content_type"]
    if "error" in expect:
        _check_error(expect, reply.body)
    elif "json_file" in expect:
        wanted = json.loads((DATA / expect["json_file"]).read_text())
        wanted["model_spec"]["name"] = expect["with"]["model_spec.name"]
        assert json.loads(reply.body) == wanted
    else:
        assert reply.body.decode() == expect["body_text"]


def _check_error(expect: dict[str, Any], body: bytes) -> None:
    if not expect["error"]:
        assert body == b""
        return
    error = json.loads(body)["error"]
    assert expect["match"] in error
    if expect["match"] == expect["error"]:
        assert error == expect["error"]
