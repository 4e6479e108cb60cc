"""The promise of the drift alarms on real days, in small: few false ones, and shifts are found."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from benchmarks.alarm_days import REST, SEASON, load_days
from benchmarks.alarm_study import Alarms, held_out_study, later_study
from benchmarks.alarms import as_json, plot, table
from monitors.drift.baseline import Baseline

pytestmark = pytest.mark.slow

STEADY = ("distance_miles", "flight_number", "carrier_code", "route_late_rate")
FEATURES = (*STEADY, "departure_time_sin", "temp", "pressure", "precip")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_few_false_alarms_and_a_shift_of_0_3_is_found_within_a_day(tmp_path: Path) -> None:
    days = load_days(tmp_path, FEATURES)
    season = days.between(*SEASON)
    study = held_out_study(season, shifts=(0.3,))
    assert len(study.ours.days) == 89
    assert study.ours.a_month <= 1.0
    powers = {p.name: p for p in study.powers}
    for name in STEADY:
        assert powers[name].day_deviation < 0.06
        assert powers[name].asked_day >= 0.95
        assert powers[name].delay_days == 1.0
    # A day cannot show it in what varies by 0.8 from day to day.
    assert powers["temp"].day_deviation > 0.8
    assert powers["temp"].asked_day < 0.2
    assert study.peers["PSI > 0.1"].features_a_month > 50

    later = later_study(season, days.between(REST[0], "2013-05-01"), Baseline.ROLLING)
    assert later.a_month <= 3.0
    plot(study, tmp_path / "alarms.png")
    assert (tmp_path / "alarms.png").read_bytes()[:4] == b"\x89PNG"
    held = orjson.loads(orjson.dumps(as_json(study, {"rolling": later})))
    assert held["season"]["days"] == 89
    assert "flight_number" in table(study, {"rolling": later})


def test_alarms_are_counted_by_day_by_feature_and_by_incident() -> None:
    days = tuple(f"2013-01-{n:02}" for n in range(1, 31))
    found = Alarms(days, {days[3]: {"a": "", "b": ""}, days[4]: {"a": ""}, days[9]: {"b": ""}})
    month = 365.25 / 12 / 30
    assert found.a_month == pytest.approx(3 * month)
    assert found.features_a_month == pytest.approx(4 * month)
    assert found.incidents == 2
    assert found.of({"b"}).incidents == 2
