from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import BackendError, ConfigError
from consistency.postprocess import Platt, PostProcess
from consistency.scored import Outputs

PROBABILITY = st.floats(0.0, 1.0)


def test_the_only_output_is_the_score() -> None:
    score = PostProcess()({"late": np.array([0.1, 0.2], np.float32)})
    assert score.dtype == np.float64
    assert score.tolist() == [float(np.float32(0.1)), float(np.float32(0.2))]


def test_one_column_becomes_a_vector_and_several_stay() -> None:
    assert PostProcess()({"p": np.array([[0.1], [0.2]])}).shape == (2,)
    assert PostProcess()({"p": np.zeros((2, 3))}).shape == (2, 3)
    assert PostProcess()({"p": np.zeros((1, 1))}).shape == (1,)


@pytest.mark.parametrize(("column", "score"), [(0, [1.0, 3.0]), (1, [2.0, 4.0]), (-1, [2.0, 4.0])])
def test_a_column_is_picked(column: int, score: list[float]) -> None:
    outputs = {"p": np.array([[1.0, 2.0], [3.0, 4.0]])}
    assert PostProcess(column=column)(outputs).tolist() == score


def test_an_output_is_picked_by_name() -> None:
    outputs = {"a": np.array([1.0]), "b": np.array([2.0])}
    assert PostProcess(output="b")(outputs).tolist() == [2.0]


@pytest.mark.parametrize(
    ("post", "outputs", "text"),
    [
        (PostProcess(), {"a": np.zeros(1), "b": np.zeros(1)}, r"\['a', 'b'\]; name one of them"),
        (PostProcess(), {}, r"\[\]"),
        (PostProcess(output="c"), {"a": np.zeros(1)}, "takes output 'c'"),
        (PostProcess(column=2), {"a": np.zeros((1, 2))}, r"shape \(1, 2\), no column 2"),
        (PostProcess(column=-3), {"a": np.zeros((1, 2))}, "no column -3"),
        (PostProcess(column=0), {"a": np.zeros(2)}, r"shape \(2,\), no column 0"),
    ],
)
def test_outputs_that_do_not_fit_are_the_backends_fault(
    post: PostProcess, outputs: Outputs, text: str
) -> None:
    with pytest.raises(BackendError, match=text):
        post(outputs)


def test_missing_stays_missing() -> None:
    post = PostProcess(calibration=Platt(1.3, -0.2))
    assert np.isnan(post({"p": np.array([math.nan, 0.5])})).tolist() == [True, False]


def test_calibration_comes_last_and_follows_its_formula() -> None:
    post = PostProcess(column=1, calibration=Platt(2.0, -1.0))
    (score,) = post({"p": np.array([[0.9, 0.25]])})
    logit = math.log(0.25 / 0.75)
    assert score == pytest.approx(1 / (1 + math.exp(-(2.0 * logit - 1.0))), abs=1e-15)


@given(st.lists(PROBABILITY, min_size=1, max_size=9), st.floats(0.01, 100), st.floats(-50, 50))
def test_calibrated_scores_are_probabilities_in_the_same_order(
    values: list[float], slope: float, intercept: float
) -> None:
    scaled = Platt(slope, intercept)(np.sort(np.array(values)))
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert (np.diff(scaled) >= 0).all()


@given(PROBABILITY)
def test_certainty_and_the_identity_are_kept(p: float) -> None:
    assert Platt(3.0, 0.5)(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert Platt(1.0, 0.0)(np.array([p]))[0] == pytest.approx(p, rel=1e-12, abs=1e-300)


def test_calibration_treats_each_row_by_itself() -> None:
    values = np.random.default_rng(3).random(257)
    platt = Platt(1.7, 0.3)
    one_by_one = np.concatenate([platt(values[i : i + 1]) for i in range(len(values))])
    np.testing.assert_allclose(one_by_one, platt(values), rtol=0, atol=5e-16)


@pytest.mark.parametrize(("slope", "intercept"), [(math.nan, 0.0), (1.0, math.inf)])
def test_a_calibration_without_numbers_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(ConfigError, match="finite numbers"):
        Platt(slope, intercept)


@pytest.mark.parametrize(
    "post",
    [
        PostProcess(),
        PostProcess("late", -1),
        PostProcess(None, 0, Platt(0.1 + 0.2, -1e-17)),
    ],
)
def test_post_processing_survives_the_way_through_json(post: PostProcess) -> None:
    assert PostProcess.from_json(json.loads(json.dumps(post.to_json()))) == post
