"""The laws that every model format obeys, over one table of models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch, take_rows
from consistency.protocols import Scorer
from serving.loaders import FORMATS, load_scorer
from tests.fixtures.made_models import MADE, WIDTH, Made, make

pytestmark = pytest.mark.slow  # importing torch and TensorFlow takes seconds

BatchOf = Callable[[NDArray], FeatureBatch]
ROWS = 4096
TEN_DECIMALS = 5e-11


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(11).normal(size=(ROWS, WIDTH))


@pytest.fixture(scope="module", params=MADE)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rows: NDArray
) -> Made:
    folder = tmp_path_factory.mktemp(request.param)
    labels = (rows[:, 0] + rows[:, 1] ** 2 > 1).astype(np.float64)
    model = make(request.param, folder, rows, labels)
    own = folder / "samescore"  # the bundle's own folder is none of a loader's business
    own.mkdir()
    (own / "manifest.json").write_text("{}")
    return model


def load(made: Made, folder: Path | None = None, threads: int | None = 1) -> Scorer:
    return load_scorer(made.format, folder or made.folder, threads=threads, trust=made.trust)


@pytest.fixture(scope="module")
def scorer(made: Made) -> Scorer:
    return load(made)


def test_the_table_holds_every_format() -> None:
    assert {n if n in FORMATS else n.partition("_")[0] for n in MADE} == set(FORMATS)


def test_a_model_scores_as_its_own_library_does(
    made: Made, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    outputs = scorer.score(batch_of(rows))
    assert list(outputs) == [made.output]
    got = outputs[made.output]
    assert got.dtype == scorer.info.dtype
    assert len(got) == ROWS
    expected = made.expected(rows)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=TEN_DECIMALS)
    assert scorer.info.backend.startswith("in_process/")
    assert (scorer.info.device, scorer.info.threads) == ("cpu", 1)


def test_every_batch_size_agrees_to_ten_decimals(
    made: Made, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    batch = batch_of(rows)
    whole = scorer.score(batch)[made.output]
    for size in range(1, 65):
        part = slice(size, 2 * size)
        got = scorer.score(take_rows(batch, part))[made.output]
        if made.bitwise:
            np.testing.assert_array_equal(got, whole[part])
        np.testing.assert_allclose(got, whole[part], rtol=0, atol=TEN_DECIMALS)


def test_threads_change_nothing_within_ten_decimals_and_are_logged(
    made: Made, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    if made.one_runtime:
        with pytest.raises(ConfigError, match="threads"):
            load(made, threads=2)
        return
    whole = scorer.score(batch_of(rows))[made.output]
    two = load(made, threads=2)
    assert two.info.threads == 2
    for _ in range(2):
        got = two.score(batch_of(rows))[made.output]
        np.testing.assert_allclose(got, whole, rtol=0, atol=TEN_DECIMALS)
        # and back: the number of threads goes with the scorer
        np.testing.assert_array_equal(scorer.score(batch_of(rows))[made.output], whole)


def test_nobody_needs_to_say_how_many_threads(made: Made, rows: NDArray, batch_of: BatchOf) -> None:
    scorer = load(made, threads=None)
    assert scorer.info.threads >= 1
    assert len(scorer.score(batch_of(rows[:3]))[made.output]) == 3


def test_requests_may_be_scored_side_by_side(
    made: Made, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    alone = [scorer.score(batch_of(rows[i : i + 1]))[made.output] for i in range(64)]

    def score(row: int) -> NDArray:
        return scorer.score(batch_of(rows[row : row + 1]))[made.output]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(score, range(64)))
    np.testing.assert_allclose(got, alone, rtol=0, atol=TEN_DECIMALS)


def test_an_answer_is_not_overwritten_by_the_next_one(
    made: Made, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    first = scorer.score(batch_of(rows[:8]))[made.output]
    kept = first.copy()
    scorer.score(batch_of(rows[8:16]))
    np.testing.assert_array_equal(first, kept)


def test_gaps_reach_a_model_that_takes_them(
    made: Made, scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    holes = rows[:16].copy()
    holes[::2, 1] = np.nan
    if made.gaps:
        got = scorer.score(batch_of(holes))[made.output]
        np.testing.assert_array_equal(got, made.expected(holes))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("width", [WIDTH - 1, WIDTH + 1])
def test_another_width_is_refused(
    made: Made, scorer: Scorer, count: int, width: int, batch_of: BatchOf
) -> None:
    if made.by_name and width > WIDTH:
        assert len(scorer.score(batch_of(np.zeros((count, width))))[made.output]) == count
        return
    with pytest.raises(BackendError):
        scorer.score(batch_of(np.zeros((count, width))))


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 20, "half"])
def test_a_damaged_file_is_refused(made: Made, content: bytes | str, tmp_path: Path) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "model")
    whole = (made.folder / made.file).read_bytes()
    damaged = content if isinstance(content, bytes) else whole[: len(whole) // 2]
    (folder / made.file).write_bytes(damaged)
    with pytest.raises(BundleError, match=r"bundle .*model"):
        load(made, folder)


def test_a_missing_file_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=made.file.replace(".", r"\.")):
        load(made, tmp_path)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused_by_name(made: Made, device: str) -> None:
    import torch

    if torch.cuda.device_count():
        pytest.skip("this machine has a GPU; what is tested here is one that has none")
    with pytest.raises(ConfigError, match=r"device '?cuda:?\d?'?.*'cpu'"):
        load_scorer(made.format, made.folder, device=device, trust=made.trust)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:01", "CPU", ""])
def test_a_text_that_is_no_device_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write cpu, cuda"):
        load_scorer("xgboost", tmp_path, device=device)
