"""Laws of a backend: real arithmetic that keeps them, and for each law one that breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, take_rows
from consistency.laws import (
    Invariance,
    LawNotRunError,
    ScorerLaw,
    ScorerViolation,
    check_batch_size_invariance,
    check_device_invariance,
    check_order_invariance,
    check_repeatability,
    check_thread_invariance,
    expect_sight,
    plant_fault,
    plant_fault_in_factory,
)
from consistency.protocols import Scorer, ScorerInfo
from consistency.schema import FeatureSchema
from consistency.scored import Outputs
from tests.fakes.scorers import LinearScorer

RNG = np.random.default_rng(3)
FEATURES = FeatureBatch(
    FeatureSchema.float64(("a", "b")), 40, np.asfortranarray(RNG.normal(size=(40, 2)))
)


@dataclass
class Formula:
    """A backend that is any function of a batch."""

    formula: Callable[[FeatureBatch], Outputs]
    info: ScorerInfo = field(default_factory=lambda: ScorerInfo("fake/formula", "float64"))

    def score(self, features: FeatureBatch) -> Outputs:
        return self.formula(features)


def matrix_product(features: FeatureBatch) -> Outputs:
    """A float32 network's first layer: BLAS sums in another order for another shape."""
    weights = np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)
    hidden = np.tanh(features.matrix().astype(np.float32) @ weights)
    return {
        "score": hidden @ np.full(64, 1 / 64, np.float32) * np.float32(1 + features.rows * 1e-7)
    }


CHECKS: list[tuple[ScorerLaw, Callable[[Scorer, FeatureBatch], Invariance]]] = [
    (ScorerLaw.BATCH_SIZE_INVARIANT, check_batch_size_invariance),
    (ScorerLaw.ORDER_INVARIANT, check_order_invariance),
    (ScorerLaw.REPEATABLE, check_repeatability),
]


@pytest.mark.parametrize(("law", "check"), CHECKS)
def test_row_by_row_arithmetic_keeps_every_law_bit_for_bit(law: ScorerLaw, check: Any) -> None:
    found = check(LinearScorer(), FEATURES)
    assert found.law is law
    assert found.identical
    assert found.max_abs_diff == 0
    assert all(s.comparison.agrees for s in found.situations)
    assert "agree bit for bit" in str(found)


@pytest.mark.parametrize(("law", "check"), CHECKS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_planted_fault_is_found(law: ScorerLaw, check: Any, dtype: Any) -> None:
    scorer = Formula(lambda f: {"score": (f.column("a") * 0.3).astype(dtype)})
    check(scorer, FEATURES)
    found = expect_sight(lambda: check(plant_fault(scorer, law), FEATURES), law)
    assert found.law is law
    assert found.output == "score"
    assert found.difference is not None
    assert found.difference.abs_diff >= 9e-10
    assert found.difference.ulps > 0
    assert repr(float(found.difference.online)) in str(found)
    assert " rows differ" in str(found)


@pytest.mark.parametrize(("law", "check"), CHECKS)
def test_what_stays_within_ten_decimals_passes_and_says_that_bits_moved(
    law: ScorerLaw, check: Any
) -> None:
    found = check(plant_fault(LinearScorer(), law, size=1e-12), FEATURES)
    assert not found.identical
    assert 0 < found.max_abs_diff < 1e-10
    assert "to 10 decimals, largest" in str(found)
    with pytest.raises(ScorerViolation):
        check(plant_fault(LinearScorer(), law, size=1e-12), FEATURES, decimals=13)


def test_a_check_that_sees_nothing_is_not_trusted() -> None:
    with pytest.raises(LawNotRunError, match="stayed green on a planted fault"):
        expect_sight(lambda: None, ScorerLaw.REPEATABLE)


# ---- batch size ---------------------------------------------------------------------------------


def test_a_float32_matrix_product_depends_on_its_batch() -> None:
    with pytest.raises(ScorerViolation) as caught:
        check_batch_size_invariance(Formula(matrix_product), FEATURES)
    assert caught.value.situation == "in batches of 7, not 1"
    assert caught.value.row is not None
    assert 0 < caught.value.comparison.max_abs_diff < 1e-5


def test_every_size_is_really_scored_with_full_batches_and_a_rest() -> None:
    scorer = LinearScorer()
    check_batch_size_invariance(scorer, take_rows(FEATURES, slice(0, 3)), sizes=(1, 4, 9))
    assert scorer.batches == [1] * 10 + [4, 4, 2] + [9, 1]


def test_a_row_that_differs_is_named_by_its_place_among_the_rows_given() -> None:
    def last_of_many(features: FeatureBatch) -> Outputs:
        out = features.column("a").copy()
        if features.rows > 1:
            out[features.column("b") == FEATURES.column("b")[2]] += 1
        return {"score": out}

    with pytest.raises(ScorerViolation) as caught:
        check_batch_size_invariance(Formula(last_of_many), take_rows(FEATURES, slice(0, 3)))
    assert caught.value.row == 2
    assert caught.value.got - caught.value.expected == 1  # type: ignore[operator]


@pytest.mark.parametrize("sizes", [(), (1,), (7, 7), (0, 1)])
def test_sizes_that_compare_nothing_do_not_pass(sizes: tuple[int, ...]) -> None:
    with pytest.raises(LawNotRunError, match="batch sizes"):
        check_batch_size_invariance(LinearScorer(), FEATURES, sizes)


@pytest.mark.parametrize("check", [check_batch_size_invariance, check_order_invariance])
@pytest.mark.parametrize("rows", [[], [5], [5, 5, 5]])
def test_equal_rows_show_nothing(check: Any, rows: list[int]) -> None:
    with pytest.raises(LawNotRunError, match="equal; give at least two different ones"):
        check(LinearScorer(), take_rows(FEATURES, np.array(rows, np.intp)))


# ---- order and neighbours -----------------------------------------------------------------------


def test_a_score_that_depends_on_the_neighbours_is_found() -> None:
    centred = Formula(lambda f: {"score": f.column("a") - f.column("a").max()})
    with pytest.raises(ScorerViolation, match="replaced by"):
        check_order_invariance(centred, FEATURES)


# ---- repeats ------------------------------------------------------------------------------------


def test_a_backend_that_reuses_its_buffer_is_found() -> None:
    buffer = np.zeros(FEATURES.rows)

    def reuse(features: FeatureBatch) -> Outputs:
        buffer[: features.rows] = features.column("a")
        buffer[0] += len(calls) * 1e-3
        calls.append(1)
        return {"score": buffer[: features.rows]}

    calls: list[int] = []
    with pytest.raises(ScorerViolation):
        check_repeatability(Formula(reuse), FEATURES)


def test_an_answer_overwritten_later_is_found_though_each_repeat_agrees() -> None:
    given: list[Any] = []

    def spoil(features: FeatureBatch) -> Outputs:
        for earlier in given[:1]:
            earlier[0] = -1.0
        given.append(features.column("a").copy())
        return {"score": given[-1]}

    with pytest.raises(ScorerViolation, match="the first answer, after the later ones"):
        check_repeatability(Formula(spoil), FEATURES)


def test_a_backend_that_changes_its_features_is_found() -> None:
    def scale(features: FeatureBatch) -> Outputs:
        out = features.column("a").copy()
        features.numeric[:, 1] = 0.0
        return {"score": out}

    with pytest.raises(
        ScorerViolation, match=r"row 0, 'b': scoring changed the features handed in"
    ):
        check_repeatability(Formula(scale), take_rows(FEATURES, np.arange(5)))


@pytest.mark.parametrize(("repeats", "rows"), [(0, 3), (5, 0)])
def test_no_repeats_or_rows_do_not_pass(repeats: int, rows: int) -> None:
    with pytest.raises(LawNotRunError, match="compare nothing"):
        check_repeatability(LinearScorer(), take_rows(FEATURES, slice(0, rows)), repeats)


# ---- backends that fail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (lambda _: {}, "gave no output at all"),
        (lambda _: {"score": np.zeros(1)}, "another number of rows"),
        (lambda _: {"score": 1 / 0}, "the backend raised ZeroDivisionError"),
        (lambda f: {f"score{f.rows}": f.column("a")}, "outputs"),
        (lambda f: {"score": f.column("a").astype("f4" if f.rows > 1 else "f8")}, "dtype"),
    ],
)
def test_a_backend_that_fails_breaks_the_law(formula: Any, said: str) -> None:
    with pytest.raises(ScorerViolation, match=said):
        check_batch_size_invariance(Formula(formula), FEATURES)


# ---- threads and devices ------------------------------------------------------------------------


def loaded(threads: int = 1, device: str = "cpu", drift: float = 0.0) -> Scorer:
    info = ScorerInfo("fake/linear", "float64", device, threads)
    return LinearScorer(intercept=drift, info=info)


def test_threads_that_move_nothing() -> None:
    found = check_thread_invariance(lambda n: loaded(threads=n), FEATURES, (1, 2, 4))
    assert [s.name for s in found.situations] == [
        "with 2 threads, not 1 thread",
        "with 4 threads, not 1 thread",
    ]
    assert found.identical


def test_a_fault_planted_behind_a_factory_is_found() -> None:
    law = ScorerLaw.THREAD_INVARIANT
    factory = plant_fault_in_factory(lambda n: loaded(threads=n), 1, law)
    found = expect_sight(lambda: check_thread_invariance(factory, FEATURES), law)
    assert found.situation == "with 2 threads, not 1 thread"
    device = ScorerLaw.DEVICE_INVARIANT
    factory = plant_fault_in_factory(lambda d: loaded(device=d), "cpu", device)
    found = expect_sight(lambda: check_device_invariance(factory, FEATURES), device)
    assert found.situation == "with device cuda:0, not device cpu"


def test_a_backend_that_ignores_the_number_of_threads_has_not_been_checked() -> None:
    with pytest.raises(LawNotRunError, match="asked for 2 threads, but backend fake/linear says 1"):
        check_thread_invariance(lambda _: loaded(), FEATURES)


def test_a_device_that_is_not_there_is_said() -> None:
    def load(device: str) -> Scorer:
        if device != "cpu":
            raise ConfigError(f"device {device} is not on this machine")
        return loaded()

    with pytest.raises(LawNotRunError, match="no backend with device cuda:0: device cuda:0 is not"):
        check_device_invariance(load, FEATURES)


@pytest.mark.parametrize("threads", [(), (1,), (2, 2)])
def test_one_setting_compares_nothing(threads: tuple[int, ...]) -> None:
    with pytest.raises(LawNotRunError, match="compare nothing"):
        check_thread_invariance(lambda n: loaded(threads=n), FEATURES, threads)


def test_a_fault_can_only_be_planted_in_floats() -> None:
    labels = Formula(lambda f: {"label": (f.column("a") > 0).astype(np.int64)})
    assert check_order_invariance(labels, FEATURES).identical
    with pytest.raises(ConfigError, match="planted in float outputs"):
        check_order_invariance(plant_fault(labels, ScorerLaw.ORDER_INVARIANT), FEATURES)


def test_the_result_is_json() -> None:
    found = check_batch_size_invariance(LinearScorer(), FEATURES)
    value = json.loads(json.dumps(found.to_json()))
    assert value["law"] == "batch size invariant"
    assert value["bit_identical"] is True
    assert [s["name"] for s in value["situations"]] == [
        "in batches of 7, not 1",
        "in batches of 64, not 1",
    ]


def test_a_violation_is_an_assertion_and_nan_agrees_with_nan() -> None:
    holed = replace(FEATURES, numeric=np.where(FEATURES.numeric > 1, np.nan, FEATURES.numeric))
    kept = Formula(lambda f: {"score": f.column("a")})
    assert np.isnan(holed.numeric).any()
    assert check_batch_size_invariance(kept, holed).identical
    assert issubclass(ScorerViolation, AssertionError)
