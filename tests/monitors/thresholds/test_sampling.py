"""The laws of sampling against samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.psi import population_stability_index
from monitors.thresholds.sampling import effect_psi_limit, noise_psi


def exceeding(p: list[float], q: list[float], sizes: tuple[int, int], limit: float) -> float:
    rng = np.random.default_rng(17)
    drawn = (
        population_stability_index(rng.multinomial(sizes[0], p), rng.multinomial(sizes[1], q))
        for _ in range(4_000)
    )
    return sum(value > limit for value in drawn) / 4_000


def test_yurdakuls_law_is_kept_without_drift() -> None:
    limit = noise_psi(10, 20_000, 500, 0.01)
    assert 0.005 < exceeding([0.1] * 10, [0.1] * 10, (20_000, 500), limit) < 0.016


def test_a_large_window_with_a_tolerated_effect_stays_below_its_limit() -> None:
    """Yurdakul's law alone calls the same windows drift nearly always."""
    p, q = [0.25] * 4, [0.28, 0.26, 0.24, 0.22]
    true = sum((b - a) * np.log(b / a) for a, b in zip(p, q, strict=True))
    limit = effect_psi_limit(4, 10**6, 50_000, 0.01, float(true))
    assert exceeding(p, q, (10**6, 50_000), limit) < 0.03
    assert exceeding(p, q, (10**6, 50_000), noise_psi(4, 10**6, 50_000, 0.01)) > 0.99


@pytest.mark.parametrize("effect", [0.01, 0.25, 1_000.0])
@pytest.mark.parametrize("rows", [100, 10**4, 10**8])
def test_the_limit_is_above_the_effect_and_above_noise(effect: float, rows: int) -> None:
    limit = effect_psi_limit(10, 10**8, rows, 1e-4, effect)
    assert np.isfinite(limit)
    assert limit > effect
    assert limit > noise_psi(10, 10**8, rows, 1e-4)


def test_far_out_the_normal_limit_is_that_of_the_law() -> None:
    scale = 1 / 10**8 + 1 / 10**7
    exact = stats.ncx2.isf(1e-3, 9, 0.25 / scale) * scale
    assert effect_psi_limit(10, 10**8, 10**7, 1e-3, 0.25) == pytest.approx(exact, rel=1e-5)


def test_one_bucket_makes_no_noise() -> None:
    assert noise_psi(1, 10, 10, 0.001) == 0.0
    assert effect_psi_limit(1, 10, 10, 0.001, 0.25) == 0.25
