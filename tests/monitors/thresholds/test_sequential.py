"""The sequential detector: its stated run length, its memory, its restarts."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.thresholds.days import DayModel
from monitors.thresholds.sequential import (
    CLIP,
    SLACK,
    SequentialDetector,
    run_length_of,
    sum_limit,
)
from monitors.thresholds.statistics import Measured


def alarms(detector: SequentialDetector, deviations: np.ndarray) -> int:
    return sum(state.alarm for state in detector.follow(deviations.tolist()))


def test_the_run_length_is_that_of_a_simulation() -> None:
    limit = sum_limit(2 * 100.0, SLACK)
    rng = np.random.default_rng(11)
    found = 200_000 / alarms(SequentialDetector(0.0, SLACK, limit), rng.normal(size=200_000))
    assert found == pytest.approx(100.0, rel=0.1)


def autocorrelated(rng: np.random.Generator, days: int, memory: float) -> np.ndarray:
    """Return days of which each resembles the one before, of mean 0 and spread 1."""
    values = rng.normal(size=days)
    for day in range(1, days):
        values[day] = memory * values[day - 1] + np.sqrt(1 - memory**2) * values[day]
    return values


def run_length(stated: float, memory: float, references: int = 80, later: int = 1_500) -> float:
    """Return the run length over many references of 84 days, mean, spread and memory learned."""
    rng, days = np.random.default_rng(5), 84
    found = 0
    for _ in range(references):
        past = Measured(autocorrelated(rng, days, memory), np.full(days, 1e-9))
        model = DayModel.learn(past, np.zeros(days, np.int64), 1)
        assert model is not None
        future = Measured(autocorrelated(rng, later, memory), np.full(later, 1e-9))
        deviations = model.deviations(future, np.zeros(later, np.int64))
        detector = SequentialDetector.tuned(stated, days, model.memory)
        found += alarms(detector, deviations)
    return references * later / max(found, 1)


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.6])
def test_the_stated_run_length_holds_for_learned_baselines_and_days_with_a_memory(
    memory: float,
) -> None:
    assert run_length(200.0, memory) > 0.8 * 200.0


def test_limits_of_known_baselines_do_not_hold_for_learned_ones() -> None:
    """What the learned baseline costs: the limit would be lower by a third."""
    known, learned = (sum_limit(2 * 3_000.0, SLACK, blocks) for blocks in (0, 84))
    assert learned > 1.25 * known
    longer = sum_limit(2 * 3_000.0, SLACK, 84, memory=0.6)
    assert longer > 1.15 * learned


def test_a_limit_on_the_edge_of_a_clipped_day_is_no_special_case() -> None:
    """7.5 is three clipped days; a cell of the grid ends there, and rounding must lose nothing."""
    step = CLIP - SLACK
    lengths = [run_length_of(3 * step + d, SLACK) for d in (-1e-3, 0.0, 1e-3)]
    assert lengths == sorted(lengths)
    assert lengths[2] < 1.05 * lengths[0]


def test_the_memory_of_days_is_taken_out() -> None:
    days = autocorrelated(np.random.default_rng(13), 50_000, 0.6)
    blind, aware = (SequentialDetector(m, SLACK, sum_limit(600.0, SLACK)) for m in (0.0, 0.6))
    assert 50_000 / alarms(aware, days) == pytest.approx(300.0, rel=0.2)
    assert alarms(blind, days) > 3 * alarms(aware, days)


@pytest.mark.parametrize(("shift", "memory"), [(1.0, 0.0), (2.0, 0.0), (2.0, 0.6)])
def test_a_shift_that_stays_is_found_after_the_stated_delay(shift: float, memory: float) -> None:
    rng = np.random.default_rng(14)
    detector = SequentialDetector(memory, SLACK, sum_limit(2 * 1_000.0, SLACK))
    waits = []
    for _ in range(300):
        days = autocorrelated(rng, 250, memory)
        days[50:] += shift
        states = list(detector.follow(days.tolist()))
        if not any(state.alarm for state in states[:50]):
            waits.append(next(n for n, state in enumerate(states[50:], 1) if state.alarm))
    # A little earlier: sums are mostly above 0 when it begins, and its first day is all news.
    assert 0.65 * detector.delay(shift) < np.mean(waits) < 1.1 * detector.delay(shift)


def test_one_wild_day_is_no_lasting_shift() -> None:
    detector = SequentialDetector.tuned(3_600.0, 80, 0.0)
    states = list(detector.follow([0.0, 1e6, 0.0, -0.4]))
    assert not any(state.alarm for state in states)
    assert states[0].since == 0
    assert [state.since for state in states[1:]] == [1, 2, 3]


def test_it_begins_anew_after_an_alarm_and_waits_for_windows_without_a_value() -> None:
    detector = SequentialDetector(0.0, 0.5, 4.0)
    states = list(detector.follow([3.0, None, 3.0, 3.0, 0.0]))
    assert [state.alarm for state in states] == [False, False, True, False, False]
    assert states[1].up == states[0].up == 2.5
    assert states[3].up == 2.5
