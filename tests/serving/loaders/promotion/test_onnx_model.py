from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from consistency.errors import BundleError, ConfigError
from serving.loaders.promotion.onnx_model import promote_onnx

pytestmark = pytest.mark.slow  # importing scikit-learn and onnxruntime takes seconds

ROWS, WIDTH = 160, 12
node = helper.make_node


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)


def weights(*shape: int, seed: int = 1) -> NDArray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def graph(nodes: list[Any], held: dict[str, NDArray], axes: int = 2) -> bytes:
    """Return a model that makes `y` of `x`."""
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * axes)],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()


def dense() -> bytes:
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("Constant", [], ["half"], value_float=0.1),
        node("Mul", ["t", "half"], ["m"]),
        node("LayerNormalization", ["m", "b"], ["l"]),
        node("Softmax", ["l"], ["y"]),
    ]
    return graph(nodes, {"w": weights(WIDTH, 8), "b": weights(8)})


def batch_norm() -> bytes:
    names = ["s", "b", "m", "v"]
    nodes = [
        node("BatchNormalization", ["x", *names], ["h"]),
        node("Cast", ["h"], ["whole"], to=TensorProto.INT64),
        node("Cast", ["whole"], ["back"], to=TensorProto.FLOAT),
        node("Sub", ["h", "back"], ["d"]),
        node("Sigmoid", ["d"], ["y"]),
    ]
    return graph(nodes, {n: np.abs(weights(WIDTH, seed=i)) + 1 for i, n in enumerate(names)})


def branches() -> bytes:
    def branch(op: str) -> Any:
        out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["z", "w"], ["o"])], op, [], [out])

    nodes = [
        node("MatMul", ["x", "w0"], ["z"]),
        node("ReduceSum", ["one"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=branch("Mul"), else_branch=branch("Add")),
    ]
    held = {"w0": weights(WIDTH, 2), "w": weights(2), "one": np.float32([1]), "zero": np.float32(0)}
    return graph(nodes, held)


def sklearn_network() -> bytes:
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, WIDTH)).astype(np.float32)
    model = MLPRegressor(
        hidden_layer_sizes=(16,), max_iter=99, random_state=1, tol=1.0, n_iter_no_change=1
    )
    model.fit(x, x[:, 0])
    return to_onnx(model, x[:1]).SerializeToString()


@pytest.mark.parametrize("make", [dense, batch_norm, branches, sklearn_network])
def test_a_model_is_promoted(make: Callable[[], bytes], rows: NDArray, tmp_path: Path) -> None:
    (tmp_path / "old.onnx").write_bytes(make())
    promote_onnx(tmp_path / "old.onnx", tmp_path / "new.onnx")
    onnx.checker.check_model(tmp_path / "new.onnx", full_check=True)
    old, new = (onnxruntime.InferenceSession(tmp_path / f"{w}.onnx") for w in ("old", "new"))
    declared = [[(i.name, i.type, i.shape) for i in s.get_inputs()] for s in (old, new)]
    assert declared[0] == declared[1]
    assert [o.name for o in old.get_outputs()] == [o.name for o in new.get_outputs()]
    name = declared[0][0][0]
    (before,), (after,) = old.run(None, {name: rows}), new.run(None, {name: rows})
    assert (before.dtype, after.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    assert (after != before).any()
    alone = [new.run(None, {name: rows[i : i + 1]})[0] for i in range(64)]
    np.testing.assert_allclose(np.concatenate(alone), after[:64], rtol=0, atol=5e-11)


def refusal(model: bytes, folder: Path) -> str:
    (folder / "old.onnx").write_bytes(model)
    with pytest.raises(ConfigError) as caught:
        promote_onnx(folder / "old.onnx", folder / "new.onnx")
    return str(caught.value)


def test_an_operator_that_is_float32_by_definition_is_refused_by_name(tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.tree import DecisionTreeRegressor

    x = weights(50, WIDTH)
    model = to_onnx(DecisionTreeRegressor().fit(x, x[:, 0]), x[:1]).SerializeToString()
    said = refusal(model, tmp_path)
    assert "operator TreeEnsembleRegressor (node 'TreeEnsembleRegressor')" in said
    assert "float32 by definition" in said
    assert "export the model in float64" in said


def test_an_operator_without_a_kernel_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", ["x", "a"], ["u"]), node("Conv", ["u", "w"], ["y"], name="c1")]
    said = refusal(graph(nodes, {"a": np.array([1]), "w": weights(4, 1, 3)}, 3), tmp_path)
    assert "Conv(11) node with name 'c1'" in said


def test_half_precision_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Exp", ["h"], ["e"], name="low"),
        node("Cast", ["e"], ["y"], to=TensorProto.FLOAT),
    ]
    assert "operator Exp (node 'low')" in refusal(graph(nodes, {}), tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.onnx").write_bytes(b"hello\n")
    with pytest.raises(BundleError, match="cannot read it"):
        promote_onnx(tmp_path / "old.onnx", tmp_path / "new.onnx")
