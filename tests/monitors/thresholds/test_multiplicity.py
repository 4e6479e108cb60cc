"""One alarm rate for all comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest

from consistency.errors import ConfigError
from monitors.thresholds.multiplicity import SHARES, AlarmRate, discoveries
from monitors.thresholds.statistics import Statistic


def test_the_chances_of_all_comparisons_add_up_to_the_rate() -> None:
    rate = AlarmRate(60.0)
    single = sum(30 * rate.chance(statistic, 30) for statistic in Statistic)
    assert single == pytest.approx(1 / 90)
    assert single == pytest.approx(rate.chance_of_a_window)
    assert single + 30 / rate.run_length(30) == pytest.approx(1 / 60)
    assert sum(SHARES.values()) == 1.0


@pytest.mark.parametrize("windows", [0.0, 1.0, math.inf, math.nan])
def test_an_unusable_rate_is_told(windows: float) -> None:
    with pytest.raises(ConfigError, match="false-alarm-windows"):
        AlarmRate(windows)


def test_false_discoveries_are_controlled_however_features_depend() -> None:
    """40 features, 30 of them copies of one that has not drifted."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(500):
        chances = [*[rng.random()] * 30, *(rng.random(10) * 1e-5)]
        found = discoveries(chances, 0.1)
        shares.append(sum(found[:30]) / max(sum(found), 1))
    assert np.mean(shares) < 0.1
    assert discoveries([], 0.1) == ()
    assert discoveries([0.9, 0.8], 0.1) == (False, False)
    # Benjamini and Hochberg's rule for independent features would list the third one.
    assert discoveries([0.001, 0.02, 0.045, 0.9], 0.1) == (True, True, False, False)
