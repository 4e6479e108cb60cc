"""Trains the flights models on January to June 2013 and bundles them for serving.

python examples/flights/train.py --out build/flights            # all flights, about a minute
python examples/flights/train.py --out build/flights --small    # some seconds, for tests
python examples/flights/train.py --out build/flights --more     # scikit-learn, ONNX and torch, too
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consistency.errors import SamescoreError
from consistency.snapshots import SnapshotStore
from flights_features.schema import WEATHER
from flights_measures import Floats, auc, log_loss
from flights_models import Effort, Trained, fit_keras, fit_lightgbm, fit_xgboost
from flights_prepare import Examples, Prepared, prepare
from samescore import BundleRequest, ModelTrust, build_bundle

VERSION: Final = 1
FULL_EFFORT: Final = Effort()
SMALL_EFFORT: Final = Effort(trees=20, epochs=1)
SMALL_ROWS: Final = 8_000


def train(
    out: Path,
    *,
    rows: int | None = None,
    effort: Effort = FULL_EFFORT,
    more: bool = False,
    progress: Callable[[str], None] = print,
) -> dict[str, Path]:
    """Train and bundle `xgboost`, `lightgbm`, `keras_float32` and `keras_float64`.

    Args:
        out: base folder of the bundles; `.snapshots` in it is the snapshot store.
        rows: about how many training flights to use, evenly spaced in time; None takes all.
        effort: trees, epochs and threads.
        more: whether to add `sklearn`, `onnx_float64` and `torch_float64`.
        progress: called with one line a step.

    Returns:
        Each bundle's folder by model name.
    """
    store = SnapshotStore(out / ".snapshots")
    with _timed("data and features", progress):
        prepared = prepare(store, rows, progress)
    bundles = {}
    for model in _fit_all(prepared, out / ".models", effort, more, progress):
        with _timed(f"{model.name} bundled", progress):
            bundles[model.name] = build_bundle(out, _request(model, prepared, store, progress))
    return bundles


def _fit_all(
    prepared: Prepared, folder: Path, effort: Effort, more: bool, progress: Callable[[str], None]
) -> Iterator[Trained]:
    folder.mkdir(parents=True, exist_ok=True)
    with _timed("xgboost trained", progress):
        xgboost = fit_xgboost(prepared, effort, folder)
    yield xgboost
    with _timed("lightgbm trained", progress):
        lightgbm = fit_lightgbm(prepared, effort, folder)
    yield lightgbm
    with _timed("keras trained and promoted", progress):
        networks = fit_keras(prepared, effort, folder)
    yield from networks
    if more:
        from flights_more_models import fit_more

        with _timed("scikit-learn, ONNX and torch trained", progress):
            others = fit_more(prepared, effort, folder)
        yield from others


def _request(
    model: Trained, prepared: Prepared, store: SnapshotStore, progress: Callable[[str], None]
) -> BundleRequest:
    metrics = _measure(model, prepared.check)
    later = _measure(model, prepared.later)
    progress(
        f"{model.name}: AUC {metrics['auc']:.4f} in June, {later['auc']:.4f} later; "
        f"log loss {metrics['log_loss']:.4f} and {later['log_loss']:.4f}"
    )
    return BundleRequest(
        name=model.name,
        version=VERSION,
        model_format=model.model_format,
        model=model.path,
        pipeline="flights_features:pipeline",
        state=prepared.state,
        snapshots={WEATHER.name: prepared.snapshot},
        store=store,
        golden=prepared.golden,
        reference=prepared.reference,
        reference_times=prepared.reference_times,
        execution=model.execution,
        gate_decimals=10,
        postprocess=model.postprocess,
        metrics=metrics,
        loss_curve=model.losses,
        trust=ModelTrust(types=frozenset(model.trust_types)),
    )


def _measure(model: Trained, examples: Examples) -> dict[str, float]:
    output = model.postprocess.output or "score"
    score: Floats = model.postprocess({output: model.predict(examples.features)})
    return {"auc": auc(score, examples.late), "log_loss": log_loss(score, examples.late)}


@contextmanager
def _timed(what: str, progress: Callable[[str], None]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    progress(f"{what} in {time.perf_counter() - started:.1f} s")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train and bundle the flights models.")
    parser.add_argument("--out", type=Path, required=True, help="base folder of the bundles")
    parser.add_argument("--rows", type=int, help="about how many training flights (default: all)")
    parser.add_argument("--small", action="store_true", help="8,000 flights, 20 trees, 1 epoch")
    parser.add_argument("--more", action="store_true", help="scikit-learn, ONNX and torch, too")
    options = parser.parse_args()
    if options.rows is not None and options.rows < 1:
        parser.error(f"--rows is {options.rows}; give at least 1")
    rows = options.rows or (SMALL_ROWS if options.small else None)
    # Threads that spin while they wait make boosting ten times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        effort = SMALL_EFFORT if options.small else FULL_EFFORT
        train(options.out, rows=rows, effort=effort, more=options.more)
    except SamescoreError as error:  # its message says what to do; a traceback would bury it
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
