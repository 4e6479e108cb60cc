"""The sequential detector: its stated run length, its memory, its restarts."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.thresholds.sequential import (
    SLACK,
    SequentialDetector,
    run_length_of,
    sum_limit,
)


def alarms(detector: SequentialDetector, deviations: np.ndarray) -> int:
    return sum(state.alarm for state in detector.follow(deviations.tolist()))


def test_the_run_length_is_that_of_a_simulation() -> None:
    limit = sum_limit(2 * 100.0, SLACK)
    rng = np.random.default_rng(11)
    found = 200_000 / alarms(SequentialDetector(0.0, SLACK, limit), rng.normal(size=200_000))
    assert found == pytest.approx(100.0, rel=0.1)


def test_a_tuned_detector_is_no_more_often_wrong_than_stated() -> None:
    """The slack for the unknown baseline makes it rarer."""
    rng = np.random.default_rng(12)
    detector = SequentialDetector.tuned(200.0, 80, 0.0)
    assert 100_000 / max(alarms(detector, rng.normal(size=100_000)), 1) > 200.0


def test_the_memory_of_days_is_taken_out() -> None:
    rng = np.random.default_rng(13)
    noise, memory = rng.normal(size=50_000), 0.6
    days = np.empty_like(noise)
    before = 0.0
    for i, news in enumerate(noise):
        before = days[i] = memory * before + np.sqrt(1 - memory**2) * news
    blind, aware = (SequentialDetector.tuned(300.0, 80, m) for m in (0.0, memory))
    assert 50_000 / max(alarms(aware, days), 1) > 300.0
    assert alarms(blind, days) > 3 * alarms(aware, days)


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_a_shift_that_stays_is_found_after_the_stated_time(shift: float) -> None:
    rng = np.random.default_rng(14)
    limit = sum_limit(2 * 1_000.0, SLACK)
    detector = SequentialDetector(0.0, SLACK, limit)
    waits = []
    for _ in range(300):
        states = detector.follow((rng.normal(size=200) + shift).tolist())
        waits.append(next(n for n, state in enumerate(states, 1) if state.alarm))
    assert np.mean(waits) == pytest.approx(run_length_of(limit, SLACK, shift), rel=0.1)


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
