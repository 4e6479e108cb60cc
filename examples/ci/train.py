"""Trains the ride-tip model and bundles it.

python train.py --out models        # a second; writes models/rides/1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lightgbm
from ride_features import pipeline
from rides import PAYMENTS, make_rides, tips

from consistency import FittedState
from samescore import BundleRequest, build_bundle


def train(out: Path) -> Path:
    """Train on 2,000 rides and write the bundle `rides/1` below `out`."""
    rides = make_rides(2_000, seed=7)
    mean_fare = sum(r["fare"] for r in rides) / len(rides)
    state = FittedState(
        {"mean_fare": mean_fare, "payments": {p: i for i, p in enumerate(PAYMENTS)}}
    )
    features = pipeline.bind(state, {})(rides).matrix()
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 15, "num_threads": 1, "seed": 1, "verbosity": -1},
        lightgbm.Dataset(features, tips(rides, seed=8)),
        num_boost_round=40,
    )
    out.mkdir(parents=True, exist_ok=True)
    model = out / ".rides.txt"
    booster.save_model(model)
    request = BundleRequest(
        name="rides",
        version=1,
        model_format="lightgbm",
        model=model,
        pipeline="ride_features:pipeline",
        state=state,
        golden=make_rides(200, seed=9),
        reference=rides,
    )
    return build_bundle(out, request)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train and bundle the ride-tip model.")
    parser.add_argument("--out", type=Path, default=Path("models"), help="base folder of bundles")
    print(train(parser.parse_args().out))
