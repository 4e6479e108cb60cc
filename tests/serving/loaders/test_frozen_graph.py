from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch, feature_batch
from consistency.schema import FeatureSchema
from serving.loaders import load_scorer

pytestmark = pytest.mark.slow  # importing TensorFlow alone takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(1).normal(size=(32, 4))


@pytest.fixture(scope="module")
def weights() -> NDArray:
    return np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def forest(tensorflow: Any, weights: NDArray, tmp_path: Path) -> Path:
    """The graph of model_online's client: `input`, `softmax`, `output`."""
    tf = tensorflow
    with tf.Graph().as_default() as graph:
        rows = tf.compat.v1.placeholder(tf.float32, (None, 4), name="input")
        scores = tf.nn.softmax(tf.matmul(rows, weights), name="softmax")
        tf.argmax(scores, 1, name="output")
    return write(tmp_path, graph)


def write(folder: Path, graph: Any, **names: list[str]) -> Path:
    (folder / "model.pb").write_bytes(graph.as_graph_def().SerializeToString())
    if names:
        (folder / "model.json").write_text(json.dumps(names))
    return folder


def softmax(rows: NDArray, weights: NDArray) -> NDArray:
    grown = np.exp(rows.astype(np.float32) @ weights)
    return grown / grown.sum(axis=1, keepdims=True)


def test_the_names_come_from_the_file_beside_the_graph(
    forest: Path, rows: NDArray, weights: NDArray, batch_of: BatchOf
) -> None:
    names = {"inputs": ["input"], "outputs": ["output", "softmax:0"]}
    (forest / "model.json").write_text(json.dumps(names))
    outputs = load_scorer("frozen_graph", forest).score(batch_of(rows))
    assert list(outputs) == ["output", "softmax"]
    expected = softmax(rows, weights)
    np.testing.assert_allclose(outputs["softmax"], expected, rtol=1e-5)
    np.testing.assert_array_equal(outputs["output"], expected.argmax(axis=1))


def test_without_that_file_what_nobody_reads_is_the_output(
    forest: Path, rows: NDArray, batch_of: BatchOf
) -> None:
    scorer = load_scorer("frozen_graph", forest)
    assert list(scorer.score(batch_of(rows))) == ["output"]
    assert scorer.info.backend.startswith("in_process/tensorflow ")


def test_several_inputs_take_one_feature_each(tensorflow: Any, tmp_path: Path) -> None:
    v1 = tensorflow.compat.v1
    with tensorflow.Graph().as_default() as graph:
        price = v1.placeholder("float64", (None,), name="price")
        age = v1.placeholder("int64", (None,), name="in/age")
        tensorflow.add(price, tensorflow.cast(age, "float64"), name="sum")
    scorer = load_scorer("frozen_graph", write(tmp_path, graph))
    columns = {"price": np.array([0.1, 2.0]), "in/age": np.array([3.0, 4.0])}
    batch = feature_batch(FeatureSchema.float64(("in/age", "price")), columns, {})
    np.testing.assert_array_equal(scorer.score(batch)["sum"], [3.1, 6.0])


def test_an_output_that_is_not_rows_is_refused(
    forest: Path, rows: NDArray, batch_of: BatchOf
) -> None:
    (forest / "model.json").write_text('{"inputs": ["input"], "outputs": ["output/dimension"]}')
    with pytest.raises(BackendError, match="first axis of every output must be the rows"):
        load_scorer("frozen_graph", forest).score(batch_of(rows))


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        ('{"inputs": ["input"], "outputs": ["y"]}', ConfigError, "no tensor 'y'; placeholders are"),
        ('{"inputs": [], "outputs": ["output"]}', ConfigError, "has no inputs"),
        ('{"inputs": ["input"]}', BundleError, "write {"),
        ('{"inputs": "input", "outputs": ["output"]}', BundleError, "write {"),
        ("[1", BundleError, "write {"),
        ('{"inputs": ["input"], "outputs": ["output:7"]}', BundleError, "cannot import"),
    ],
)
def test_unusable_names_are_refused(
    names: str, error: type[Exception], match: str, forest: Path
) -> None:
    (forest / "model.json").write_text(names)
    with pytest.raises(error, match=match):
        load_scorer("frozen_graph", forest)


def test_a_graph_with_variables_is_refused(tensorflow: Any, tmp_path: Path) -> None:
    v1 = tensorflow.compat.v1
    with tensorflow.Graph().as_default() as graph:
        v1.get_variable("w", initializer=1.0)
    with pytest.raises(ConfigError, match="node 'w' is a variable, so the graph is not frozen"):
        load_scorer("frozen_graph", write(tmp_path, graph))


def test_a_graph_that_reaches_out_is_refused_and_runs_nothing(
    tensorflow: Any, tmp_path: Path
) -> None:
    planted = tmp_path / "planted"
    with tensorflow.Graph().as_default() as graph:
        tensorflow.io.write_file(str(planted), "x", name="out")
    with pytest.raises(ConfigError, match="node 'out' is a WriteFile, which reaches out"):
        load_scorer("frozen_graph", write(tmp_path, graph))
    assert not planted.exists()


def test_python_in_a_library_function_is_refused(tensorflow: Any, tmp_path: Path) -> None:
    tf = tensorflow

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32)])
    def within(x: Any) -> Any:
        return tf.numpy_function(np.sin, [x], tf.float32)

    with tf.Graph().as_default() as graph:
        within(tf.compat.v1.placeholder(tf.float32, (None,), name="x"))
    with pytest.raises(ConfigError, match="PyFunc, which reaches out"):
        load_scorer("frozen_graph", write(tmp_path, graph))
