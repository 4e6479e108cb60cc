from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders import load_scorer
from serving.loaders.trust.grants import ModelTrust
from serving.loaders.trust.skops_files import read_skops, write_skops

pytestmark = pytest.mark.slow  # importing scikit-learn and pandas takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]
TREE = ModelTrust(frozenset({"sklearn.tree._tree.Tree"}))
BUNCH = ModelTrust(frozenset({"sklearn.utils._bunch.Bunch"}))
PICKLE = ModelTrust(allow_pickle=True)


@pytest.fixture(scope="module")
def x() -> NDArray:
    return np.random.default_rng(2).normal(size=(300, 4))


@pytest.fixture(scope="module")
def y(x: NDArray) -> NDArray:
    return (x[:, 0] > x[:, 1]).astype(int) + (x[:, 2] > 1)


def dumped(model: Any, folder: Path) -> Path:
    skops.io.dump(model, folder / "model.skops")
    return folder


# ----------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize(
    ("model", "method", "shape"),
    [
        (LogisticRegression(), "predict_proba", (300, 3)),
        (RidgeClassifier(), "decision_function", (300, 3)),
        (LinearRegression(), "predict", (300,)),
        (VotingClassifier([("a", LogisticRegression())]), "predict", (300,)),
    ],
)
def test_the_most_telling_method_is_asked_and_names_the_output(
    model: Any, method: str, shape: tuple[int, ...], x: NDArray, y: NDArray, tmp_path: Path,
    batch_of: BatchOf,
) -> None:  # fmt: skip
    model.fit(x, y)
    outputs = load_scorer("sklearn", dumped(model, tmp_path), trust=BUNCH).score(batch_of(x))
    assert list(outputs) == [method]
    assert outputs[method].shape == shape
    assert outputs[method].dtype == np.float64
    np.testing.assert_array_equal(outputs[method], getattr(model, method)(x))


def test_an_outlier_detector_decides(x: NDArray, tmp_path: Path, batch_of: BatchOf) -> None:
    model = IsolationForest(n_estimators=10, random_state=0).fit(x)
    scorer = load_scorer("sklearn", dumped(model, tmp_path), trust=TREE)
    np.testing.assert_array_equal(
        scorer.score(batch_of(x))["decision_function"], model.decision_function(x)
    )


def test_a_forest_repeats_itself_whatever_jobs_it_was_saved_with(
    x: NDArray, y: NDArray, tmp_path: Path, batch_of: BatchOf
) -> None:
    model = RandomForestClassifier(200, n_jobs=4, random_state=0).fit(x, y)
    scorer = load_scorer("sklearn", dumped(model, tmp_path), threads=2, trust=TREE)
    first = scorer.score(batch_of(x))["predict_proba"]
    for _ in range(5):
        np.testing.assert_array_equal(scorer.score(batch_of(x))["predict_proba"], first)


# ------------------------------------------------------------------------------------------- names


def named(names: tuple[str, ...], x: NDArray) -> FeatureBatch:
    return FeatureBatch(FeatureSchema.float64(names), len(x), np.asfortranarray(x))


def test_a_model_fitted_on_a_frame_gets_its_columns_by_name(
    x: NDArray, y: NDArray, tmp_path: Path
) -> None:
    names = ("a", "b", "c", "d")
    model = LogisticRegression().fit(pd.DataFrame(x, columns=list(names)), y)
    scorer = load_scorer("sklearn", dumped(model, tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = scorer.score(named(names[::-1], x[:, ::-1]))["predict_proba"]
    np.testing.assert_array_equal(mixed, scorer.score(named(names, x))["predict_proba"])
    with pytest.raises(BackendError, match="d, e is on one side only"):
        scorer.score(named(("a", "b", "c", "e"), x))


def test_a_model_of_numbers_and_texts_gets_both(tmp_path: Path) -> None:
    frame = pd.DataFrame({"city": ["Bonn", "Kiel"] * 20, "amount": np.arange(40.0)})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["amount"])),
        LinearRegression(),
    ).fit(frame, np.arange(40.0))
    scorer = load_scorer("sklearn", dumped(model, tmp_path))
    schema = FeatureSchema(("amount", "city"), (FeatureType.FLOAT64, FeatureType.STRING))
    amounts = np.asfortranarray(frame[["amount"]].to_numpy())
    batch = FeatureBatch(schema, 40, amounts, {"city": frame["city"].to_numpy(object)})
    np.testing.assert_allclose(
        scorer.score(batch)["predict"], model.predict(frame), rtol=0, atol=5e-11
    )


# ------------------------------------------------------------------------------------------- trust


def test_an_untrusted_type_is_refused_by_name(x: NDArray, y: NDArray, tmp_path: Path) -> None:
    dumped(RandomForestClassifier(3).fit(x, y), tmp_path)
    with pytest.raises(ConfigError, match=r"trusts yet: sklearn\.tree\._tree\.Tree.*--trust"):
        load_scorer("sklearn", tmp_path)
    other = ModelTrust(frozenset({"builtins.eval"}), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"sklearn\.tree\._tree\.Tree"):
        load_scorer("sklearn", tmp_path, trust=other)
    assert load_scorer("sklearn", tmp_path, trust=TREE).info.dtype == "float64"


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib"])
def test_a_pickle_is_refused_without_being_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "ran") + b"'\ntR.")
    with pytest.raises(ConfigError, match=r"is a pickle.*skops.*--allow-pickle"):
        load_scorer("sklearn", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_allowed_pickle_scores(
    x: NDArray, y: NDArray, tmp_path: Path, batch_of: BatchOf
) -> None:
    model = LinearRegression().fit(x, y)
    joblib.dump(model, tmp_path / "model.pkl")
    scorer = load_scorer("sklearn", tmp_path, trust=PICKLE)
    np.testing.assert_array_equal(scorer.score(batch_of(x))["predict"], model.predict(x))


def test_two_model_files_are_refused(x: NDArray, y: NDArray, tmp_path: Path) -> None:
    joblib.dump(LinearRegression().fit(x, y), dumped(LinearRegression(), tmp_path) / "model.pkl")
    with pytest.raises(BundleError, match=r"model\.skops and model\.pkl found"):
        load_scorer("sklearn", tmp_path)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (StandardScaler().fit([[1.0], [2.0]]), "StandardScaler, which has none of predict_proba"),
        (VotingClassifier([("a", RidgeClassifier())]).fit([[1.0], [2.0]], ["n", "y"]), "name"),
    ],
)
def test_what_scores_nothing_is_refused(model: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_scorer("sklearn", dumped(model, tmp_path), trust=BUNCH)


def test_the_models_own_failure_is_told(
    x: NDArray, y: NDArray, tmp_path: Path, batch_of: BatchOf
) -> None:
    scorer = load_scorer("sklearn", dumped(LinearRegression().fit(x, y), tmp_path))
    with pytest.raises(BackendError, match="scikit-learn failed: ValueError: Input X contains NaN"):
        scorer.score(batch_of(np.full((1, 4), np.nan)))


# ------------------------------------------------------------------------------------- skops bytes


def test_the_same_fitted_object_gives_the_same_bytes(x: NDArray, y: NDArray) -> None:
    def fitted() -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(x.copy(), y.copy())

    data = write_skops(fitted())
    assert write_skops(fitted()) == data
    assert write_skops(fitted().fit(x * 2, y)) != data
    read = read_skops(data, (), where="here", opt_in="-", damaged=ConfigError)
    np.testing.assert_array_equal(read.predict_proba(x), fitted().predict_proba(x))
    assert write_skops(read) == data
