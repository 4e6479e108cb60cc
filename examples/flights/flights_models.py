"""Fits the three models of the flights example, and measures them. Heavy libraries load on use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from consistency.postprocess import PostProcess
from flights_features import pipeline
from flights_measures import Floats, fit_platt
from flights_prepare import Examples, Prepared
from samescore import promote_to_float64

SEED: Final = 2013
CATEGORIES: Final = ("carrier_code", "origin_code", "dest_code")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much training is done.

    Attributes:
        trees: number of boosting rounds; LightGBM may stop earlier.
        epochs: most passes of the network over the training rows.
        threads: CPU threads for the trees; serving chooses its own.
    """

    trees: int = 100
    epochs: int = 3
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Trained:
    """One model, saved and ready to be bundled.

    Attributes:
        name: of the model that will be served.
        model_format: as in the manifest.
        path: the saved model, a file or a folder.
        predict: features (N, F) to the raw output that `postprocess` takes, (N,) or (N, 2).
        losses: log loss on June, by tree or epoch.
        postprocess: from raw probability to score.
        execution: ``"as_is"`` or ``"float64"``.
        trust_types: what the file holds beyond plain data; each operator names them, too.
    """

    name: str
    model_format: str
    path: Path
    predict: Callable[[Floats], Floats]
    losses: list[float]
    postprocess: PostProcess = field(default_factory=PostProcess)
    execution: str = "as_is"
    trust_types: tuple[str, ...] = ()


def fit_xgboost(prepared: Prepared, effort: Effort, folder: Path) -> Trained:
    """Train XGBoost and save it as UBJSON below `folder`."""
    import xgboost as xgb

    train, check = prepared.train, prepared.check
    losses: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "max_depth": 6,
            "eta": 0.1,
            "min_child_weight": 20,
            "nthread": effort.threads,
            "seed": SEED,
        },
        xgb.DMatrix(train.features, train.late),
        num_boost_round=effort.trees,
        evals=[(xgb.DMatrix(check.features, check.late), "check")],
        evals_result=losses,
        verbose_eval=False,
    )
    path = folder / "model.ubj"
    booster.save_model(path)

    def predict(features: Floats) -> Floats:
        return np.asarray(booster.inplace_predict(features), np.float64)

    return Trained("xgboost", "xgboost", path, predict, _floats(losses["check"]["logloss"]))


def fit_lightgbm(prepared: Prepared, effort: Effort, folder: Path) -> Trained:
    """Train LightGBM, choose the number of trees and the Platt scaling by June, and save it."""
    import lightgbm as lgb

    train, check = prepared.train, prepared.check
    categories = [pipeline.outputs.names.index(name) for name in CATEGORIES]
    losses: dict[str, dict[str, list[float]]] = {}
    rows = lgb.Dataset(train.features, train.late, categorical_feature=categories)
    booster = lgb.train(
        {
            "objective": "binary",
            "num_leaves": 31,
            "learning_rate": 0.1,
            "min_data_in_leaf": 100,
            "num_threads": effort.threads,
            "deterministic": True,
            "force_row_wise": True,
            "seed": SEED,
            "verbosity": -1,
        },
        rows,
        num_boost_round=effort.trees,
        valid_sets=[rows.create_valid(check.features, check.late)],
        valid_names=["check"],
        callbacks=[lgb.early_stopping(20, verbose=False), lgb.record_evaluation(losses)],
    )
    path = folder / "model.txt"
    booster.save_model(path, num_iteration=booster.best_iteration)

    def predict(features: Floats) -> Floats:
        return np.asarray(booster.predict(features), np.float64)

    scaled = PostProcess(calibration=fit_platt(predict(check.features), check.late))
    curve = _floats(losses["check"]["binary_logloss"])
    return Trained("lightgbm", "lightgbm", path, predict, curve, scaled)


def fit_keras(prepared: Prepared, effort: Effort, folder: Path) -> list[Trained]:
    """Train a network in float32; save it as it is, and promoted to float64."""
    model, losses = _train_network(prepared.train, prepared.check, effort)
    promoted = promote_to_float64(model, prepared.check.features[:512].astype(np.float32))
    return [
        _save_network("keras_float32", "as_is", model, losses, folder),
        _save_network("keras_float64", "float64", promoted, losses, folder),
    ]


def _train_network(
    train: Examples, check: Examples, effort: Effort
) -> tuple[Any, list[float]]:  # Any: keras has no types
    # Bundling scores the golden rows in this process, as the server will: on one thread of the CPU.
    # TensorFlow takes these settings only before its first operation.
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = _network(train.features)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="binary_crossentropy",
        metrics=[keras.metrics.AUC(name="auc")],
    )
    best = keras.callbacks.EarlyStopping(
        monitor="val_auc", mode="max", patience=1, restore_best_weights=True
    )
    history = model.fit(
        train.features.astype(np.float32),
        train.late.astype(np.float32),
        batch_size=1024,
        epochs=effort.epochs,
        validation_data=(check.features.astype(np.float32), check.late.astype(np.float32)),
        callbacks=[best],
        verbose=0,
    )
    return model, _floats(history.history["val_loss"])


def _network(features: Floats) -> Any:  # noqa: ANN401 - keras has no types
    """Build the network; raw features go in, so that nothing of it is left to the server.

    No layer names a dtype: promoted to float64, all of it computes in float64.
    """
    import keras

    # Rounded to float32 here, so that the promoted network normalises by the very same numbers.
    mean = np.nanmean(features, axis=0).astype(np.float32)
    variance = np.nanvar(features, axis=0).astype(np.float32)
    variance[variance == 0.0] = 1.0  # a feature that never varied in training
    inputs = keras.Input((features.shape[1],), name="features", dtype="float32")
    scaled = keras.layers.Normalization(mean=mean.tolist(), variance=variance.tolist())(inputs)
    missing = keras.ops.isnan(scaled)
    filled = keras.ops.where(missing, keras.ops.zeros_like(scaled), scaled)
    hidden = keras.ops.concatenate([filled, missing], axis=-1)
    for width in (64, 32):
        hidden = keras.layers.Dense(width, activation="relu")(hidden)
        hidden = keras.layers.Dropout(0.3)(hidden)  # without it, months beyond May score badly
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="late")(hidden))


def _save_network(
    name: str,
    execution: str,
    model: Any,  # noqa: ANN401 - keras has no types
    losses: list[float],
    folder: Path,
) -> Trained:
    """Export a SavedModel whose signature takes one float32 matrix, whatever it computes in."""
    path = folder / name
    model.export(path, verbose=False)

    def predict(features: Floats) -> Floats:
        late = model.predict(features.astype(np.float32), batch_size=8192, verbose=0)
        return np.asarray(late[:, 0], np.float64)

    return Trained(name, "saved_model", path, predict, losses, execution=execution)


def _floats(losses: Iterable[float]) -> list[float]:
    """Return plain floats: some libraries hand out their own, which JSON does not know."""
    return [float(loss) for loss in losses]
