"""What a model answers and refuses, beyond the recorded cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server import inference
from serving.model_server.models.saved_model import SavedModel
from serving.model_server.multi_inference import multi_inference, multi_inference_spec
from serving.model_server.status import Code, StatusError
from serving.model_server.wire import tensors

pytestmark = pytest.mark.slow

SPEC = model_pb2.ModelSpec(name="m", version={"value": 7})
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
Loaded = Callable[[str], SavedModel]


@pytest.fixture(scope="session")
def examples_model(loaded_model: Loaded) -> SavedModel:
    return loaded_model("examples")


@pytest.fixture(scope="session")
def two_inputs(loaded_model: Loaded) -> SavedModel:
    return loaded_model("two_inputs")


def failed(call: Callable, *args: object, **options: object) -> StatusError:
    with pytest.raises(StatusError) as raised:
        call(*args, **options)
    return raised.value


def classification(signature: str, *values: float) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = signature
    for value in values:
        features = request.input.example_list.examples.add().features
        features.feature["x"].float_list.value.append(value)
    return request


def regression(signature: str, *values: float) -> regression_pb2.RegressionRequest:
    found = classification(signature, *values)
    return regression_pb2.RegressionRequest.FromString(found.SerializeToString())


def prediction(a: object = (1.0,), b: object = 3) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    tensors.encode(np.array(a, np.float32), request.inputs["a"])
    tensors.encode(np.array(b, np.int64), request.inputs["b"])
    return request


def test_all_outputs_or_the_filtered_ones(two_inputs: SavedModel) -> None:
    response = inference.predict(two_inputs, prediction(), SPEC)
    assert set(response.outputs) == {"product", "sum"}
    assert response.outputs["sum"].float_val == [1.0]
    assert response.outputs["sum"].HasField("tensor_shape")
    assert (response.model_spec.name, response.model_spec.version.value) == ("m", 7)
    request = prediction()
    request.output_filter.append("sum")
    assert set(inference.predict(two_inputs, request, SPEC).outputs) == {"sum"}


def test_content_on_request(two_inputs: SavedModel) -> None:
    response = inference.predict(two_inputs, prediction((1, 2)), SPEC, as_content=True)
    assert response.outputs["product"].tensor_content == np.array([6, 12], np.float32).tobytes()
    assert not response.outputs["product"].float_val


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ["nope"],
            (
                "output tensor alias not found in signature: nope Outputs expected to be in the set"
                " {product,sum}."
            ),
        ),
        (["sum", "sum"], "duplicate output tensor alias: sum"),
    ],
)
def test_wrong_filters(two_inputs: SavedModel, wanted: list[str], message: str) -> None:
    request = prediction()
    request.output_filter.extend(wanted)
    error = failed(inference.predict, two_inputs, request, SPEC)
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


class Recorder:
    """Stands in for a model that is no SavedModel: it gives back what it was fed."""

    def __init__(self, signature: SignatureDef) -> None:
        self.signatures, self.thread_hint_seconds = {"serving_default": signature}, 0.0

    def run(self, signature: SignatureDef, feeds: dict, fetches: tuple[str, ...]) -> list:
        return [feeds[alias] for alias in fetches]


def test_defaults_of_a_signature_stand_in() -> None:
    signature = SignatureDef(method_name="other")
    for alias in ("a", "b"):
        signature.inputs[alias].name = signature.outputs[alias].name = f"{alias}:0"
    tensors.encode(np.array([5], np.int32), signature.defaults["b"])
    model, request = Recorder(signature), predict_pb2.PredictRequest()
    tensors.encode(np.array([1], np.int32), request.inputs["a"])
    response = inference.predict(model, request, SPEC)
    assert response.outputs["b"].int_val == [5]
    request.inputs["c"].CopyFrom(request.inputs["a"])
    assert failed(inference.predict, model, request, SPEC).message == (
        "Inputs contains invalid name. Used request inputs: a, request input: a,c"
    )
    del request.inputs["a"]
    assert failed(inference.predict, model, request, SPEC).message == (
        "Signature input alias: a(feed name: a:0) not found in request and no default value"
        " provided. Inputs expected to be in the request {c}, or default input alias set: b"
    )
    assert failed(inference.predict, model, request, SPEC, check_method=True).message == (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}. Was: other"
    )


def test_a_tensor_that_would_take_all_memory() -> None:
    signature = SignatureDef()
    signature.inputs["a"].name = "a:0"
    request = predict_pb2.PredictRequest()
    request.inputs["a"].dtype = 1
    request.inputs["a"].tensor_shape.dim.add().size = 1 << 40
    request.inputs["a"].float_val.append(1.0)
    error = failed(inference.predict, Recorder(signature), request, SPEC)
    assert error.code is Code.RESOURCE_EXHAUSTED


def test_classes_with_scores(examples_model: SavedModel) -> None:
    response = inference.classify(examples_model, classification("", 0.25, 1.0), SPEC)
    found = [
        [(one.label, one.score) for one in row.classes] for row in response.result.classifications
    ]
    assert found == [[("low", 0.75), ("high", 0.25)], [("low", 0.0), ("high", 1.0)]]
    assert response.model_spec.signature_name == "serving_default"


def test_classes_alone(examples_model: SavedModel) -> None:
    response = inference.classify(examples_model, classification("labels", 1.0), SPEC)
    (row,) = response.result.classifications
    assert [(one.label, one.score) for one in row.classes] == [("low", 0.0), ("high", 0.0)]


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("vector_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("double_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("few_scores", "Expected scores output batch size of 2. Got: 1"),
        ("three", "Expected one or two output Tensors, found 3"),
        ("nope", "No signature was found with the name: nope"),
        ("no_text", "class label b'\\xff' is not UTF-8"),
    ],
)
def test_wrong_classifications(examples_model: SavedModel, signature: str, message: str) -> None:
    error = failed(inference.classify, examples_model, classification(signature, 1, 2), SPEC)
    assert error.message == message


def test_classes_and_scores_of_different_widths(examples_model: SavedModel) -> None:
    error = failed(inference.classify, examples_model, classification("unequal", 1), SPEC)
    assert error.message == "Tensors class and score should match in dim_size(1). Got 1 vs. 2"


@pytest.mark.parametrize("signature", ["vector", "matrix"])
def test_regressions(examples_model: SavedModel, signature: str) -> None:
    response = inference.regress(examples_model, regression(signature, 3.0, 5.0), SPEC)
    assert [one.value for one in response.result.regressions] == [1.5, 2.5]


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (
            "wide",
            (
                "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
                " [2,2]"
            ),
        ),
        ("few", "Input batch size did not match output batch size: 2 vs. 1"),
        ("double", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        ("serving_default", "Expected one output Tensor."),
        ("nope", "No signature was found with the name: nope"),
    ],
)
def test_wrong_regressions(examples_model: SavedModel, signature: str, message: str) -> None:
    error = failed(inference.regress, examples_model, regression(signature, 1, 2), SPEC)
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


def test_method_names_when_they_count(examples_model: SavedModel) -> None:
    predict = examples_model.signatures["labels"].method_name
    error = failed(
        inference.classify, examples_model, classification("labels", 1), SPEC, check_method=True
    )
    assert error.message == (
        f"Expected classification signature method_name to be {CLASSIFY}. Was: {predict}"
    )
    error = failed(
        inference.regress, examples_model, regression("vector", 1), SPEC, check_method=True
    )
    assert error.message == (
        f"Expected regression signature method_name to be {REGRESS}. Was: {predict}"
    )


def test_signatures_without_examples(two_inputs: SavedModel) -> None:
    error = failed(inference.classify, two_inputs, classification("", 1), SPEC)
    assert error.message == "Expected one input Tensor."


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        (inference.classify, classification_pb2.ClassificationRequest()),
        (inference.regress, regression("vector")),
    ],
)
def test_no_examples(examples_model: SavedModel, call: Callable, request_: object) -> None:
    assert failed(call, examples_model, request_, SPEC).message == "Input is empty."


def tasks(*wanted: tuple[str, str], name: str = "m") -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest(input=classification("", 1.0, 2.0).input)
    for signature, method in wanted:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    return request


class Counting:
    """Counts the runs of a model."""

    def __init__(self, model: SavedModel) -> None:
        self._model, self.signatures = model, model.signatures
        self.runs, self.thread_hint_seconds = 0, 0.0

    def run(self, *args: object) -> list:
        self.runs += 1
        return self._model.run(*args)  # type: ignore[arg-type]


def half_signatures() -> SavedModel:
    from tests.serving.model_server.test_recorded_inference import model

    return model("half")


def test_several_signatures_are_one_run() -> None:
    model = Counting(half_signatures())
    request = tasks(
        ("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY), ("regress_x_to_y2", REGRESS)
    )
    response = multi_inference(model, request, SPEC)
    assert model.runs == 1
    first, second, third = response.results
    assert [one.value for one in first.regression_result.regressions] == [2.5, 3.0]
    assert [row.classes[0].score for row in second.classification_result.classifications] == [
        2.5,
        3.0,
    ]
    assert [one.value for one in third.regression_result.regressions] == [3.5, 4.0]
    assert third.model_spec.signature_name == "regress_x_to_y2"
    assert third.model_spec.version.value == 7


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            tasks(("regress_x_to_y", "tensorflow/serving/predict")),
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            tasks(("regress_x_to_y", REGRESS), ("regress_x2_to_y3", REGRESS)),
            Code.INVALID_ARGUMENT,
            "Input tensor must be the same for all Signatures.",
        ),
        (
            tasks(("regress_x_to_y", REGRESS), name=""),
            Code.INVALID_ARGUMENT,
            "Found ModelSpec with an empty model name.",
        ),
    ],
)
def test_wrong_tasks(
    request_: inference_pb2.MultiInferenceRequest, code: Code, message: str
) -> None:
    error = failed(multi_inference, half_signatures(), request_, SPEC)
    assert (error.code, error.message) == (code, message)


def test_the_model_of_a_multi_inference() -> None:
    assert multi_inference_spec(tasks(("a", REGRESS))).name == "m"
    assert multi_inference_spec(inference_pb2.MultiInferenceRequest()).name == ""


def test_a_default_input_is_parsed_like_any_other() -> None:
    signature = SignatureDef()
    signature.inputs["a"].name = "a:0"
    signature.defaults["a"].CopyFrom(tensor_pb2.TensorProto(dtype=1))
    signature.defaults["a"].tensor_shape.unknown_rank = True
    error = failed(inference.predict, Recorder(signature), predict_pb2.PredictRequest(), SPEC)
    assert error.message == "tensor parsing error: a"
