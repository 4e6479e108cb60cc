"""scikit-learn models in process: `model.skops`, or `model.joblib` and `model.pkl` by opt-in.

Forests add up their trees in the order in which the threads finish when `n_jobs` is more than 1,
so that their last bits differ from one call to the next. Here joblib runs its jobs one after the
other, whatever `n_jobs` the model was saved with, which fixes the order; the asked number of
threads goes to BLAS and OpenMP.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs
from serving.loaders.named_inputs import check_rows
from serving.loaders.runtimes.devices import CPU, only_cpu
from serving.loaders.runtimes.threads import ThreadCount, cores
from serving.loaders.trust.grants import NO_TRUST, ModelTrust
from serving.loaders.trust.skops_files import Fitted, read_skops

SAFE_FILE: Final = "model.skops"
PICKLES: Final = ("model.joblib", "model.pkl")
METHODS: Final = ("predict_proba", "decision_function", "predict")
"""What a model is asked, the first that it has; the raw output is called so."""


def load(
    folder: Path, threads: int | None, device: str = CPU, *, trust: ModelTrust = NO_TRUST
) -> SklearnScorer:
    """Load a fitted estimator from a folder.

    Args:
        folder: holds exactly one of `model.skops`, `model.joblib` and `model.pkl`.
        threads: of BLAS and OpenMP, None to take them as they run.
        device: `cpu`.
        trust: the types that `model.skops` may hold; whether a pickle may be loaded.

    Raises:
        BundleError: no model file, several, or one that is damaged.
        ConfigError: another device; types or a pickle that the operator does not trust; an object
            that scores nothing.
    """
    import sklearn

    only_cpu("scikit-learn", device)
    path = _model_file(folder)
    model = _read(folder, path, trust)
    method = next((name for name in METHODS if hasattr(model, name)), None)
    if method is None:
        raise ConfigError(
            f"{path} holds a {type(model).__name__}, which has none of {', '.join(METHODS)}; bundle"
            " a fitted classifier, regressor or outlier detector"
        )
    _check_answer(path, model, method)
    info = ScorerInfo(
        f"in_process/scikit-learn {sklearn.__version__}", "float64", threads=threads or cores()
    )
    return SklearnScorer(model, method, threads, info)


class SklearnScorer:
    """Scores with one method of a fitted estimator, in float64 as scikit-learn answers.

    A model that was fitted on a frame gets a frame of the same columns, by name; any other gets all
    features as one matrix in schema order. NaN means what it meant in training.
    """

    def __init__(self, model: Fitted, method: str, threads: int | None, info: ScorerInfo) -> None:
        from joblib import parallel_config  # type: ignore[import-untyped]  # ships no types
        from threadpoolctl import (  # type: ignore[import-untyped]  # ships no types
            ThreadpoolController,
        )

        self._call, self._method = getattr(model, method), method
        self._names = [str(name) for name in getattr(model, "feature_names_in_", ())]
        self._width = getattr(model, "n_features_in_", None)
        self._threads, self._info = threads, info
        controller = ThreadpoolController()
        self._pools = ThreadCount(lambda count: controller.limit(limits=count))
        self._one_by_one = partial(parallel_config, backend="sequential")

    @property
    def info(self) -> ScorerInfo:
        """scikit-learn's version, float64, threads."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the method's answer under its name: float64, shape (N,), or (N, k) for k classes.

        Raises:
            BackendError: features that the model does not take, or scikit-learn failed.
        """
        rows = self._frame(features) if self._names else self._matrix(features)
        try:
            with self._pools.of(self._threads), self._one_by_one():
                answer = self._call(rows)
        except Exception as error:  # an estimator may raise anything
            raise BackendError(f"scikit-learn failed: {type(error).__name__}: {error}") from error
        outputs = {self._method: np.asarray(answer, np.float64)}
        check_rows(outputs, features.rows)
        return outputs

    def _matrix(self, features: FeatureBatch) -> NDArray[np.float64]:
        matrix = features.matrix()
        if self._width is not None and matrix.shape[1] != self._width:
            raise BackendError(
                f"the scikit-learn model takes {self._width} features, the row has"
                f" {matrix.shape[1]}; bundle the model with the pipeline that it was trained with"
            )
        return matrix

    def _frame(self, features: FeatureBatch) -> Fitted:
        import pandas as pd

        columns = features.columns()
        if sorted(columns) != sorted(self._names):
            odd = sorted(set(self._names) ^ set(columns))
            raise BackendError(
                f"the scikit-learn model takes {len(self._names)} features by name, the row has"
                f" {len(columns)}; {', '.join(odd[:5])} is on one side only: bundle the model with"
                " the pipeline that it was trained with"
            )
        return pd.DataFrame({name: columns[name] for name in self._names})


def _model_file(folder: Path) -> Path:
    found = [folder / n for n in (SAFE_FILE, *PICKLES) if (folder / n).is_file()]
    if len(found) != 1:
        what = " and ".join(p.name for p in found) or "none"
        raise BundleError(
            folder,
            f"{what} found of {SAFE_FILE}, {', '.join(PICKLES)}; a scikit-learn model is exactly"
            " one of these files",
        )
    return found[0]


def _read(folder: Path, path: Path, trust: ModelTrust) -> Fitted:
    if path.name == SAFE_FILE:
        return read_skops(
            path.read_bytes(),
            trust.types,
            where=path,
            opt_in="name each with --trust-type",
            damaged=lambda problem: BundleError(folder, f"{path.name}: {problem}"),
        )
    if not trust.allow_pickle:
        raise ConfigError(
            f"{path} is a pickle, which can run any code when it is read; bundle the model as skops"
            " (skops.io.dump), or, if you trust the file's whole way here, load it with"
            " --allow-pickle"
        )
    return _unpickle(folder, path)


def _unpickle(folder: Path, path: Path) -> Fitted:
    """Load a pickle that the operator opted in to; joblib reads plain ones as well."""
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # a damaged pickle raises anything
        raise BundleError(
            folder, f"{path.name} cannot be unpickled: {type(error).__name__}: {error}"
        ) from error


def _check_answer(path: Path, model: Fitted, method: str) -> None:
    """Refuse answers that are no columns of numbers, before a request meets them."""
    classes = getattr(model, "classes_", None)
    if isinstance(classes, list):
        raise ConfigError(f"{path}: a model of several targets at once; bundle one for each")
    if method == "predict" and classes is not None and np.asarray(classes).dtype.kind not in "biuf":
        raise ConfigError(
            f"{path}: its only answer is a class's name; bundle a classifier with predict_proba or"
            " decision_function"
        )
