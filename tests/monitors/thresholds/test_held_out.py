"""Limits for days with heavy tails: learned from the reference's own weeks, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.thresholds.days import DayModel
from monitors.thresholds.held_out import TAIL, HeldOut, folds_of, stretch
from monitors.thresholds.multiplicity import AlarmRate
from monitors.thresholds.statistics import Measured

DAY_S = 86_400
DAYS, LATER, COMPARISONS = 84, 400, 30
WEEKS = np.repeat(np.arange(12), 7)
NO_WEEKDAYS = np.zeros(DAYS, np.int64)
RATE = AlarmRate(30.0)


def draw(rng: np.random.Generator, days: int, tail: float, memory: float) -> np.ndarray:
    """Return a statistic's values, shape (days, comparisons): half of each is a day's storm."""
    shared, own = rng.standard_t(tail, (days, 1)), rng.standard_t(tail, (days, COMPARISONS))
    values: np.ndarray = np.sqrt(0.5) * (shared + own)
    for day in range(1, days):
        values[day] = memory * values[day - 1] + np.sqrt(1 - memory**2) * values[day]
    return values


def always(windows: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.ones(int(windows.sum()), np.bool_)


def alarm_rates(tail: float, memory: float, references: int = 20) -> tuple[float, float, float]:
    """Return later days with an alarm, the same by Student's t alone, and the median stretch."""
    rng, held = np.random.default_rng(77), HeldOut(WEEKS, NO_WEEKDAYS, 1)
    chance = RATE.chance_of_a_window / COMPARISONS
    found, plain, stretches = 0, 0, []
    for _ in range(references):
        past, later = draw(rng, DAYS, tail, memory), draw(rng, LATER, tail, memory)
        needed, models = np.zeros(DAYS), []
        for each in past.T:
            measured = Measured(each, np.full(DAYS, 1e-9))
            model = DayModel.learn(measured, NO_WEEKDAYS, 1)
            assert model is not None
            models.append(model)
            needed = np.maximum(needed, held.needed(measured, chance, 2, always))
        stretches.append(stretch(needed, WEEKS, RATE.chance_of_a_window, COMPARISONS))
        noise, phase = np.full(LATER, 1e-9), np.zeros(LATER, np.int64)
        far = np.abs([m.deviations(Measured(each, noise), phase)
                      for m, each in zip(models, later.T, strict=True)]).T  # fmt: skip
        normal = np.array([m.limit(chance, 2) for m in models])
        stretched = np.maximum(normal, [stretches[-1] * m.worst for m in models])
        found += int((far > stretched).any(axis=1).sum())
        plain += int((far > normal).any(axis=1).sum())
    days = references * LATER
    return found / days, plain / days, float(np.median(stretches))


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_days_with_heavy_tails_raise_about_as_many_alarms_as_stated(memory: float) -> None:
    """Student's t, the law of normal days, raises several times as many."""
    found, plain, _ = alarm_rates(tail=4, memory=memory)
    assert found <= 2 * RATE.chance_of_a_window
    assert plain > 2.5 * found


def test_normal_days_are_not_stretched() -> None:
    found, _, typical = alarm_rates(tail=1e9, memory=0.0)
    assert found <= 1.25 * RATE.chance_of_a_window
    assert typical == 1.0


def test_a_fault_in_the_reference_blinds_no_feature() -> None:
    """One day on which everything was missing neither decides nor is an alarm for ever after."""
    needed = np.zeros(84)
    needed[40] = 500.0
    assert stretch(needed, WEEKS, RATE.chance_of_a_window, 15) == 1.0


def test_a_model_may_not_be_stretched_beyond_bonferroni() -> None:
    most = (15 / 85 / RATE.chance_of_a_window) ** (1 / TAIL)
    assert stretch(np.full(84, 500.0), WEEKS, RATE.chance_of_a_window, 15) == pytest.approx(most)


def test_rarer_alarms_ask_for_more() -> None:
    needed = np.repeat([2.0, 1.8, 1.7, 1.6, *[0.0] * 8], 7)
    often, rarely = (stretch(needed, WEEKS, AlarmRate(w).chance_of_a_window, 90) for w in (30, 300))
    assert rarely == pytest.approx(often * 10 ** (1 / TAIL))


def test_a_block_is_judged_by_the_other_weeks_alone() -> None:
    values = np.random.default_rng(1).normal(size=84)
    values[:7] += 50.0  # a mad week has a spread of its own, by which it would look usual
    measured = Measured(values, np.full(84, 1e-9))
    held = HeldOut(WEEKS, np.zeros(84, np.int64), 1)
    needed = held.needed(measured, 1e-4, 2, always)
    assert (needed[:7] > 5.0).all()
    assert not needed[7:].any()
    small = held.needed(measured, 1e-4, 2, lambda windows, _: np.zeros(windows.sum(), np.bool_))
    assert not small.any()


def test_folds_are_weeks_and_few() -> None:
    day = np.arange(84) * DAY_S
    assert folds_of(day).tolist() == WEEKS.tolist()
    long = folds_of(np.arange(700) * DAY_S)
    assert long.max() == 25
    assert (np.diff(long) >= 0).all()
    assert folds_of(np.arange(20) * 7 * DAY_S).tolist() == list(range(20))
