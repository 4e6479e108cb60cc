from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs
from samescore.promotion.report import PromotionReport, verify
from samescore.promotion.samples import generate_rows, matrix_rows, read_rows
from serving.loaders.named_inputs import Input, input_arrays

ROWS = matrix_rows(np.random.default_rng(1).normal(size=(130, 3)))


class Formula:
    """A scorer that is a formula over the feature matrix."""

    info = ScorerInfo("formula", "float64")

    def __init__(self, formula: Callable[[NDArray], NDArray]) -> None:
        self._formula = formula

    def score(self, features: FeatureBatch) -> Outputs:
        return {"p": self._formula(features.matrix())}


def judged(old: Callable[[NDArray], NDArray], new: Callable[[NDArray], NDArray]) -> PromotionReport:
    return verify(Formula(old), Formula(new), ROWS, origin="made rows")


def narrow(x: NDArray) -> NDArray:
    return x.astype(np.float32).sum(axis=1)


def wide(x: NDArray) -> NDArray:
    return x.sum(axis=1)


def test_the_same_model_in_more_digits_passes() -> None:
    report = judged(narrow, wide)
    assert report.passed
    (output,) = report.outputs
    assert (output.before, output.after) == ("float32", "float64")
    assert 0 < output.largest_difference < 1e-6
    assert output.batch_after <= 5e-11
    assert "verified on 130 rows (made rows)" in str(report)


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (narrow, "it is still float32"),
        (lambda x: wide(x) + 1e-3, "differ from the original's by more"),
        (lambda x: wide(x) + 1e-9 * len(x), "moves with its batch by more than 5e-11"),
        (lambda x: np.where(x[:, 0] > 2, np.nan, wide(x)), "differ from the original's by more"),
        (lambda x: wide(x)[:, None], "differ from the original's by more"),
    ],
)
def test_another_model_fails(new: Callable[[NDArray], NDArray], problem: str) -> None:
    report = judged(narrow, new)
    assert not report.passed
    assert problem in str(report)
    assert "FAILED" in str(report)


def test_labels_must_be_equal() -> None:
    def label(x: NDArray) -> NDArray:
        return (x[:, 0] > 0).astype(np.int64)

    assert judged(label, label).passed
    report = judged(label, lambda x: label(x) ^ (x[:, 1] > 1))
    assert not report.passed
    assert "rows differ from the original's" in str(report)
    held = report.to_json()["outputs"][0]
    assert (held["batch_before"], held["batch_after"]) == (None, None)


def test_values_that_are_no_numbers_agree_with_themselves() -> None:
    def odd(x: NDArray) -> NDArray:
        return np.where(x[:, 0] > 1, np.nan, np.where(x[:, 0] < -1, np.inf, wide(x)))

    assert judged(lambda x: odd(x).astype(np.float32), odd).passed


def test_one_row_says_nothing_of_batches() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        verify(Formula(wide), Formula(wide), matrix_rows(np.zeros((1, 3))), origin="one")


SPECS = (
    Input("price", np.dtype(np.float32), 1),
    Input("tokens", np.dtype(np.int64), 2, 4),
    Input("city", np.dtype(object), 1),
)


def test_rows_are_made_up_for_each_kind_of_input() -> None:
    made = generate_rows(SPECS, 10)
    price, tokens, city = input_arrays(SPECS, made.features)
    assert (price.dtype, price.shape) == (np.float32, (10,))
    assert (tokens.dtype, tokens.shape) == (np.int64, (10, 4))
    assert set(tokens.ravel()) == {0, 1}
    assert all(isinstance(text, str) for text in city)
    again = input_arrays(SPECS, generate_rows(SPECS, 10).features)
    np.testing.assert_array_equal(price, again[0])


def test_an_input_of_an_unknown_shape_asks_for_rows() -> None:
    with pytest.raises(ConfigError, match=r"no rows can be made up for input 'image'.*--samples"):
        generate_rows((Input("image", np.dtype(np.float32), 4),))


def test_rows_are_read_by_input_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"price": 0.1, "tokens": [1, 2, 3, 4], "city": "Köln"}\n\n' * 2)
    price, tokens, city = input_arrays(SPECS, read_rows(path, SPECS).features)
    assert price.tolist() == [np.float32(0.1)] * 2
    assert tokens.tolist() == [[1, 2, 3, 4]] * 2
    assert city.tolist() == ["Köln", "Köln"]


@pytest.mark.parametrize("text", ["", '{"price": 1}\n', "[1, 2]\n[1]\n", "{\n", '{"price": "x"}\n'])
def test_unusable_rows_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"rows\.jsonl"):
        read_rows(path, SPECS)
