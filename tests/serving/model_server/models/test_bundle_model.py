"""A bundle's signatures, and what its tensors must be."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from consistency.errors import BackendError
from consistency.features import FeatureBatch, feature_batch
from consistency.postprocess import PostProcess
from consistency.protocols import ScorerInfo
from consistency.schema import FeatureSchema, FeatureType
from serving.model_server.status import Code, StatusError
from serving.model_server.wire.dtypes import DataType

pytestmark = pytest.mark.slow  # signatures are TensorFlow's messages

SCHEMA = FeatureSchema(
    ("amount", "count", "small", "member", "city", "words"),
    (
        FeatureType.FLOAT64, FeatureType.INT64, FeatureType.FLOAT32, FeatureType.BOOL,
        FeatureType.STRING, FeatureType.TOKENS,
    ),
)  # fmt: skip
NUMBERS = FeatureSchema(
    ("amount", "count", "member"), (FeatureType.FLOAT64, FeatureType.INT64, FeatureType.BOOL)
)


class Remembering:
    """A scorer that keeps what it was given."""

    info = ScorerInfo("fake", "float64")

    def __init__(self) -> None:
        self.seen: FeatureBatch | None = None
        self.fails = False

    def score(self, features: FeatureBatch) -> dict[str, Any]:
        if self.fails:
            raise BackendError("it broke")
        self.seen = features
        rows = features.rows
        return {
            "p": features.numeric[:, :1] * 2.0,
            "name": np.array(["é"] * rows),
            "rank": np.arange(rows, dtype=np.int64),
        }


def tokens(*lists: list[str]) -> Any:
    out = np.empty(len(lists), object)
    out[:] = lists
    return out


def columns() -> dict[str, Any]:
    return {
        "amount": np.array([1.5, np.nan]),
        "count": np.array([2**60, -1]),
        "small": np.float32([0.1, 0.2]),
        "member": np.array([True, False]),
        "city": np.array(["Kiel", "Ülm"], object),
        "words": tokens(["a", "b"], []),
    }


def model(schema: FeatureSchema = SCHEMA) -> tuple[Any, Remembering]:
    from serving.model_server.models.bundle_model import BundleModel

    scorer = Remembering()
    held = {name: values for name, values in columns().items() if name in schema.names}
    return BundleModel(scorer, feature_batch(schema, held, {}), PostProcess("p")), scorer


def feeds() -> dict[str, Any]:
    return {
        "amount": np.array([[1.5], [np.nan]]),
        "count": np.array([2**60, -1]),
        "small": np.float32([0.1, 0.2]),
        "member": np.array([True, False]),
        "city": np.array([b"Kiel", "Ülm".encode()], object),
        "words": np.array([[b"a", b"b", b""], [b"", b"", b""]], object),
    }


def run(made: Any, key: str, given: dict[str, Any], *fetches: str) -> list[Any]:
    found: list[Any] = made.run(made.signatures[key], given, fetches)
    return found


def test_the_signatures_are_made_up_of_features_and_outputs() -> None:
    made, _ = model()
    default, raw = made.signatures["serving_default"], made.signatures["raw_outputs"]
    assert {n: (i.dtype, [d.size for d in i.tensor_shape.dim]) for n, i in default.inputs.items()}\
        == {
            "amount": (DataType.DOUBLE, [-1]), "count": (DataType.INT64, [-1]),
            "small": (DataType.FLOAT, [-1]), "member": (DataType.BOOL, [-1]),
            "city": (DataType.STRING, [-1]), "words": (DataType.STRING, [-1, -1]),
        }  # fmt: skip
    assert {n: i.dtype for n, i in default.outputs.items()} == {"scores": DataType.DOUBLE}
    assert {n: i.dtype for n, i in raw.outputs.items()} == {
        "p": DataType.DOUBLE, "name": DataType.STRING, "rank": DataType.INT64,
    }  # fmt: skip
    assert raw.inputs == default.inputs
    assert default.method_name == "tensorflow/serving/predict"
    assert "matrix" not in made.signatures  # texts have no place in one
    (info,) = model(NUMBERS)[0].signatures["matrix"].inputs.values()
    assert [d.size for d in info.tensor_shape.dim] == [-1, 3]


def test_features_reach_the_model_exactly(
) -> None:  # fmt: skip
    made, scorer = model()
    (scores,) = run(made, "serving_default", feeds(), "scores")
    np.testing.assert_array_equal(scores, [3.0, np.nan])
    assert made.thread_hint_seconds > 0
    assert scorer.seen is not None
    for name, values in columns().items():
        found = scorer.seen.column(name)
        assert found.dtype == values.dtype
        assert found.tolist() == values.tolist() or name == "amount"


def test_raw_outputs_keep_their_dtypes_and_texts_are_bytes() -> None:
    made, _ = model()
    rank, name = run(made, "raw_outputs", feeds(), "rank", "name")
    assert rank.dtype == np.int64
    assert name.tolist() == ["é".encode()] * 2


def test_a_matrix_is_taken_apart_by_the_features_dtypes() -> None:
    made, scorer = model(NUMBERS)
    run(made, "matrix", {"features": np.array([[1.5, 7.0, 1.0]])}, "scores")
    assert scorer.seen is not None
    assert scorer.seen.column("count").tolist() == [7]
    assert scorer.seen.column("member").tolist() == [True]
    for value in (7.5, np.nan, 1e300):
        with pytest.raises(StatusError, match="feature 'count' that is no int64"):
            run(made, "matrix", {"features": np.array([[1.5, value, 1.0]])}, "scores")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("amount", np.float32([1.0, 2.0]), "'amount' to be double but float is provided"),
        ("count", np.array([1.0, 2.0]), "'count' to be int64 but double is provided"),
        ("amount", np.array([1.0]), "send the same number of rows"),
        ("amount", np.ones((2, 2)), r"'amount' has shape \[2, 2\]; send \[N\]"),
        ("amount", np.float64(1.0)[...], "send the same number of rows"),
        ("words", np.array([b"a", b"b"], object), r"send \[N, any\]"),
        ("city", np.array([b"\xff", b"b"], object), "not UTF-8"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(name: str, value: Any, said: str) -> None:
    made, _ = model()
    with pytest.raises(StatusError, match=said) as caught:
        run(made, "serving_default", {**feeds(), name: np.asarray(value)}, "scores")
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_no_row_is_refused() -> None:
    made, _ = model(NUMBERS)
    with pytest.raises(StatusError, match="send \\[N, 3\\], one row for each"):
        run(made, "matrix", {"features": np.ones((0, 3))}, "scores")
    empty = {name: values[:0] for name, values in feeds().items() if name in NUMBERS.names}
    with pytest.raises(StatusError, match="hold no row"):
        run(made, "serving_default", empty, "scores")


def test_a_model_that_fails_is_an_internal_error() -> None:
    made, scorer = model()
    scorer.fails = True
    with pytest.raises(StatusError, match="it broke") as caught:
        run(made, "serving_default", feeds(), "scores")
    assert caught.value.code is Code.INTERNAL


def test_features_are_laid_out_as_a_client_would_send_them() -> None:
    from serving.model_server.models.bundle_model import feeds_of

    made, scorer = model()
    run(made, "serving_default", feeds_of(feature_batch(SCHEMA, columns(), {})), "scores")
    assert scorer.seen is not None
    assert scorer.seen.column("words").tolist() == [["a", "b"], []]
    assert scorer.seen.column("city").tolist() == ["Kiel", "Ülm"]


def test_predict_answers_through_the_common_way() -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import classification_pb2, model_pb2, predict_pb2

    from serving.model_server import inference

    made, _ = model(NUMBERS)
    request = predict_pb2.PredictRequest()
    for name in NUMBERS.names:
        request.inputs[name].CopyFrom(tf.make_tensor_proto(columns()[name]))
    answer = inference.predict(made, request, model_pb2.ModelSpec(name="m"))
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["scores"]), [3.0, np.nan])
    with pytest.raises(StatusError, match="a bundle answers Predict only"):
        inference.classify(
            made, classification_pb2.ClassificationRequest(), model_pb2.ModelSpec(name="m")
        )


def test_threads_may_ask_at_the_same_time() -> None:
    made, _ = model(NUMBERS)
    found: list[bool] = []

    def ask(value: float) -> None:
        for _ in range(200):
            given = {"features": np.array([[value, 1.0, 0.0]])}
            found.append(run(made, "matrix", given, "scores")[0].tolist() == [2 * value])

    threads = [threading.Thread(target=ask, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 800
    assert all(found)
