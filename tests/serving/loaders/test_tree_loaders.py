"""XGBoost and LightGBM: the same laws for both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import Scorer
from serving.loaders import load_scorer

BatchOf = Callable[[NDArray[np.float64]], FeatureBatch]


@dataclass(frozen=True)
class Trained:
    """A model on disk, and what its library's own Python interface says of the table."""

    format: str
    folder: Path
    file: str
    dtype: type[np.floating]
    scores: NDArray[np.floating]


def train_xgboost(folder: Path, x: NDArray, y: NDArray, **params: object) -> NDArray:
    import xgboost

    settings = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, **params}
    booster = xgboost.train(settings, xgboost.DMatrix(x, y), 20)
    folder.mkdir(exist_ok=True)
    booster.save_model(folder / "model.ubj")
    return booster.inplace_predict(x)


def train_lightgbm(folder: Path, x: NDArray, y: NDArray, **params: object) -> NDArray:
    import lightgbm

    settings = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbose": -1, **params}
    booster = lightgbm.train(settings, lightgbm.Dataset(x, y), 20)
    folder.mkdir(exist_ok=True)
    booster.save_model(folder / "model.txt")
    return booster.predict(x, num_threads=1)


@pytest.fixture(scope="module")
def trained_xgboost(
    tmp_path_factory: pytest.TempPathFactory, table: NDArray, labels: NDArray
) -> Trained:
    folder = tmp_path_factory.mktemp("xgboost")
    scores = train_xgboost(folder, table, labels)
    return Trained("xgboost", folder, "model.ubj", np.float32, scores)


@pytest.fixture(scope="module")
def trained_lightgbm(
    tmp_path_factory: pytest.TempPathFactory, table: NDArray, labels: NDArray
) -> Trained:
    folder = tmp_path_factory.mktemp("lightgbm")
    scores = train_lightgbm(folder, table, labels)
    return Trained("lightgbm", folder, "model.txt", np.float64, scores)


@pytest.fixture(scope="module", params=["trained_xgboost", "trained_lightgbm"])
def trained(request: pytest.FixtureRequest) -> Trained:
    model: Trained = request.getfixturevalue(request.param)
    own = model.folder / "samescore"  # the bundle's own folder is none of a loader's business
    own.mkdir(exist_ok=True)
    (own / "manifest.json").write_text("{}")
    return model


@pytest.fixture(scope="module")
def scorer(trained: Trained) -> Scorer:
    return load_scorer(trained.format, trained.folder)


@pytest.mark.parametrize("rows", [1, 7, 64, 400])
def test_every_batch_size_gives_the_very_bits_of_the_library(
    rows: int, trained: Trained, scorer: Scorer, table: NDArray, batch_of: BatchOf
) -> None:
    for start in range(0, len(table), rows):
        part = slice(start, start + rows)
        output = scorer.score(batch_of(table[part]))["output"]
        assert output.dtype == trained.dtype
        assert output.shape == (len(table[part]),)
        np.testing.assert_array_equal(output, trained.scores[part])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_bit_and_are_logged(
    threads: int, trained: Trained, table: NDArray, batch_of: BatchOf
) -> None:
    scorer = load_scorer(trained.format, trained.folder, threads=threads)
    np.testing.assert_array_equal(scorer.score(batch_of(table))["output"], trained.scores)
    assert scorer.info.threads == threads
    assert scorer.info.backend.startswith(f"in_process/{trained.format} ")
    assert scorer.info.dtype == np.dtype(trained.dtype).name


def test_requests_may_be_scored_side_by_side(
    trained: Trained, scorer: Scorer, table: NDArray, batch_of: BatchOf
) -> None:
    def score(row: int) -> float:
        return scorer.score(batch_of(table[row : row + 1]))["output"][0]

    rows = list(range(len(table))) * 5
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(score, rows))
    np.testing.assert_array_equal(got, trained.scores[rows])


def test_an_answer_is_not_overwritten_by_the_next_one(
    trained: Trained, scorer: Scorer, table: NDArray, batch_of: BatchOf
) -> None:
    answers = [scorer.score(batch_of(table[i : i + 1]))["output"] for i in range(50)]
    np.testing.assert_array_equal(np.concatenate(answers), trained.scores[:50])


@pytest.mark.parametrize("rows", [1, 5])
def test_another_width_is_refused(
    rows: int, scorer: Scorer, table: NDArray, batch_of: BatchOf
) -> None:
    with pytest.raises(BackendError, match="takes 6 features, the row has 5"):
        scorer.score(batch_of(table[:rows, :5]))


def test_several_classes_make_several_columns(
    tmp_path: Path, table: NDArray, batch_of: BatchOf
) -> None:
    classes = (np.arange(len(table)) % 3).astype(float)
    expected = {
        "xgboost": train_xgboost(
            tmp_path / "xgboost", table, classes, objective="multi:softprob", num_class=3
        ),
        "lightgbm": train_lightgbm(
            tmp_path / "lightgbm", table, classes, objective="multiclass", num_class=3
        ),
    }
    for name, scores in expected.items():
        scorer = load_scorer(name, tmp_path / name)
        np.testing.assert_array_equal(scorer.score(batch_of(table))["output"], scores)
        alone = scorer.score(batch_of(table[:1]))["output"]
        assert alone.shape == (1, 3)
        np.testing.assert_array_equal(alone, scores[:1])


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 20, "half"])
def test_a_damaged_file_is_refused(content: bytes | str, trained: Trained, tmp_path: Path) -> None:
    whole = (trained.folder / trained.file).read_bytes()
    damaged = content if isinstance(content, bytes) else whole[: len(whole) // 2]
    (tmp_path / trained.file).write_bytes(damaged)
    with pytest.raises(BundleError, match=trained.file) as caught:
        load_scorer(trained.format, tmp_path)
    assert "Stack trace" not in str(caught.value)


def test_a_missing_file_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=trained.file):
        load_scorer(trained.format, tmp_path)


def test_lightgbm_names_what_it_dislikes_of_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("tree\nversion=v4\nend of trees\n")
    with pytest.raises(BundleError, match="not a model that LightGBM"):
        load_scorer("lightgbm", tmp_path)


def test_xgboost_reads_json_and_refuses_two_models(
    trained_xgboost: Trained, tmp_path: Path, table: NDArray, batch_of: BatchOf
) -> None:
    import xgboost

    trained = trained_xgboost
    booster = xgboost.Booster(model_file=trained.folder / "model.ubj")
    booster.save_model(tmp_path / "model.json")
    scorer = load_scorer("xgboost", tmp_path)
    np.testing.assert_array_equal(scorer.score(batch_of(table))["output"], trained.scores)

    booster.save_model(tmp_path / "model.ubj")
    with pytest.raises(BundleError, match=r"both of model\.ubj and model\.json"):
        load_scorer("xgboost", tmp_path)


def test_xgboost_refuses_a_linear_booster(tmp_path: Path, table: NDArray, labels: NDArray) -> None:
    import xgboost

    filled = np.nan_to_num(table)
    booster = xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(filled, labels), 2)
    booster.save_model(tmp_path / "model.ubj")
    with pytest.raises(ConfigError, match="gbtree and dart"):
        load_scorer("xgboost", tmp_path)
