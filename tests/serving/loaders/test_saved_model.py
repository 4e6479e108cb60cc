from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.execution import Execution, apply_execution
from consistency.features import FeatureBatch, feature_batch, take_rows
from consistency.protocols import Scorer
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders import load_scorer

pytestmark = pytest.mark.slow  # importing TensorFlow alone takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(2).normal(size=(512, 40))


@pytest.fixture(scope="module")
def network(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 network, wide enough for its bits to move with the batch."""
    layers = [keras.layers.Dense(n, activation="relu") for n in (256, 128)]
    model = keras.Sequential(
        [keras.Input((40,), name="row"), *layers, keras.layers.Dense(1, activation="sigmoid")]
    )
    folder = tmp_path_factory.mktemp("network")
    model.export(folder, verbose=False)
    (folder / "samescore").mkdir()
    return folder


@pytest.fixture(scope="module")
def scorer(network: Path) -> Scorer:
    return load_scorer("saved_model", network)


def in_batches(scorer: Scorer, batch: FeatureBatch, size: int) -> NDArray:
    parts = [
        scorer.score(take_rows(batch, slice(start, start + size)))["output_0"]
        for start in range(0, batch.rows, size)
    ]
    return np.concatenate(parts)


def test_the_score_has_the_bits_of_the_signature(
    tensorflow: Any, network: Path, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    signature = tensorflow.saved_model.load(str(network)).signatures["serving_default"]
    for size in (1, 7, 512):
        got = in_batches(scorer, batch_of(rows), size)
        asked = [
            signature(row=tensorflow.constant(rows[i : i + size], "float32"))["output_0"].numpy()
            for i in range(0, len(rows), size)
        ]
        np.testing.assert_array_equal(got, np.concatenate(asked))
        assert got.dtype == np.float32


def test_what_computes_is_logged(tensorflow: Any, scorer: Scorer) -> None:
    assert scorer.info.backend == f"in_process/tensorflow {tensorflow.__version__}"
    assert (scorer.info.dtype, scorer.info.device, scorer.info.threads) == ("float32", "cpu", 1)


def test_padding_makes_float32_bits_independent_of_the_request(
    scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    padded, batch = apply_execution(Execution.parse("padded:16"), scorer), batch_of(rows)
    reference = in_batches(padded, batch, 512)
    for size in (1, 7, 16, 64):
        np.testing.assert_array_equal(in_batches(padded, batch, size), reference)
    # Unpadded, the bits may move with the batch (on this machine or on another), but only a little.
    unpadded = in_batches(scorer, batch, 1)
    np.testing.assert_allclose(unpadded, reference, rtol=1e-5)


def test_inputs_named_like_features_get_their_features(keras: Any, tmp_path: Path) -> None:
    age = keras.Input((1,), name="age")
    clicks = keras.Input((), dtype="int64", name="clicks")
    history = keras.Input((3, 2), name="history")
    parts = [
        age,
        keras.ops.expand_dims(keras.ops.cast(clicks, "float32"), 1),
        keras.layers.Flatten()(history),
    ]
    summed = keras.ops.sum(keras.layers.Concatenate()(parts), axis=1)
    model = keras.Model([history, age, clicks], {"total": summed, "twice": clicks * 2})
    model.export(tmp_path, verbose=False)

    scorer = load_scorer("saved_model", tmp_path)
    schema = FeatureSchema(
        ("age", "history", "clicks"),
        (FeatureType.FLOAT64, FeatureType.FLOAT32, FeatureType.INT64),
    )
    others = {"clicks": np.array([10, 2**40]), "history": np.ones((2, 3, 2), np.float32)}
    whole = FeatureBatch(schema, 2, np.array([[1.5], [2.5]]), others)
    outputs = scorer.score(whole)
    assert outputs["twice"].tolist() == [20, 2**41]
    assert outputs["twice"].dtype == np.int64
    assert outputs["total"].tolist() == [1.5 + 10 + 6, np.float32(2.5 + 2**40 + 6)]
    assert scorer.info.dtype in ("float32+int64", "int64+float32")
    with pytest.raises(BackendError, match=r"input '(history|clicks)' is no feature"):
        scorer.score(FeatureBatch(FeatureSchema.float64(("age",)), 2, whole.numeric))


@pytest.mark.parametrize("value", [2.0**31, 0.5, np.nan])
def test_a_value_that_an_integer_input_cannot_hold_is_refused(
    value: float, keras: Any, tmp_path: Path, batch_of: BatchOf
) -> None:
    tokens = keras.Input((2,), dtype="int32", name="tokens")
    keras.Model(tokens, tokens + 1).export(tmp_path, verbose=False)
    scorer = load_scorer("saved_model", tmp_path)
    assert scorer.score(batch_of(np.array([[1.0, 2.0]])))["output_0"].tolist() == [[2, 3]]
    with pytest.raises(BackendError, match="'tokens' takes int32"):
        scorer.score(batch_of(np.array([[1.0, value]])))


def test_text_features_reach_a_model_as_text(tensorflow: Any, tmp_path: Path) -> None:
    tf = tensorflow
    module = tf.Module()
    spec = tf.TensorSpec((None,), tf.string, name="city")
    module.serve = tf.function(
        lambda city: {"length": tf.strings.length(city, unit="UTF8_CHAR")}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"only": module.serve})
    batch = feature_batch(
        FeatureSchema(("city",), (FeatureType.STRING,)),
        {"city": np.array(["北京", "Rome"], dtype=object)},
        {},
    )
    assert load_scorer("saved_model", tmp_path).score(batch)["length"].tolist() == [2, 4]


def save_function(tf: Any, folder: Path, names: list[str], answer: Callable[[Any], Any]) -> None:
    module = tf.Module()
    spec = tf.TensorSpec((None, 2), tf.float32, name="x")
    module.serve = tf.function(lambda x: {"y": answer(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=dict.fromkeys(names, module.serve))


def test_several_signatures_without_a_default_are_refused(tensorflow: Any, tmp_path: Path) -> None:
    save_function(tensorflow, tmp_path, ["a", "b"], lambda x: x)
    with pytest.raises(ConfigError, match="'serving_default' or exactly one; it has a, b"):
        load_scorer("saved_model", tmp_path)


def test_a_failing_operation_is_a_backend_error(
    tensorflow: Any, tmp_path: Path, batch_of: BatchOf
) -> None:
    save_function(
        tensorflow, tmp_path, ["a"], lambda x: tensorflow.debugging.check_numerics(x, "not finite")
    )
    scorer = load_scorer("saved_model", tmp_path)
    with pytest.raises(BackendError, match="InvalidArgumentError"):
        scorer.score(batch_of(np.array([[1.0, np.nan]])))
    assert scorer.score(batch_of(np.array([[1.0, 2.0]])))["y"].tolist() == [[1.0, 2.0]]


def test_another_width_is_a_backend_error(scorer: Scorer, batch_of: BatchOf) -> None:
    with pytest.raises(BackendError, match="takes 40 features, the row has 41"):
        scorer.score(batch_of(np.zeros((3, 41))))


def test_an_output_without_rows_is_refused(
    tensorflow: Any, tmp_path: Path, batch_of: BatchOf
) -> None:
    save_function(tensorflow, tmp_path, ["a"], tensorflow.reduce_mean)
    scorer = load_scorer("saved_model", tmp_path)
    with pytest.raises(BackendError, match=r"'y' has shape \(\) for 3 rows"):
        scorer.score(batch_of(np.zeros((3, 2))))


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_an_unreadable_saved_model_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(BundleError, match=r"saved_model\.pb is missing|cannot read the SavedModel"):
        load_scorer("saved_model", tmp_path)


def test_missing_variables_are_refused(network: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((network / "saved_model.pb").read_bytes())
    with pytest.raises(BundleError, match="cannot read the SavedModel"):
        load_scorer("saved_model", tmp_path)


def test_other_threads_than_tensorflow_runs_on_are_refused(scorer: Scorer, network: Path) -> None:
    assert scorer.info.threads == 1
    with pytest.raises(ConfigError, match="already runs in this process with 1 threads"):
        load_scorer("saved_model", network, threads=2)


def test_a_process_runs_on_the_threads_it_was_asked_for(network: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from serving.loaders import load_scorer
        print(load_scorer("saved_model", Path(sys.argv[1]), threads=2).info.threads)
        import tensorflow as tf
        print(tf.config.threading.get_intra_op_parallelism_threads())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), str(network)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.split() == ["2", "2"]
