from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import BundleError, ConfigError
from serving.loaders.promotion.graphdef import promote_saved_model

pytestmark = pytest.mark.slow  # importing TensorFlow alone takes seconds

ROWS, WIDTH = 160, 12
Export = Callable[[Any, Any, Path], NDArray]


@pytest.fixture(autouse=True)
def _quiet(tensorflow: Any) -> None:
    """TensorFlow 1's functions say at each call that they are old."""
    tensorflow.get_logger().setLevel("ERROR")


def numbers() -> NDArray:
    return np.random.default_rng(5).normal(size=(ROWS, WIDTH)).astype(np.float32)


def layers(make: Callable[[Any], list[Any]], shape: tuple[int, ...] = (WIDTH,)) -> Export:
    """Export a sequential Keras model; its configuration is not part of the export."""

    def export(_tf: Any, keras: Any, folder: Path) -> NDArray:
        model = keras.Sequential([keras.Input(shape), *make(keras.layers)])
        export_keras(model, folder)
        return numbers()

    return export


def export_keras(model: Any, folder: Path) -> None:
    model.export(folder, verbose=False)


def steps(make: Callable[[Any], list[Any]]) -> Export:
    return layers(lambda k: [k.Reshape((6, 2)), *make(k), k.Flatten(), k.Dense(1)])


def attention(_tf: Any, keras: Any, folder: Path) -> NDArray:
    inputs = keras.Input((WIDTH,))
    sequence = keras.layers.Reshape((6, 2))(inputs)
    mixed = keras.layers.MultiHeadAttention(2, 4)(sequence, sequence)
    export_keras(keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(mixed))), folder)
    return numbers()


def residual(_tf: Any, keras: Any, folder: Path) -> NDArray:
    inputs = keras.Input((WIDTH,))
    added = keras.layers.Add()([keras.layers.Dense(WIDTH, activation="gelu")(inputs), inputs])
    export_keras(keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(added)), folder)
    return numbers()


def embedding(_tf: Any, keras: Any, folder: Path) -> NDArray:
    inputs = keras.Input((6,), dtype="int32")
    read = keras.layers.LSTM(4)(keras.layers.Embedding(50, 8, mask_zero=True)(inputs))
    export_keras(keras.Model(inputs, keras.layers.Dense(1)(read)), folder)
    return np.random.default_rng(1).integers(0, 50, (ROWS, 6), dtype=np.int32)


def string_lookup(_tf: Any, keras: Any, folder: Path) -> NDArray:
    inputs = keras.Input((1,), dtype="string")
    ids = keras.layers.StringLookup(vocabulary=["a", "b", "c"])(inputs)
    flat = keras.layers.Flatten()(keras.layers.Embedding(10, 4)(ids))
    export_keras(keras.Model(inputs, keras.layers.Dense(1)(flat)), folder)
    return np.random.default_rng(1).choice(np.array(["a", "b", "z", ""], object), (ROWS, 1))


def text(_tf: Any, keras: Any, folder: Path) -> NDArray:
    inputs = keras.Input((1,), dtype="string")
    vectors = keras.layers.TextVectorization(output_mode="tf_idf")
    vectors.adapt(["a b c", "b c d", "c d"])
    export_keras(keras.Model(inputs, keras.layers.Dense(1)(vectors(inputs))), folder)
    return np.random.default_rng(1).choice(np.array(["a b", "c c", "q a d"], object), (ROWS, 1))


def plain_module(tf: Any, _keras: Any, folder: Path) -> NDArray:
    """A loop, a captured constant, a table of floats, and a label beside the score."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(2)
            self.weights = tf.Variable(rng.normal(size=(WIDTH, 1)).astype("float32"))
            self.offset = tf.constant(rng.normal(size=(WIDTH,)).astype("float32"))
            pairs = tf.lookup.KeyValueTensorInitializer(
                tf.constant([0, 1], tf.int64), tf.constant([0.1, 0.7])
            )
            self.table = tf.lookup.StaticHashTable(pairs, -1.0)

        @tf.function(input_signature=[tf.TensorSpec((None, WIDTH), tf.float32, name="row")])
        def score(self, row: Any) -> Any:
            total = row + self.offset
            for i in tf.range(5):
                total = total + tf.sin(row * tf.cast(i, tf.float32))
            label = tf.argmax(row[:, :2], 1)
            score = tf.sigmoid(tf.matmul(total, self.weights)) + self.table.lookup(label)[:, None]
            return {"score": score, "label": label}

    module = Module()
    tf.saved_model.save(module, str(folder), signatures=module.score)
    return numbers()


def tensorflow_1(tf: Any, _keras: Any, folder: Path) -> NDArray:
    """Both kinds of variables, a fused batch normalisation, no object graph."""
    v1, rng = tf.compat.v1, np.random.default_rng(3)
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, WIDTH), name="x")
        first, last = (rng.normal(size=s).astype("float32") for s in ((WIDTH, 4), (4, 1)))
        w1 = v1.get_variable("w1", initializer=first, use_resource=False)
        w2 = v1.get_variable("w2", initializer=last, use_resource=True)
        hidden = tf.nn.relu(tf.matmul(x, w1))[:, None, None, :]
        mean, variance = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 1.0, 0.5]
        normal = v1.nn.fused_batch_norm(
            hidden, [1.0, 2, 3, 4], [0.0, 1, 0, 2], mean, variance, is_training=False
        )[0]
        y = tf.sigmoid(tf.matmul(normal[:, 0, 0, :], w2), name="y")
        save_1(v1, folder, {"x": x}, {"y": y})
    return numbers()


def save_1(v1: Any, folder: Path, inputs: Any, outputs: Any) -> None:
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), inputs, outputs)


def default_input(tf: Any, _keras: Any, folder: Path) -> NDArray:
    """An input that a session need not be fed."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        rate = v1.placeholder_with_default(np.float32([[0.1]]), (None, 1), name="rate")
        weights = v1.get_variable("w", initializer=np.float32([[0.3, 0.7]]))
        save_1(v1, folder, {"rate": rate}, {"y": tf.sigmoid(tf.matmul(rate, weights))})
    return numbers()[:, :1]


def parsed_examples(tf: Any, _keras: Any, folder: Path) -> NDArray:
    """An estimator's export: serialised tf.Examples, whose floats are float32."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        examples = v1.placeholder(tf.string, (None,), name="examples")
        spec = {"a": tf.io.FixedLenFeature((3,), tf.float32, default_value=[1.5, 2.0, 0.1])}
        read = v1.parse_example(examples, spec)["a"]
        start = np.random.default_rng(3).normal(size=(3, 1)).astype("float32")
        weights = v1.get_variable("w", initializer=start)
        save_1(v1, folder, {"e": examples}, {"y": tf.sigmoid(tf.matmul(read, weights))})
    return np.array([example(tf, row) for row in numbers()], object)


def example(tf: Any, row: NDArray) -> bytes:
    values = tf.train.Feature(float_list=tf.train.FloatList(value=row[:3]))
    held = {"a": values} if row[3] > 0 else {}  # the others take the default
    return tf.train.Example(features=tf.train.Features(feature=held)).SerializeToString()


ARCHITECTURES: dict[str, Export] = {
    "dense": layers(lambda k: [k.Dense(64, "relu"), k.Dropout(0.1), k.Dense(1, "sigmoid")]),
    "layer_norm": layers(lambda k: [k.Dense(16), k.LayerNormalization(), k.Dense(1)]),
    "normalization": layers(lambda k: [k.Normalization(mean=1.5, variance=2.0), k.Dense(1)]),
    "batch_norm": layers(lambda k: [k.Dense(16), k.BatchNormalization(), k.ReLU(), k.Dense(1)]),
    "conv1d": steps(lambda k: [k.Conv1D(16, 3, activation="relu"), k.MaxPooling1D(2)]),
    "conv2d": layers(
        lambda k: [
            *(k.Reshape((4, 3, 1)), k.Conv2D(8, 2, padding="same"), k.BatchNormalization()),
            *(k.ReLU(), k.DepthwiseConv2D(2), k.Conv2DTranspose(4, 2), k.MaxPool2D(2)),
            *(k.GlobalAveragePooling2D(), k.Dense(1)),
        ]
    ),
    "lstm": steps(lambda k: [k.Bidirectional(k.LSTM(8))]),
    "gru": steps(lambda k: [k.GRU(8, return_sequences=True), k.GRU(4)]),
    "embedding": embedding,
    "attention": attention,
    "residual": residual,
    "string_lookup": string_lookup,
    "text": text,
    "plain_module": plain_module,
    "tensorflow_1": tensorflow_1,
    "default_input": default_input,
    "parsed_examples": parsed_examples,
}


def signature_of(tf: Any, folder: Path) -> Callable[[NDArray], dict[str, NDArray]]:
    model = tf.saved_model.load(str(folder))
    signature = model.signatures["serving_default"]
    ((name, spec),) = signature.structured_input_signature[1].items()

    def score(rows: NDArray) -> dict[str, NDArray]:
        assert model is not None, "it owns the variables"
        answer = signature(**{name: tf.constant(rows, spec.dtype)})
        return {key: value.numpy() for key, value in answer.items()}

    return score


def inputs_of(tf: Any, folder: Path) -> dict[str, tuple[Any, Any]]:
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    return {name: (spec.dtype, spec.shape.as_list()) for name, spec in specs.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_promoted(
    name: str, tensorflow: Any, keras: Any, tmp_path: Path
) -> None:
    rows = ARCHITECTURES[name](tensorflow, keras, tmp_path / "old")
    assert promote_saved_model(tmp_path / "old", tmp_path / "new") == ()

    assert inputs_of(tensorflow, tmp_path / "new") == inputs_of(tensorflow, tmp_path / "old")
    old, new = (signature_of(tensorflow, tmp_path / which) for which in ("old", "new"))
    before, after = old(rows), new(rows)
    assert before.keys() == after.keys()
    alone = [new(rows[i : i + 1]) for i in range(64)]
    for output, expected in before.items():
        got = after[output]
        assert got.dtype == (np.float64 if expected.dtype == np.float32 else expected.dtype)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        one_by_one = np.concatenate([answer[output] for answer in alone])
        np.testing.assert_allclose(one_by_one, got[:64], rtol=0, atol=5e-11)
    if any(value.dtype == np.float32 for value in before.values()):
        assert any(np.any(after[o] != before[o]) for o in before), "it computes in float32 still"


@pytest.mark.parametrize("name", ["dense", "plain_module", "tensorflow_1"])
def test_a_session_as_model_servers_run_it_answers_the_same(
    name: str, tensorflow: Any, keras: Any, tmp_path: Path
) -> None:
    rows = ARCHITECTURES[name](tensorflow, keras, tmp_path / "old")
    promote_saved_model(tmp_path / "old", tmp_path / "new")
    expected = signature_of(tensorflow, tmp_path / "new")(rows)
    v1 = tensorflow.compat.v1
    with tensorflow.Graph().as_default(), v1.Session() as session:
        graph = v1.saved_model.load(session, ["serve"], str(tmp_path / "new"))
        signature = graph.signature_def["serving_default"]
        (fed,) = signature.inputs.values()
        assert fed.dtype == tensorflow.float32.as_datatype_enum
        for output, info in signature.outputs.items():
            got = session.run(info.name, {fed.name: rows})
            assert info.dtype == tensorflow.as_dtype(got.dtype).as_datatype_enum
            np.testing.assert_allclose(got, expected[output], rtol=0, atol=5e-11)


def test_weights_are_converted_exactly(tensorflow: Any, keras: Any, tmp_path: Path) -> None:
    ARCHITECTURES["dense"](tensorflow, keras, tmp_path / "old")
    promote_saved_model(tmp_path / "old", tmp_path / "new")
    readers = [
        tensorflow.train.load_checkpoint(str(tmp_path / which / "variables" / "variables"))
        for which in ("old", "new")
    ]
    names = [n for n, d in readers[0].get_variable_to_dtype_map().items() if d.is_floating]
    assert names
    for name in names:
        old, new = (reader.get_tensor(name) for reader in readers)
        assert new.dtype == np.float64
        np.testing.assert_array_equal(new, old.astype(np.float64))


def test_every_signature_is_kept(tensorflow: Any, tmp_path: Path) -> None:
    tf = tensorflow
    module = tf.Module()
    module.scale = tf.Variable(0.1)
    spec = tf.TensorSpec((None, 2), tf.float32, "row")
    once = tf.function(lambda row: {"y": row * module.scale}, input_signature=[spec])
    twice = tf.function(lambda row: {"z": row * module.scale * 2}, input_signature=[spec])
    signatures = {"once": once, "twice": twice}
    tf.saved_model.save(module, str(tmp_path / "old"), signatures=signatures)
    promote_saved_model(tmp_path / "old", tmp_path / "new")
    model = tf.saved_model.load(str(tmp_path / "new"))
    assert sorted(model.signatures) == ["once", "twice"]
    answer = model.signatures["twice"](row=tf.constant([[1.0, 3.0]]))["z"]
    exact = np.float64(np.float32(0.1)) * 2
    np.testing.assert_array_equal(answer.numpy(), [[exact, 3 * exact]])


def test_resizing_stays_in_float32_and_is_reported(
    tensorflow: Any, keras: Any, tmp_path: Path
) -> None:
    make = layers(lambda k: [k.Reshape((4, 3, 1)), k.Resizing(8, 8), k.Flatten(), k.Dense(1)])
    rows = make(tensorflow, keras, tmp_path / "old")
    (narrow,) = promote_saved_model(tmp_path / "old", tmp_path / "new")
    assert narrow.startswith("ResizeBilinear (")
    new = signature_of(tensorflow, tmp_path / "new")
    (whole,) = new(rows).values()
    (alone,) = new(rows[:1]).values()
    assert whole.dtype == np.float64
    np.testing.assert_allclose(alone, whole[:1], rtol=0, atol=5e-11)


def refused(tf: Any, folder: Path, score: Callable[[Any], Any], match: str) -> None:
    spec = tf.TensorSpec((None, 4), tf.float32, "row")
    module = tf.Module()
    module.score = tf.function(score, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "old"), signatures=module.score)
    with pytest.raises(ConfigError, match=match):
        promote_saved_model(folder / "old", folder / "new")


def test_reading_the_bits_of_a_float_is_refused_by_name(tensorflow: Any, tmp_path: Path) -> None:
    refused(
        tensorflow,
        tmp_path,
        lambda row: {"y": tensorflow.bitcast(row, tensorflow.int32, name="bits")},
        r"operation Bitcast \(node 'bits' of function '__inference_.*'\) cannot be promoted",
    )


def test_quantised_arithmetic_is_refused_by_name(tensorflow: Any, tmp_path: Path) -> None:
    fake = tensorflow.quantization.fake_quant_with_min_max_args
    refused(
        tensorflow,
        tmp_path,
        lambda row: {"y": fake(row, name="eight")},
        r"FakeQuantWithMinMaxArgs \(node 'eight' .*float32 by definition",
    )


def test_an_operation_without_a_kernel_is_refused_by_name(tensorflow: Any, tmp_path: Path) -> None:
    def score(row: Any) -> Any:
        boxes = tensorflow.raw_ops.LRN(input=row[:, None, None, :])
        return {"y": boxes[:, 0, 0, :]}

    refused(tensorflow, tmp_path, score, r"operation LRN \(node .*not defined for float64")


def test_half_precision_is_refused_by_name(tensorflow: Any, tmp_path: Path) -> None:
    def score(row: Any) -> Any:
        half = tensorflow.cast(row, tensorflow.float16)
        return {"y": tensorflow.cast(tensorflow.exp(half, name="low"), tensorflow.float32)}

    refused(tensorflow, tmp_path, score, r"operation Exp \(node 'low' .*half precision")


def test_python_in_the_graph_is_refused_by_name(tensorflow: Any, tmp_path: Path) -> None:
    def score(row: Any) -> Any:
        return {"y": tensorflow.numpy_function(np.sin, [row], tensorflow.float32)}

    refused(tensorflow, tmp_path, score, r"operation (Eager)?PyFunc \(node .*not visible")


def test_a_normalisation_in_training_mode_is_refused(tensorflow: Any, tmp_path: Path) -> None:
    def score(row: Any) -> Any:
        ones = tensorflow.ones(4)
        made = tensorflow.compat.v1.nn.fused_batch_norm(row[:, None, None, :], ones, ones)
        return {"y": made[0][:, 0, 0, :]}

    refused(tensorflow, tmp_path, score, r"FusedBatchNormV3 .*only inference")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"hello\n")
    with pytest.raises(BundleError, match=r"saved_model\.pb cannot be read"):
        promote_saved_model(tmp_path, tmp_path / "new")
