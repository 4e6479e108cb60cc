from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, take_rows
from consistency.protocols import Scorer
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders import load_scorer
from serving.loaders.promotion.keras_model import promote_to_float64

pytestmark = pytest.mark.slow  # importing TensorFlow alone takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]
ROWS, WIDTH, STEPS = 1024, 12, 6


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(5).normal(loc=3, scale=2, size=(ROWS, WIDTH)).astype(np.float32)


def dense(keras: Any, rows: NDArray) -> Any:
    layers = keras.layers
    scale = layers.Normalization()
    scale.adapt(rows)
    return keras.Sequential(
        [
            keras.Input((WIDTH,), name="row"),
            scale,
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.LayerNormalization(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def built_by_its_first_batch(keras: Any, rows: NDArray) -> Any:
    model = keras.Sequential([keras.layers.Dense(32, activation="gelu"), keras.layers.Dense(2)])
    model(rows[:50])
    return model


def batch_norm(keras: Any, rows: NDArray) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            layers.Dense(32),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    model.fit(rows, rows[:, 0] > 3, epochs=2, verbose=0)
    return model


def sequence(keras: Any, *inner: Any) -> Any:
    reshape = keras.layers.Reshape((STEPS, WIDTH // STEPS))
    return keras.Sequential([keras.Input((WIDTH,)), reshape, *inner, keras.layers.Dense(1)])


def conv1d(keras: Any, _rows: NDArray) -> Any:
    layers = keras.layers
    pooled = [layers.MaxPooling1D(2), layers.GlobalAveragePooling1D()]
    return sequence(keras, layers.Conv1D(16, 3, activation="relu"), *pooled)


def lstm(keras: Any, _rows: NDArray) -> Any:
    return sequence(keras, keras.layers.Bidirectional(keras.layers.LSTM(8)))


def gru(keras: Any, _rows: NDArray) -> Any:
    return sequence(keras, keras.layers.GRU(8, return_sequences=True), keras.layers.GRU(4))


def attention(keras: Any, _rows: NDArray) -> Any:
    inputs = keras.Input((WIDTH,))
    steps = keras.layers.Reshape((STEPS, WIDTH // STEPS))(inputs)
    mixed = keras.layers.MultiHeadAttention(2, 4)(steps, steps)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(mixed)))


def two_branches(keras: Any, _rows: NDArray) -> Any:
    layers = keras.layers
    inputs = keras.Input((WIDTH,), name="row")
    wide = layers.Dense(1)(inputs * 2.0)
    inner = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dense(16, activation="tanh"), layers.Dense(1)]
    )
    return keras.Model(inputs, layers.Activation("sigmoid")(layers.Add()([wide, inner(inputs)])))


ARCHITECTURES = [
    dense,
    built_by_its_first_batch,
    batch_norm,
    conv1d,
    lstm,
    gru,
    attention,
    two_branches,
]


def check_batches(scorer: Scorer, batch: FeatureBatch) -> NDArray:
    """Return the scores at batch 1024; those at 1, 7 and 64 agree to ten decimals."""
    (name,) = scorer.score(take_rows(batch, slice(0, 1)))
    reference = scorer.score(batch)[name]
    for size in (1, 7, 64):
        for start in range(0, 128, size):
            part = slice(start, start + size)
            got = scorer.score(take_rows(batch, part))[name]
            np.testing.assert_allclose(got, reference[part], rtol=0, atol=5e-11)
    return reference


@pytest.mark.parametrize("build", ARCHITECTURES)
def test_a_promoted_model_scores_alike_in_every_batch(
    build: Callable[[Any, NDArray], Any],
    keras: Any,
    tensorflow: Any,
    rows: NDArray,
    tmp_path: Path,
    batch_of: BatchOf,
) -> None:
    model = build(keras, rows)
    before = [weight.numpy().copy() for weight in model.weights]
    promoted = promote_to_float64(model, rows[:64])

    for old, new, kept in zip(model.weights, promoted.weights, before, strict=True):
        np.testing.assert_array_equal(old.numpy(), kept)
        np.testing.assert_array_equal(new.numpy(), kept.astype(np.float64))
    assert keras.config.floatx() == "float32"
    assert keras.config.dtype_policy().name == "float32"

    promoted.export(tmp_path / "new", verbose=False)
    model.export(tmp_path / "old", verbose=False)
    load = tensorflow.saved_model.load
    new = load(str(tmp_path / "new")).signatures["serving_default"]
    old = load(str(tmp_path / "old")).signatures["serving_default"]
    ((name, spec),) = new.structured_input_signature[1].items()
    assert spec.dtype == tensorflow.float32
    assert spec.shape == (None, WIDTH)
    assert list(old.structured_input_signature[1]) == [name]
    assert list(old.structured_outputs) == list(new.structured_outputs)

    scorer = load_scorer("saved_model", tmp_path / "new")
    assert scorer.info.dtype == "float64"
    scores = check_batches(scorer, batch_of(rows))
    np.testing.assert_allclose(scores, model(rows).numpy(), rtol=1e-4, atol=1e-4)


def test_several_inputs_keep_names_and_dtypes(keras: Any, tmp_path: Path) -> None:
    tokens = keras.Input((STEPS,), dtype="int32", name="tokens")
    price = keras.Input((1,), name="price")
    read = keras.layers.LSTM(4)(keras.layers.Embedding(50, 8, mask_zero=True)(tokens))
    joined = keras.layers.Concatenate()([read, price])
    model = keras.Model({"tokens": tokens, "price": price}, {"p": keras.layers.Dense(1)(joined)})
    rng = np.random.default_rng(1)
    sample: Mapping[str, NDArray] = {
        "tokens": rng.integers(0, 50, (ROWS, STEPS), dtype=np.int32),
        "price": rng.normal(size=(ROWS, 1)).astype(np.float32),
    }
    promote_to_float64(model, sample).export(tmp_path, verbose=False)

    types = (FeatureType.FLOAT64, FeatureType.INT64)
    prices = np.asfortranarray(sample["price"], dtype=np.float64)
    batch = FeatureBatch(
        FeatureSchema(("price", "tokens"), types),
        ROWS,
        prices,
        {"tokens": sample["tokens"].astype(np.int64)},
    )
    scorer = load_scorer("saved_model", tmp_path)
    assert {spec.name: spec.dtype.name for spec in scorer._inputs} == {
        "tokens": "int32",
        "price": "float32",
    }
    check_batches(scorer, batch)


def test_a_registered_layer_that_makes_layers_is_promoted(keras: Any, rows: NDArray) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Gate(keras.layers.Layer):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.inner = keras.layers.Dense(WIDTH, activation="sigmoid")

        def build(self, shape: Any) -> None:
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return x * self.inner(x)

    model = keras.Sequential([keras.Input((WIDTH,)), Gate(), keras.layers.Dense(1)])
    promoted = promote_to_float64(model, rows[:64])
    assert {weight.dtype for weight in promoted.weights} == {"float64"}


def with_layer(keras: Any, layer: Any) -> Any:
    return keras.Sequential([keras.Input((WIDTH,)), layer, keras.layers.Dense(1)])


def test_python_code_in_a_layer_is_refused_by_name(keras: Any, rows: NDArray) -> None:
    model = with_layer(keras, keras.layers.Lambda(lambda x: x * 2, name="doubling"))
    with pytest.raises(ConfigError, match=r"layers 'doubling' \(Lambda\) cannot be rebuilt"):
        promote_to_float64(model, rows)


def test_an_unregistered_layer_is_refused_by_name(keras: Any, rows: NDArray) -> None:
    class Doubling(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    with pytest.raises(ConfigError, match=r"'mine' \(Doubling\) cannot be rebuilt"):
        promote_to_float64(with_layer(keras, Doubling(name="mine")), rows)


def test_a_layer_that_insists_on_float32_is_refused(keras: Any, rows: NDArray) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Stubborn(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1],), dtype="float32", name="w")

        def call(self, x: Any) -> Any:
            return x * keras.ops.cast(self.w, x.dtype)

    with pytest.raises(ConfigError, match="weight 'stubborn/w' is still float32"):
        promote_to_float64(with_layer(keras, Stubborn()), rows)


def test_an_output_that_is_cast_back_is_refused(keras: Any, rows: NDArray) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Narrow(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.cast(x, "float32")

    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(1), Narrow(autocast=False)])
    with pytest.raises(ConfigError, match=r"output of .* is still float32"):
        promote_to_float64(model, rows)


def test_a_cast_within_a_functional_model_is_promoted(keras: Any, rows: NDArray) -> None:
    inputs = keras.Input((WIDTH,))
    positive = keras.ops.cast(inputs > 0, "float32")
    model = keras.Model(inputs, keras.layers.Dense(1)(positive))
    assert promote_to_float64(model, rows).outputs[0].dtype == "float64"


def test_a_step_that_float32_decides_is_refused(keras: Any, rows: NDArray) -> None:
    inputs = keras.Input((WIDTH,))
    # In float32 the sum is 2**24 and the comparison fails; in float64 it holds.
    above = keras.ops.cast(inputs * 0 + 2.0**24 + 1.0 > 2.0**24, "float32")
    model = keras.Model(inputs, above)
    with pytest.raises(ConfigError, match="scores differ from the original's: output 0"):
        promote_to_float64(model, rows)


def test_half_precision_is_refused_by_name(keras: Any, rows: NDArray) -> None:
    model = with_layer(keras, keras.layers.Dense(4, dtype="mixed_bfloat16", name="half"))
    with pytest.raises(ConfigError, match="layer 'half' computes in mixed_bfloat16"):
        promote_to_float64(model, rows)


def test_a_stateful_layer_is_refused_by_name(keras: Any, rows: NDArray) -> None:
    inputs = keras.Input(batch_shape=(4, STEPS, 2))
    model = keras.Model(inputs, keras.layers.LSTM(2, stateful=True, name="memory")(inputs))
    with pytest.raises(ConfigError, match="layer 'memory' is stateful"):
        promote_to_float64(model, rows.reshape(-1, STEPS, 2)[:4])


def test_models_that_do_not_declare_themselves_are_refused(keras: Any, rows: NDArray) -> None:
    class Free(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    free = Free()
    free(rows)
    with pytest.raises(ConfigError, match="Free, which declares no inputs"):
        promote_to_float64(free, rows)
    with pytest.raises(ConfigError, match="no weights yet"):
        promote_to_float64(keras.Sequential([keras.layers.Dense(1)]), rows)


def test_a_sample_of_one_row_is_refused(keras: Any, rows: NDArray) -> None:
    with pytest.raises(ConfigError, match="give at least 2"):
        promote_to_float64(dense(keras, rows), rows[:1])
