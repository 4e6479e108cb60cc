"""Where known tools go wrong: each probe on the index, and on the verdict that wakes somebody up.

The reference are eight weeks of days without news; the window is a day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from monitors.psi import population_stability_index
from monitors.reference import ReferenceSet
from monitors.thresholds.calibration import Calibration, Effects, Finding
from monitors.thresholds.multiplicity import AlarmRate
from monitors.thresholds.sampling import effect_psi_limit, noise_psi

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, int], Array]

DAYS, ROWS = 56, 400
DAY_US = 86_400_000_000
FIRST_MONDAY_US = 4 * DAY_US


def normal(rng: np.random.Generator, rows: int) -> Array:
    return rng.normal(size=rows)


def flag(rng: np.random.Generator, rows: int) -> Array:
    return rng.random(rows) < 0.3


def counts(rng: np.random.Generator, rows: int) -> Array:
    return rng.poisson(3.0, rows)


def rare(rng: np.random.Generator, rows: int) -> Array:
    """Return 99.5% zeros, else an amount."""
    return np.where(rng.random(rows) < 0.995, 0.0, rng.exponential(size=rows))


def gaps(rng: np.random.Generator, rows: int) -> Array:
    return np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows))


def city(rng: np.random.Generator, rows: int) -> Array:
    return np.array(["a", "b", "c"], object)[rng.integers(0, 3, rows)]


DRAWS: dict[str, Draw] = {each.__name__: each for each in (normal, flag, counts, rare, gaps, city)}


@pytest.fixture(scope="module")
def reference() -> ReferenceSet:
    rng = np.random.default_rng(41)
    columns = {name: draw(rng, DAYS * ROWS) for name, draw in DRAWS.items()}
    scores = rng.random(DAYS * ROWS)
    times = FIRST_MONDAY_US + np.repeat(np.arange(DAYS), ROWS) * DAY_US
    return ReferenceSet.build(columns, scores).with_blocks(columns, scores, times)


@pytest.fixture(scope="module")
def calibration(reference: ReferenceSet) -> Calibration:
    assert reference.blocks is not None
    found = Calibration.learn(reference, reference.blocks, AlarmRate(), Effects())
    assert found is not None
    return found


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(42)


@pytest.fixture
def alarm(
    reference: ReferenceSet, calibration: Calibration
) -> Callable[[str, Array], tuple[Finding, ...]]:
    def judge(name: str, values: Array) -> tuple[Finding, ...]:
        held = calibration.features[name]
        assert held is not None
        found = held.judge(reference.features[name].counts(values), 0, Effects())
        return tuple(f for f in found if f.alarm)

    return judge


Judge = Callable[[str, Array], tuple[Finding, ...]]


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("rows", [60, ROWS, 20 * ROWS])
def test_no_news_is_no_alarm_in_windows_of_any_size(
    alarm: Judge, rng: np.random.Generator, name: str, rows: int
) -> None:
    false = sum(bool(alarm(name, DRAWS[name](rng, rows))) for _ in range(60))
    assert false <= 1


def test_an_outlier_hides_no_shift_and_is_none(alarm: Judge, rng: np.random.Generator) -> None:
    for outlier in (1e9, -1e300, 50.0):
        usual, shifted = rng.normal(size=ROWS), rng.normal(loc=1.0, size=ROWS)
        usual[0] = shifted[0] = outlier
        assert not alarm("normal", usual)
        assert alarm("normal", shifted)


def test_missing_values_are_an_alarm_where_they_are_new(
    alarm: Judge, rng: np.random.Generator
) -> None:
    new = np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS))
    assert alarm("normal", new)
    assert not alarm("gaps", gaps(rng, ROWS))
    assert alarm("gaps", rng.normal(size=ROWS))  # none missing any more is news, too
    assert alarm("gaps", np.full(ROWS, np.nan))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinities_are_an_alarm(alarm: Judge, rng: np.random.Generator, value: float) -> None:
    window = rng.normal(size=ROWS)
    window[: ROWS // 20] = value
    assert alarm("normal", window)


def test_unseen_categories_are_an_alarm_some_or_all(alarm: Judge, rng: np.random.Generator) -> None:
    some = city(rng, ROWS)
    some[: ROWS // 20] = "z"
    assert alarm("city", some)
    assert alarm("city", np.array(["x", "y"] * (ROWS // 2), object))
    assert alarm("city", np.array([None] * ROWS, object))


def test_point_masses_are_watched_and_do_not_explode(
    alarm: Judge, rng: np.random.Generator
) -> None:
    for draw in (flag, counts):
        assert not alarm(draw.__name__, draw(rng, ROWS) + 0.001)
    large = rare(rng, 20 * ROWS)
    assert not alarm("rare", large)
    assert alarm("rare", large * 100)
    assert alarm("rare", np.where(large == 0, 0.5, large))
    assert alarm("flag", rng.random(ROWS) < 0.6)
    assert alarm("flag", np.where(flag(rng, ROWS), 1.0, 0.3))


@pytest.mark.parametrize("buckets", [10, 20])
def test_a_hundred_rows_exceed_0_1_without_drift_but_not_what_noise_allows(
    buckets: int, rng: np.random.Generator
) -> None:
    """Facts: P(PSI > 0.1 | no drift) is 31% for 10 bins at 100 rows, 91% for 20."""
    shares = np.full(buckets, 1 / buckets)
    found = np.array(
        [
            population_stability_index(
                rng.multinomial(50_000, shares), rng.multinomial(100, shares)
            )
            for _ in range(2_000)
        ]
    )
    law = stats.chi2(buckets - 1, scale=1 / 50_000 + 1 / 100)
    assert np.mean(found > 0.1) == pytest.approx(law.sf(0.1), abs=0.05)
    assert np.mean(found) == pytest.approx(law.mean(), rel=0.12)
    for chance in (0.05, 0.01):
        assert np.mean(found > noise_psi(buckets, 50_000, 100, chance)) < 1.6 * chance


def test_a_large_window_is_judged_by_the_size_of_the_effect(
    alarm: Judge, rng: np.random.Generator
) -> None:
    """A shift of 0.02 deviations in a million rows is significant, and matters to nobody."""
    window = rng.normal(loc=0.02, size=1_000_000)
    assert not alarm("normal", window)
    shares = np.diff(stats.norm.cdf(stats.norm.ppf(np.linspace(0, 1, 11)), loc=0.02))
    current = rng.multinomial(10**6, shares)
    index = population_stability_index(np.full(10, 10**6), current)
    assert index > noise_psi(10, 10**7, 10**6, 1e-6)
    assert index < effect_psi_limit(10, 10**7, 10**6, 1e-6, 0.01)
