"""Three more models of the flights example: scikit-learn, ONNX and torch, all in float64.

None of them casts its input: a feature reaches the first multiplication with all its digits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from consistency.postprocess import PostProcess
from flights_measures import Floats, log_loss
from flights_models import SEED, Effort, Trained
from flights_prepare import Examples, Prepared

if TYPE_CHECKING:
    import torch

BATCH: Final = 1024
TREES: Final = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
"""The one type of the scikit-learn model that is no plain data: `--trust-type` at serving."""

NETWORK_ROWS: Final = 40_000
"""scikit-learn's network learns on so many rows at most: it has one pass of batches a time."""


def fit_more(prepared: Prepared, effort: Effort, folder: Path) -> list[Trained]:
    """Train and save `sklearn`, `onnx_float64` and `torch_float64` below `folder`."""
    return [
        _fit_sklearn(prepared, folder),
        _fit_onnx(prepared, folder),
        _fit_torch(prepared, effort, folder),
    ]


def _fit_sklearn(prepared: Prepared, folder: Path) -> Trained:
    """Boosted trees, which take NaN as it is; saved by skops, which runs no code when it loads."""
    import skops.io
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=50, max_depth=6, random_state=SEED)
    model.fit(prepared.train.features, prepared.train.late)
    path = folder / "model.skops"
    skops.io.dump(model, path)

    def predict(features: Floats) -> Floats:
        return np.asarray(model.predict_proba(features), np.float64)

    loss = [log_loss(predict(prepared.check.features)[:, 1], prepared.check.late)]
    score = PostProcess(output="predict_proba", column=1)
    return Trained("sklearn", "sklearn", path, predict, loss, score, trust_types=(TREES,))


def _fit_onnx(prepared: Prepared, folder: Path) -> Trained:
    """A network of scikit-learn's behind scaling, converted to ONNX in doubles."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    step = max(1, len(prepared.train.features) // NETWORK_ROWS)
    mean = np.nanmean(prepared.train.features, axis=0)
    network = MLPClassifier((32, 16), max_iter=5, random_state=SEED, n_iter_no_change=5, tol=0.0)
    model = make_pipeline(StandardScaler(), network)
    _fit_unfinished(
        model, _filled(prepared.train.features[::step], mean), prepared.train.late[::step]
    )
    path = folder / "model.onnx"
    path.write_bytes(_onnx_graph(model, mean))

    def predict(features: Floats) -> Floats:
        return np.asarray(model.predict_proba(_filled(features, mean)), np.float64)

    score = PostProcess(output="probabilities", column=1)
    losses = [float(loss) for loss in network.loss_curve_]
    return Trained("onnx_float64", "onnx", path, predict, losses, score)


def _filled(features: Floats, mean: Floats) -> Floats:
    """Return the features with the training mean where a value is missing."""
    return np.where(np.isnan(features), mean, features)


def _onnx_graph(
    model: Any,  # noqa: ANN401 - scikit-learn has no types
    mean: Floats,
) -> bytes:
    """Convert a pipeline, and put the filling before it: onnxruntime's imputer knows no doubles."""
    import skl2onnx
    from onnx import helper, numpy_helper
    from skl2onnx.common.data_types import DoubleTensorType

    converted = skl2onnx.to_onnx(
        model,
        initial_types=[("filled", DoubleTensorType([None, len(mean)]))],
        options={"zipmap": False},
        target_opset=17,
    )
    graph = converted.graph
    graph.initializer.append(numpy_helper.from_array(mean, "mean"))
    filling = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "mean", "features"], ["filled"]),
    ]
    nodes = [*filling, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input[0].name = "features"
    serialized: bytes = converted.SerializeToString()
    return serialized


def _fit_unfinished(
    model: Any,  # noqa: ANN401 - scikit-learn has no types
    features: Floats,
    late: Floats,
) -> None:
    """Fit a network for a few passes, and take the warning that these are few as said."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, late)


def _fit_torch(prepared: Prepared, effort: Effort, folder: Path) -> Trained:
    """A torch network in float64 throughout, saved as an exported program."""
    import torch

    torch.manual_seed(SEED)
    model = _torch_network(prepared.train.features)
    losses = _train_torch(model, prepared.train, prepared.check, effort.epochs)
    model.eval()
    example = torch.from_numpy(prepared.check.features[:4].copy())
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: rows},))
    path = folder / "model.pt2"
    torch.export.save(program, path)
    return Trained("torch_float64", "torch", path, _torch_predict(model), losses)


def _torch_network(features: Floats) -> torch.nn.Module:
    import torch
    from torch import nn

    mean = np.nanmean(features, axis=0)
    scale = np.nanstd(features, axis=0)
    scale[scale == 0.0] = 1.0  # a feature that never varied in training

    class Network(nn.Module):
        """Scales, replaces a missing value by the mean plus a flag, and three layers."""

        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.from_numpy(mean))
            self.register_buffer("scale", torch.from_numpy(scale))
            self.layers = nn.Sequential(
                nn.Linear(2 * len(mean), 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(),
                nn.Linear(32, 1), nn.Sigmoid(),
            ).double()  # fmt: skip

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            scaled = (features - self.mean) / self.scale
            missing = torch.isnan(scaled)
            filled = torch.where(missing, torch.zeros_like(scaled), scaled)
            joined = torch.cat([filled, missing.to(filled.dtype)], dim=1)
            late: torch.Tensor = self.layers(joined)
            return late[:, 0]

    return Network()


def _train_torch(
    model: torch.nn.Module, train: Examples, check: Examples, epochs: int
) -> list[float]:
    import torch

    features, late = torch.from_numpy(train.features), torch.from_numpy(train.late)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    predict, losses = _torch_predict(model), []
    for _ in range(epochs):
        order = torch.randperm(len(features))
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy(model(features[rows]), late[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses.append(log_loss(predict(check.features), check.late))
    return losses


def _torch_predict(model: torch.nn.Module) -> Callable[[Floats], Floats]:
    import torch

    def predict(features: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(features)).numpy(), np.float64)

    return predict
