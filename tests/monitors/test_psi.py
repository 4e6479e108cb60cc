"""The population stability index: its formula, its symmetry, its empty buckets, its noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from monitors.errors import MonitorError
from monitors.psi import population_stability_index

Counts = NDArray[np.int64]


@st.composite
def two_samples(draw: st.DrawFn) -> tuple[Counts, Counts]:
    buckets = draw(st.integers(1, 30))
    counts = st.lists(st.integers(0, 10**6), min_size=buckets, max_size=buckets)
    pair = np.array(draw(counts)), np.array(draw(counts))
    assume(all(side.any() for side in pair))
    return pair


def test_large_samples_reach_the_plain_formula() -> None:
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1])
    plain = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    got = population_stability_index((p * 10**9).astype(int), (q * 10**9).astype(int))
    assert got == pytest.approx(plain, rel=1e-7)


@given(two_samples())
def test_it_is_finite_and_never_negative(pair: tuple[Counts, Counts]) -> None:
    value = population_stability_index(*pair)
    assert math.isfinite(value)
    assert value >= 0.0


@given(two_samples())
def test_it_is_symmetric(pair: tuple[Counts, Counts]) -> None:
    reference, current = pair
    assert population_stability_index(reference, current) == pytest.approx(
        population_stability_index(current, reference), rel=1e-9, abs=1e-15
    )


@given(two_samples(), st.integers(1, 1000))
def test_equal_shares_give_zero_at_any_sample_size(pair: tuple[Counts, Counts], times: int) -> None:
    reference, _ = pair
    assert population_stability_index(reference, reference * times) == pytest.approx(0.0, abs=1e-15)


@given(two_samples(), st.integers(1, 5))
def test_buckets_that_both_sides_lack_change_no_bit(pair: tuple[Counts, Counts], more: int) -> None:
    reference, current = pair
    empty = np.zeros(more, np.int64)
    longer = population_stability_index(
        np.concatenate([reference, empty]), np.concatenate([current, empty])
    )
    assert longer == population_stability_index(reference, current)


def test_a_bucket_that_only_one_side_has_counts_by_its_mass() -> None:
    reference = [500_000, 500_000, 0]
    one_row_in_a_hundred = population_stability_index(reference, [50, 49, 1])
    a_third = population_stability_index(reference, [33, 33, 34])
    everything = population_stability_index(reference, [0, 0, 100])
    assert one_row_in_a_hundred < 0.02
    assert 1.0 < a_third < everything


def test_a_bucket_that_only_one_side_has_weighs_more_with_more_evidence() -> None:
    few = population_stability_index([70, 0], [49, 21])
    many = population_stability_index([700_000, 0], [490_000, 210_000])
    assert 0.5 < few < many


def test_without_drift_it_follows_yurdakuls_law() -> None:
    """(1/N + 1/M) * chi2(B - 1): mean and 95th percentile, by simulation with a fixed seed."""
    rng = np.random.default_rng(20240701)
    buckets, n, m = 10, 50_000, 5_000
    shares = np.full(buckets, 1 / buckets)
    got = [
        population_stability_index(rng.multinomial(n, shares), rng.multinomial(m, shares))
        for _ in range(4000)
    ]
    law = stats.chi2(buckets - 1, scale=1 / n + 1 / m)
    assert np.mean(got) == pytest.approx(law.mean(), rel=0.03)
    assert np.quantile(got, 0.95) == pytest.approx(law.ppf(0.95), rel=0.05)


@pytest.mark.parametrize(
    ("reference", "current", "problem"),
    [
        ([1, 2], [1, 2, 3], "shapes"),
        ([[1, 2]], [[1, 2]], "shapes"),
        ([1, 2], [0, 0], "current window holds no row"),
        ([0, 0], [1, 2], "reference holds no row"),
        ([], [], "whole numbers"),
        ([1, -1], [1, 1], "reference must be whole numbers"),
        ([1, 1], [0.5, 0.5], "current window must be whole numbers"),
        ([1, 1], [math.nan, 1.0], "current window must be whole numbers"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    reference: list[int], current: list[float], problem: str
) -> None:
    with pytest.raises(MonitorError, match=problem):
        population_stability_index(reference, current)
