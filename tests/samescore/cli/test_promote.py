from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from consistency.execution import ExecutionMode
from consistency.gate import run_gate
from consistency.schema import FeatureSchema
from samescore.bundling import BundleRequest, build_bundle
from serving.loaders import load_scorer
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.made_models import WIDTH, export_torch, frozen_network, onnx_network

pytestmark = pytest.mark.slow  # importing TensorFlow and torch takes seconds

NAMES = tuple(f"f{i}" for i in range(WIDTH))


@pytest.fixture(scope="module")
def keras() -> Any:
    from serving.loaders.runtimes.tensorflow_runtime import start_tensorflow

    start_tensorflow(1)
    import keras

    keras.utils.set_random_seed(3)
    return keras


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(3).normal(size=(100, WIDTH))


def network(keras: Any) -> Any:
    """Wide enough for its float32 scores to move with the batch."""
    layers = [keras.layers.Dense(n, activation="relu") for n in (256, 128)]
    return keras.Sequential([keras.Input((WIDTH,), name="row"), *layers, keras.layers.Dense(1)])


@pytest.fixture(scope="module")
def models(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One float32 model of each kind that can be promoted."""
    import torch

    folder = tmp_path_factory.mktemp("models")
    model = network(keras)
    model.export(folder / "saved_model", verbose=False)
    model.save(folder / "net.keras")
    (folder / "net.pb").write_bytes(frozen_network("float32"))
    (folder / "net.json").write_text('{"inputs": ["x"], "outputs": ["p"]}')
    (folder / "net.onnx").write_bytes(onnx_network(kind="FLOAT"))
    module = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1)
    )
    export_torch(module.eval(), folder / "net.pt2", torch.zeros(2, WIDTH))
    return {
        "saved_model": folder / "saved_model",
        "keras": folder / "net.keras",
        "frozen_graph": folder / "net.pb",
        "onnx": folder / "net.onnx",
        "torch": folder / "net.pt2",
    }


@pytest.mark.parametrize("kind", ["saved_model", "keras", "frozen_graph", "onnx", "torch"])
def test_a_model_is_promoted_and_the_report_says_how_well(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / f"promoted{models[kind].suffix}"
    ran = samescore("promote", models[kind], target, "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert (report["passed"], report["rows"], report["origin"]) == (True, 256, "generated rows")
    (output,) = report["outputs"]
    assert (output["before"], output["after"], output["problems"]) == ("float32", "float64", [])
    assert 0 < output["largest_difference"] < 1e-5
    assert output["batch_after"] <= 5e-11
    assert report["cost_single"] > 0
    assert report["cost_batch"] > 0
    assert target.is_file() == (kind in {"onnx", "torch"})
    assert sorted(p.name for p in tmp_path.iterdir()) == [target.name], "no draft is left"


def test_the_report_for_people_says_what_was_written(
    models: dict[str, Path], tmp_path: Path
) -> None:
    ran = samescore("promote", models["saved_model"], tmp_path / "new")
    assert ran.code == 0
    assert "promotion to float64: verified on 256 rows (generated rows)" in ran.words
    assert "float32 -> float64, largest difference from the original" in ran.words
    assert "batch 1 against 64:" in ran.words
    assert "times the original for one row" in ran.words
    assert f"wrote {tmp_path / 'new'}" in ran.out
    assert "answers in float64 already" in mistake("promote", tmp_path / "new", tmp_path / "newer")


def test_given_rows_verify_it(models: dict[str, Path], rows: NDArray, tmp_path: Path) -> None:
    samples = tmp_path / "rows.jsonl"
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows.tolist()))
    ran = samescore(
        "promote", models["onnx"], tmp_path / "new.onnx", "--samples", samples, "--json"
    )
    assert ran.code == 0
    assert ran.json["rows"] == len(rows)
    assert ran.json["origin"] == f"the rows of {samples}"


def bundle(base: Path, model: Path, rows: NDArray, kind: str, execution: str) -> Path:
    features = FeatureSchema.float64(NAMES)
    request = BundleRequest(
        name=kind, version=1, model_format=kind, model=model, golden=rows, features=features,
        execution=execution,
    )  # fmt: skip
    return build_bundle(base, request)


def test_a_bundles_own_golden_rows_verify_it(
    models: dict[str, Path], rows: NDArray, tmp_path: Path
) -> None:
    made = bundle(tmp_path, models["onnx"], rows, "onnx", "as_is")
    ran = samescore("promote", made, tmp_path / "new", "--json")
    assert ran.json["origin"] == f"the golden rows of {made}"
    assert (tmp_path / "new" / "model.onnx").is_file()
    other = samescore("promote", models["onnx"], tmp_path / "b.onnx", "--golden", made, "--json")
    assert other.json["rows"] == len(rows)


@pytest.mark.parametrize("kind", ["saved_model", "frozen_graph", "onnx", "torch"])
def test_a_float64_bundle_is_promoted_on_its_way_and_passes_its_gate(
    kind: str, models: dict[str, Path], rows: NDArray, tmp_path: Path
) -> None:
    made = bundle(tmp_path, models[kind], rows, kind, "float64")
    opened = open_bundle(made)
    assert opened.manifest.execution.mode is ExecutionMode.FLOAT64
    scorer = load_scorer(kind, made, threads=1)
    (values,) = scorer.score(opened.golden().features).values()
    assert values.dtype == np.float64
    report = run_gate(
        opened.golden(), None, scorer, opened.manifest.postprocess, decimals=10, max_batch=64
    )
    assert report.passed, str(report)


@pytest.mark.usefixtures("keras")
def test_a_step_that_float32_decides_fails_verification(tmp_path: Path) -> None:
    import tensorflow as tf

    def score(row: Any) -> Any:
        # In float32 the sum is 2**24 and the comparison fails; in float64 it holds.
        above = row[:, :1] * 0 + 2.0**24 + 1.0 > 2.0**24
        return {"p": tf.cast(above, tf.float32)}

    module = tf.Module()
    spec = tf.TensorSpec((None, WIDTH), tf.float32, "row")
    module.score = tf.function(score, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "old"), signatures=module.score)
    ran = samescore("promote", tmp_path / "old", tmp_path / "new")
    assert ran.code == 1
    assert "FAILED" in ran.words
    assert "differ from the original's by more than float32 explains" in ran.words
    assert "nothing was written" in ran.words
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    with pytest.raises(ConfigError, match="it is not bundled"):
        bundle(tmp_path, tmp_path / "old", np.zeros((4, WIDTH)), "saved_model", "float64")


@pytest.mark.usefixtures("keras")
def test_a_layer_that_mixes_rows_fails_verification(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec((None, WIDTH), tf.float32, "row")
    module.score = tf.function(
        lambda row: {"p": row - tf.reduce_mean(row, 0)}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(tmp_path / "old"), signatures=module.score)
    ran = samescore("promote", tmp_path / "old", tmp_path / "new")
    assert ran.code == 1
    assert "a row's value moves with its batch" in ran.words


def test_mistakes_are_told(models: dict[str, Path], tmp_path: Path) -> None:
    net = models["onnx"]
    assert "exists already" in mistake("promote", net, models["torch"])
    assert "is no folder; make it first" in mistake("promote", net, tmp_path / "no" / "x.onnx")
    (tmp_path / "empty").mkdir()
    assert "no model of a known format" in mistake("promote", tmp_path / "empty", tmp_path / "x")
    (tmp_path / "rows").write_text('{"other": 1}\n')
    said = mistake("promote", net, tmp_path / "x.onnx", "--samples", tmp_path / "rows")
    assert "with these inputs: x (float32)" in said
    (tmp_path / "rows").write_text("[1, 2\n")
    said = mistake("promote", net, tmp_path / "x.onnx", "--samples", tmp_path / "rows")
    assert "line 1" in said
    assert not (tmp_path / "x.onnx").exists()


def test_golden_and_samples_exclude_each_other(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("[]")
    said = mistake(
        "promote", models["onnx"], tmp_path / "x", "--samples", tmp_path / "rows",
        "--golden", tmp_path,
    )  # fmt: skip
    assert "not both" in said


@pytest.mark.usefixtures("keras")
def test_what_cannot_be_promoted_is_refused_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec((None, WIDTH), tf.float32, "row")
    module.score = tf.function(
        lambda row: {"p": tf.cast(tf.bitcast(row, tf.int32, name="bits"), tf.float32)},
        input_signature=[spec],
    )
    tf.saved_model.save(module, str(tmp_path / "old"), signatures=module.score)
    assert "operation Bitcast (node 'bits'" in mistake("promote", tmp_path / "old", tmp_path / "n")
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
