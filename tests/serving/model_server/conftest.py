"""SavedModels built in the tests, small and of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.model_server.models.saved_model import SavedModel
from serving.model_server.models.saved_model_files import load_saved_model

DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
          "uint64", "bool", "float16", "bfloat16", "complex64", "complex128", "string")  # fmt: skip


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a SavedModel by the name of its builder, once."""
    done: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp(name) / "1"
            BUILDERS[name](done[name])
        return done[name]

    return build


@pytest.fixture(scope="session")
def loaded_model(built: Callable[[str], Path]) -> Callable[[str], SavedModel]:
    """Load a built SavedModel."""
    return lambda name: load_saved_model(built(name))


def _identities(folder: Path) -> None:
    """A TensorFlow 2 model: for each dtype a signature that gives back what it gets."""
    import tensorflow as tf

    def identity(dtype: str) -> Callable:
        spec = tf.TensorSpec(None, tf.dtypes.as_dtype(dtype), name="x")
        call = tf.function(lambda x: {"y": tf.identity(x)}, input_signature=[spec])
        return call.get_concrete_function()

    class Module(tf.Module):
        pass

    module = Module()
    module.calls = {dtype: identity(dtype) for dtype in DTYPES}
    tf.saved_model.save(module, str(folder), signatures=module.calls)


def _several_graphs(folder: Path) -> None:
    """A TensorFlow 1 model of two meta graphs, with an asset that its initialisation reads."""
    import tensorflow as tf

    v1 = tf.compat.v1
    words = folder.parent / "words.txt"
    words.write_text("zero\none\ntwo\n")
    builder = v1.saved_model.Builder(str(folder))
    for tags, shift in ((["serve"], 0), (["serve", "gpu"], 1)):
        with v1.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            signature = _lookup_signature(v1, tf, str(words), shift)
            session.run(v1.global_variables_initializer())
            options = {
                "signature_def_map": {"serving_default": signature},
                "assets_collection": v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
                "main_op": v1.tables_initializer(),
            }
            if shift:
                options.pop("assets_collection")
                builder.add_meta_graph(tags, **options)
            else:
                builder.add_meta_graph_and_variables(session, tags, **options)
    builder.save()


def _lookup_signature(v1: Any, tf: Any, words: str, shift: int) -> Any:
    file = tf.constant(words)
    source = tf.lookup.TextFileInitializer(
        file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    table = tf.lookup.StaticHashTable(source, -1)
    offset = v1.get_variable("offset", initializer=tf.constant(10, tf.int64))
    given = v1.placeholder(tf.string, [None], name="given")
    found = tf.identity(table.lookup(given) + offset + shift, name="found")
    return v1.saved_model.predict_signature_def({"word": given}, {"line": found})


def _examples(folder: Path) -> None:
    """A model of `tf.Example`s: classifications and regressions, right and wrong ones."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def parse(inputs: tf.Tensor) -> tf.Tensor:
        features = {"x": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])}
        return tf.io.parse_example(inputs, features)["x"]

    labels = tf.constant([[b"low", b"high"]])
    answers: dict[str, Callable] = {
        "serving_default": lambda x: {
            "classes": tf.tile(labels, [tf.shape(x)[0], 1]),
            "scores": tf.concat([1 - x, x], 1),
        },
        "labels": lambda x: {"classes": tf.tile(labels, [tf.shape(x)[0], 1])},
        "no_text": lambda x: {"classes": tf.fill([tf.shape(x)[0], 1], b"\xff")},
        "vector_scores": lambda x: {"scores": x[:, 0]},
        "double_scores": lambda x: {"scores": tf.cast(x, tf.float64)},
        "few_scores": lambda x: {"scores": x[:1]},
        "unequal": lambda x: {"classes": labels[:, :1], "scores": tf.concat([1 - x, x], 1)},
        "vector": lambda x: {"outputs": x[:, 0] / 2},
        "matrix": lambda x: {"outputs": x / 2},
        "wide": lambda x: {"outputs": tf.concat([x, x], 1)},
        "few": lambda x: {"outputs": x[:1]},
        "double": lambda x: {"outputs": tf.cast(x, tf.float64)},
        "three": lambda x: {"scores": x, "a": x, "b": x},
    }

    def signature(answer: Callable) -> Callable:
        spec = tf.TensorSpec([None], tf.string, name="inputs")
        call = tf.function(lambda inputs: answer(parse(inputs)), input_signature=[spec])
        return call.get_concrete_function()

    class Module(tf.Module):
        pass

    module = Module()
    module.calls = {key: signature(answer) for key, answer in answers.items()}
    tf.saved_model.save(module, str(folder), signatures=module.calls)


def _two_inputs(folder: Path) -> None:
    """A TensorFlow 2 model with variables, two inputs of several dtypes and two outputs."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(2.0)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, name="a"),
                tf.TensorSpec([], tf.int64, name="b"),
            ]
        )
        def call(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"product": a * self.weight * tf.cast(b, tf.float32), "sum": tf.reduce_sum(a)}

    module = Module()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})


BUILDERS: dict[str, Callable[[Path], None]] = {
    "identities": _identities,
    "several_graphs": _several_graphs,
    "examples": _examples,
    "two_inputs": _two_inputs,
}
