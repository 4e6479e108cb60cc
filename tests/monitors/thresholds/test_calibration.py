"""Calibrated thresholds: few false alarms on days that vary, and shifts that are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitors.reference import ReferenceSet
from monitors.thresholds.calibration import Calendar, Calibration, Effects, Finding
from monitors.thresholds.multiplicity import AlarmRate
from monitors.thresholds.statistics import Statistic

DAY_S = 86_400
MONDAY_S = 4 * DAY_S


def calibrated(reference: ReferenceSet, windows: float = 60.0) -> Calibration:
    assert reference.blocks is not None
    found = Calibration.learn(reference, reference.blocks, AlarmRate(windows), Effects())
    assert found is not None
    return found


def judge(
    calibration: Calibration, reference: ReferenceSet, name: str, values: np.ndarray, phase: int = 0
) -> dict[Statistic, Finding]:
    held = calibration.features[name]
    assert held is not None
    counts = reference.features[name].counts(values)
    return {f.statistic: f for f in held.judge(counts, phase, calibration.effects)}


def alarm(found: dict[Statistic, Finding]) -> bool:
    return any(f.alarm for f in found.values())


def test_days_that_vary_raise_no_more_alarms_than_stated(
    season: Callable[..., ReferenceSet],
) -> None:
    reference = season()
    calibration = calibrated(reference, windows=20.0)
    rng = np.random.default_rng(8)
    false = sum(
        alarm(judge(calibration, reference, name, rng.normal(size=400) + deviation * rng.normal()))
        for _ in range(300)
        for name, deviation in (("steady", 0.03), ("wild", 0.8))
    )
    # 1/40 a day for single windows and all five comparisons: 3 of 300 days for two of them.
    assert false <= 8


def test_a_shift_of_a_steady_feature_is_found_in_a_day(
    season: Callable[..., ReferenceSet],
) -> None:
    reference = season(rows=2_000)
    calibration = calibrated(reference)
    rng = np.random.default_rng(9)
    found = [
        alarm(judge(calibration, reference, "steady", rng.normal(size=2_000) + 0.3 + 0.03 * day))
        for day in rng.normal(size=100)
    ]
    assert np.mean(found) >= 0.95
    wild = [
        alarm(judge(calibration, reference, "wild", rng.normal(size=2_000) + 0.3 + 0.8 * day))
        for day in rng.normal(size=100)
    ]
    assert np.mean(wild) < 0.1


def test_each_weekday_is_compared_with_its_own(season: Callable[..., ReferenceSet]) -> None:
    reference = season()
    calibration = calibrated(reference)
    rng = np.random.default_rng(10)
    weekend = rng.normal(size=400) + 1.0
    phase = calibration.calendar.phase_of
    saturday, monday = (phase(MONDAY_S + d * DAY_S) for d in (5, 0))
    assert (monday, saturday) == (0, 5)
    assert not alarm(judge(calibration, reference, "weekly", weekend, saturday))
    assert alarm(judge(calibration, reference, "weekly", weekend, monday))


@pytest.mark.parametrize("name", ["steady", "wild"])
def test_missing_values_are_found_whatever_the_days_do(
    season: Callable[..., ReferenceSet], name: str
) -> None:
    reference = season()
    values = np.random.default_rng(11).normal(size=400)
    values[:40] = np.nan
    found = judge(calibrated(reference), reference, name, values)
    assert found[Statistic.GAPS].alarm
    assert found[Statistic.GAPS].value == pytest.approx(0.1)


def test_a_new_category_is_found(season: Callable[..., ReferenceSet]) -> None:
    reference = season()
    values = np.array(["a", "b", "c", "z"], object)[np.random.default_rng(1).integers(0, 4, 400)]
    found = judge(calibrated(reference), reference, "city", values)
    assert found.keys() == {Statistic.SHAPE, Statistic.GAPS}
    assert alarm(found)


def test_a_shift_too_small_to_matter_is_none_however_sure(
    season: Callable[..., ReferenceSet],
) -> None:
    reference = season(rows=2_000)
    values = np.random.default_rng(2).normal(size=400_000)
    found = judge(calibrated(reference), reference, "weekly", values + 0.09)[Statistic.LOCATION]
    assert found.deviation > 3.0
    assert abs(found.value - found.expected) < 0.1
    assert not found.alarm


def test_small_windows_are_allowed_their_noise(season: Callable[..., ReferenceSet]) -> None:
    reference = season()
    calibration = calibrated(reference)
    rng = np.random.default_rng(4)
    false = sum(
        alarm(judge(calibration, reference, "steady", rng.normal(size=20))) for _ in range(300)
    )
    assert false <= 3


def test_fewer_than_fourteen_blocks_say_too_little(season: Callable[..., ReferenceSet]) -> None:
    reference = season(days=13)
    assert reference.blocks is not None
    assert Calibration.learn(reference, reference.blocks, AlarmRate(), Effects()) is None


@pytest.mark.parametrize(
    ("length_s", "blocks", "phases"),
    [
        (DAY_S, 84, 7),
        (DAY_S, 20, 1),
        (3_600, 3 * 168, 168),
        (3_600, 100, 24),
        (7 * DAY_S, 20, 1),
        (10 * DAY_S, 20, 1),
    ],
)
def test_phases_are_those_of_the_week_or_the_day_or_none(
    length_s: int, blocks: int, phases: int
) -> None:
    starts = MONDAY_S + np.arange(blocks) * length_s
    assert Calendar.of(starts, length_s).phases == phases


@pytest.mark.parametrize("rows_a_day", [20, 60, 400])
@pytest.mark.parametrize("rows", [200, 5_000, 200_000])
def test_a_feature_without_gaps_has_none_whatever_the_rows(
    season: Callable[..., ReferenceSet], rows_a_day: int, rows: int
) -> None:
    reference = season(rows=rows_a_day)
    calibration = calibrated(reference)
    values = np.random.default_rng(1).normal(size=rows)
    found = judge(calibration, reference, "steady", values)[Statistic.GAPS]
    assert not found.alarm
    assert abs(found.deviation) < 1.5
    assert found.expected < 0.001


@pytest.mark.parametrize("rows_a_day", [20, 400])
def test_gaps_that_are_new_are_found_and_a_few_are_not(
    season: Callable[..., ReferenceSet], rows_a_day: int
) -> None:
    reference = season(rows=rows_a_day)
    calibration = calibrated(reference)
    values = np.random.default_rng(1).normal(size=2_000)
    for gaps, is_alarm in ((2, False), (100, True)):
        values[:gaps] = np.nan
        found = judge(calibration, reference, "steady", values)[Statistic.GAPS]
        assert found.alarm is is_alarm
        assert found.value == gaps / 2_000


def test_a_shift_that_does_not_matter_is_not_called_moved(
    season: Callable[..., ReferenceSet],
) -> None:
    reference = season(rows=2_000)
    calibration = calibrated(reference)
    values = np.random.default_rng(1).normal(size=1_000_000)
    values[:2_000] = np.nan  # of a feature without gaps: certain, and two in a thousand
    found = judge(calibration, reference, "steady", values)[Statistic.GAPS]
    assert (found.alarm, found.chance) == (False, 1.0)
    assert found.deviation > found.limit
