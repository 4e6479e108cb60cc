"""Trains XGBoost and LightGBM on 524 sparse features and bundles both.

python examples/libsvm/risk_train.py --out build/libsvm            # 20,000 rows, half a minute
python examples/libsvm/risk_train.py --out build/libsvm --small    # some seconds, for tests
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import SamescoreError
from consistency.state import FittedState
from risk_data import Labelled, draw
from risk_features import FILL, pipeline
from samescore import BundleRequest, build_bundle

SEED: Final = 20180504
STATE: Final = FittedState({"fill": FILL})
GOLDEN_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Effort:
    """How much training is done.

    Attributes:
        rows: training rows.
        trees: boosting rounds.
    """

    rows: int = 20_000
    trees: int = 100


SMALL: Final = Effort(rows=2_000, trees=20)


def train(out: Path, effort: Effort) -> dict[str, Path]:
    """Train and bundle `xgboost` and `lightgbm`.

    Args:
        out: base folder of the bundles.
        effort: rows and trees.

    Returns:
        Each bundle's folder by model name.
    """
    known, later = draw(effort.rows, SEED), draw(2_000, SEED + 1)
    features = pipeline.bind(STATE, {})(known.records).matrix()
    bundles = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, fit in {"xgboost": _fit_xgboost, "lightgbm": _fit_lightgbm}.items():
            model = fit(features, known.labels, effort.trees, Path(folder))
            bundles[name] = build_bundle(out, _request(name, model, known, later))
            print(f"{name} bundled: {bundles[name]}")
    return bundles


def _request(name: str, model: Path, known: Labelled, later: Labelled) -> BundleRequest:
    return BundleRequest(
        name=name,
        version=1,
        model_format=name,
        model=model,
        pipeline="risk_features:pipeline",
        state=STATE,
        golden=later.records[:GOLDEN_ROWS],
        reference=known.records[:2_000],
    )


def _fit_xgboost(
    features: NDArray[np.float64], labels: NDArray[np.bool_], trees: int, folder: Path
) -> Path:
    import xgboost as xgb

    settings = {"objective": "binary:logistic", "max_depth": 5, "nthread": 2, "seed": SEED}
    booster = xgb.train(settings, xgb.DMatrix(features, labels), num_boost_round=trees)
    booster.save_model(folder / "model.ubj")
    return folder / "model.ubj"


def _fit_lightgbm(
    features: NDArray[np.float64], labels: NDArray[np.bool_], trees: int, folder: Path
) -> Path:
    import lightgbm as lgb

    settings = {
        "objective": "binary",
        "num_threads": 2,
        "deterministic": True,
        "force_row_wise": True,
        "seed": SEED,
        "verbosity": -1,
    }
    booster = lgb.train(settings, lgb.Dataset(features, labels), num_boost_round=trees)
    booster.save_model(folder / "model.txt")
    return folder / "model.txt"


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train and bundle the libsvm models.")
    parser.add_argument("--out", type=Path, required=True, help="base folder of the bundles")
    parser.add_argument("--small", action="store_true", help="2,000 rows, 20 trees")
    options = parser.parse_args()
    # Threads that spin while they wait make boosting ten times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        train(options.out, SMALL if options.small else Effort())
    except SamescoreError as error:  # its message says what to do; a traceback would bury it
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
