"""The judgement: an effect that matters and more than noise, or no verdict at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from consistency.errors import ConfigError
from monitors.drift.counting import WindowCounts
from monitors.drift.judgement import Band, Judgement, Thresholds, Verdict, judge
from monitors.psi import population_stability_index
from monitors.reference import CategoryReference, NumericReference, ReferenceSet
from monitors.thresholds.sampling import noise_psi


def one_feature(training: list[int], current: list[int], thresholds: Thresholds) -> Judgement:
    """Judge a feature with three bins; the score has not moved."""
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    numeric = NumericReference(edges, np.array([0, 0, *training, 0, 0, 0]))
    score = NumericReference(np.array([0.0, 1.0]), np.array([0, 0, sum(training), 0, 0, 0]))
    counts = WindowCounts(
        requests=1,
        rows=sum(current),
        features={"x": np.array([0, 0, *current, 0, 0, 0])},
        scores=(np.array([0, 0, sum(current), 0, 0, 0]),),
    )
    return judge(counts, ReferenceSet({"x": numeric}, (score,)), thresholds)


def test_a_tiny_window_by_hand() -> None:
    """Shares 5, 3, 2 of 10 against 4, 3, 3; half a row of ten is 0.05, in three buckets 0.15."""
    found = one_feature([5, 3, 2], [4, 3, 3], Thresholds(min_rows=1)).features[0]
    p, q = [0.55 / 1.15, 0.35 / 1.15, 0.25 / 1.15], [0.45 / 1.15, 0.35 / 1.15, 0.35 / 1.15]
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert found.psi == pytest.approx(by_hand, abs=1e-15)
    assert by_hand == pytest.approx(0.0467, abs=1e-4)
    assert found.band is Band.STABLE
    assert not found.drifted


def test_noise_is_yurdakuls_law_shared_by_all_comparisons() -> None:
    found = one_feature([500, 300, 200], [40, 30, 30], Thresholds(significance=0.01)).features[0]
    expected = stats.chi2(2).isf(0.01 / 2) * (1 / 1_000 + 1 / 100)
    assert found.noise_psi == pytest.approx(expected, rel=1e-9)


def test_the_noise_law_holds_for_windows_without_drift() -> None:
    rng = np.random.default_rng(3)
    shares = np.full(10, 0.1)
    limit = noise_psi(10, 20_000, 500, 0.01)
    above = sum(
        population_stability_index(rng.multinomial(20_000, shares), rng.multinomial(500, shares))
        > limit
        for _ in range(4_000)
    )
    assert 0.005 < above / 4_000 < 0.016


def test_one_bucket_makes_no_noise() -> None:
    assert noise_psi(1, 10, 10, 0.001) == 0.0


@pytest.mark.parametrize(
    ("training", "current", "effect", "verdict"),
    [
        # A large effect in many rows.
        ([5_000, 3_000, 2_000], [1_000, 3_000, 6_000], 0.25, Verdict.DRIFT),
        # The same shares as in training.
        ([5_000, 3_000, 2_000], [500, 300, 200], 0.25, Verdict.NO_DRIFT),
        # Certain, but too small to matter; it does to who says so.
        ([500_000, 300_000, 200_000], [480_000, 310_000, 210_000], 0.25, Verdict.NO_DRIFT),
        ([500_000, 300_000, 200_000], [480_000, 310_000, 210_000], 0.001, Verdict.DRIFT),
        # Large in a window so small that it may be noise.
        ([5_000, 3_000, 2_000], [5, 7, 8], 0.25, Verdict.NO_DRIFT),
    ],
)
def test_drift_takes_an_effect_and_evidence(
    training: list[int], current: list[int], effect: float, verdict: Verdict
) -> None:
    found = one_feature(training, current, Thresholds(effect_psi=effect, min_rows=1))
    assert found.verdict is verdict
    assert [m.name for m in found.drifted] == ["x"] * (verdict is Verdict.DRIFT)


def test_too_few_rows_give_no_verdict_but_are_measured() -> None:
    found = one_feature([5_000, 3_000, 2_000], [0, 0, 199], Thresholds())
    assert found.verdict is Verdict.TOO_FEW_ROWS
    assert found.drifted == ()
    assert found.features[0].psi > 1
    assert found.features[0].band is Band.MAJOR
    assert one_feature([5_000, 3_000, 2_000], [0, 0, 200], Thresholds()).verdict is Verdict.DRIFT


def test_a_window_without_rows_has_nothing_to_compare() -> None:
    score = NumericReference(np.array([0.0, 1.0]), np.array([0, 0, 5, 0, 0, 0]))
    found = judge(WindowCounts(requests=3, refused=3), ReferenceSet({}, (score,)), Thresholds())
    assert (found.verdict, found.measures, found.score_psi) == (Verdict.TOO_FEW_ROWS, (), None)


@pytest.mark.parametrize("pattern", ["x", "*", "[w-y]"])
def test_a_feature_may_be_reported_only(pattern: str) -> None:
    found = one_feature([5_000, 3_000, 2_000], [0, 0, 900], Thresholds(report_only=(pattern,)))
    assert found.verdict is Verdict.NO_DRIFT
    assert found.features[0].drifted
    assert not found.features[0].decides


def test_a_pattern_that_fits_nothing_is_told() -> None:
    with pytest.raises(ConfigError, match=r"report-only 'month' fits no feature .* has x"):
        one_feature([5, 3, 2], [5, 3, 2], Thresholds(report_only=("x", "month")))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"effect_psi": -0.1}, "threshold -0.1"),
        ({"effect_psi": math.nan}, "threshold nan"),
        ({"significance": 0.0}, "significance 0.0"),
        ({"significance": 1.0}, "significance 1.0"),
        ({"min_rows": 0}, "min-rows 0"),
    ],
)
def test_unusable_thresholds_are_told(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Thresholds(**settings)  # type: ignore[arg-type]


def test_missing_and_unseen_are_told_apart_with_their_change() -> None:
    """An encoded category is NaN when missing and when unseen; its status tells which."""
    encoded = NumericReference(np.array([0.0, 1.0]), np.array([0, 0, 90, 0, 0, 10]))
    category = CategoryReference(("a",), frozenset(), np.array([80, 0, 5, 15]))
    score = NumericReference(np.array([0.0, 1.0]), np.array([0, 0, 100, 0, 0, 0]))
    counts = WindowCounts(
        requests=1,
        rows=100,
        features={"code": np.array([0, 0, 50, 0, 0, 50]), "city": np.array([60, 0, 25, 15])},
        unseen={"code": 30},
        scores=(np.array([0, 0, 100, 0, 0, 0]),),
    )
    reference = ReferenceSet({"code": encoded, "city": category}, (score,))
    code, city = judge(counts, reference, Thresholds()).features
    assert (code.missing_ratio, code.unseen_ratio) == (0.2, 0.3)
    assert (code.missing_change, code.unseen_change) == (pytest.approx(0.1), 0.3)
    assert (city.missing_ratio, city.unseen_ratio) == (0.15, 0.25)
    assert (city.missing_change, city.unseen_change) == (0.0, pytest.approx(0.2))


def test_several_outputs_are_judged_each() -> None:
    reference = ReferenceSet.build({}, np.random.default_rng(1).random((1_000, 2)))
    held = reference.scores[1].training_counts
    moved = np.zeros_like(held)
    moved[2] = 500
    counts = WindowCounts(requests=1, rows=500, scores=(reference.scores[0].training_counts, moved))
    found = judge(counts, reference, Thresholds())
    assert [m.name for m in found.measures] == ["score[0]", "score[1]"]
    assert [m.name for m in found.drifted] == ["score[1]"]
    assert found.score_psi == found.measures[1].psi > 1
