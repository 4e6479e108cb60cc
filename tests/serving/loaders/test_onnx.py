from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from consistency.errors import BackendError, ConfigError
from consistency.execution import Execution, apply_execution
from consistency.features import FeatureBatch
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders import load_scorer
from tests.fixtures.made_models import WIDTH, network, onnx_network

pytestmark = pytest.mark.slow  # importing onnx and sklearn-onnx takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]


def saved(nodes: list, inputs: list, outputs: list, folder: Path) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "model.onnx")
    return folder


def value(name: str, kind: int, shape: list) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


def test_a_float32_model_is_scored_in_float32(tmp_path: Path, batch_of: BatchOf) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx_network(kind="FLOAT"))
    scorer = load_scorer("onnx", tmp_path)
    x = np.random.default_rng(0).normal(size=(50, WIDTH))
    outputs = scorer.score(batch_of(x))
    assert scorer.info.dtype == outputs["p"].dtype == "float32"
    np.testing.assert_allclose(outputs["p"], network(x), atol=1e-5)


def test_a_fixed_batch_is_refused_unless_the_bundle_pads_to_it(
    tmp_path: Path, batch_of: BatchOf
) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx_network(rows=8))
    scorer = load_scorer("onnx", tmp_path)
    x = np.random.default_rng(0).normal(size=(21, WIDTH))
    with pytest.raises(BackendError, match=r"exactly 8 rows, this one has 21.*padded:8"):
        scorer.score(batch_of(x))
    padded = apply_execution(Execution.parse("padded:8"), scorer)
    np.testing.assert_allclose(padded.score(batch_of(x))["p"], network(x), rtol=0, atol=5e-11)


def test_several_inputs_are_fed_by_name_each_in_its_dtype(tmp_path: Path) -> None:
    saved(
        [
            helper.make_node("Cast", ["count"], ["c"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["price", "c"], ["total"]),
            helper.make_node("Identity", ["word"], ["echo"]),
        ],
        [
            value("count", TensorProto.INT64, ["n", 1]),
            value("price", TensorProto.DOUBLE, ["n", 1]),
            value("word", TensorProto.STRING, ["n"]),
        ],
        [value("total", TensorProto.DOUBLE, ["n", 1]), value("echo", TensorProto.STRING, ["n"])],
        tmp_path,
    )
    scorer = load_scorer("onnx", tmp_path)
    schema = FeatureSchema(
        ("price", "word", "count"), (FeatureType.FLOAT64, FeatureType.STRING, FeatureType.INT64)
    )
    others = {"word": np.array(["a", "数"], object), "count": np.array([2**53 + 1, 1])}
    outputs = scorer.score(FeatureBatch(schema, 2, np.array([[0.1], [0.2]], order="F"), others))
    assert outputs["total"].tolist() == [[float(2**53 + 1) + 0.1], [1.2]]
    assert outputs["echo"].tolist() == ["a", "数"]
    assert scorer.info.dtype == "float64"
    short = FeatureBatch(FeatureSchema.float64(("price",)), 1, np.zeros((1, 1)))
    with pytest.raises(BackendError, match="input 'count' is no feature"):
        scorer.score(short)


def test_probabilities_of_a_zipmap_become_a_matrix(tmp_path: Path, batch_of: BatchOf) -> None:
    x = np.random.default_rng(4).normal(size=(120, 3)).astype(np.float32)
    model = LogisticRegression().fit(x, np.arange(120) % 12)
    made = to_onnx(model, x[:1], options={"zipmap": True})
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    outputs = load_scorer("onnx", tmp_path).score(batch_of(x))
    (probabilities,) = (v for v in outputs.values() if v.ndim == 2)
    np.testing.assert_allclose(probabilities, model.predict_proba(x), atol=1e-5)


def test_an_output_that_is_no_column_is_refused_by_name(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    saved(
        [helper.make_node("SplitToSequence", ["x"], ["parts"])],
        [value("x", TensorProto.FLOAT, ["n", 2])],
        [sequence],
        tmp_path,
    )
    with pytest.raises(ConfigError, match=r"output 'parts' is a seq.*export the model without it"):
        load_scorer("onnx", tmp_path)


def test_an_answer_without_the_rows_first_is_refused(tmp_path: Path, batch_of: BatchOf) -> None:
    saved(
        [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0])],
        [value("x", TensorProto.DOUBLE, ["n", 2])],
        [value("m", TensorProto.DOUBLE, [1, 2])],
        tmp_path,
    )
    with pytest.raises(BackendError, match=r"output 'm' has shape \(1, 2\) for 5 rows"):
        load_scorer("onnx", tmp_path).score(batch_of(np.zeros((5, 2))))
