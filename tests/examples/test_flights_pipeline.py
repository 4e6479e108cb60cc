"""The flights example: its features by hand, its laws on real flights, its data."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from consistency.errors import ConfigError, DataError
from consistency.features import FeatureStatus
from consistency.laws import Verdict, check_all_laws
from consistency.pipeline import BoundPipeline
from consistency.snapshots import LookupTable, SnapshotStore
from consistency.state import FittedState
from flights_features import pipeline
from flights_features.fit import fit
from flights_features.schema import FLIGHT, WEATHER, WEATHER_COLUMNS

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"

ZONES = {
    "JFK": "America/New_York",
    "LAX": "America/Los_Angeles",
    "PHX": "America/Phoenix",
    "SJU": "America/Puerto_Rico",
}
RECORD: dict[str, Any] = {
    "carrier": "B6",
    "flight": 23,
    "tailnum": "N531JB",
    "origin": "JFK",
    "dest": "LAX",
    "distance": 2475.0,
    "scheduled_departure": "2013-01-15T17:30:00Z",
    "scheduled_arrival": 1545,
}
HOUR = 377_297  # 2013-01-15 17:00 UTC, in hours since the epoch
TABLE: dict[str, list[Any]] = {
    "origin": ["JFK", "JFK"],
    "hour": [HOUR, HOUR + 1],
    "temp": [30.0, math.nan],
    "dewp": [20.0, 21.0],
    "humid": [50.0, 51.0],
    "wind_dir": [90.0, math.nan],
    "wind_speed": [10.0, 11.0],
    "wind_gust": [math.nan, 25.0],
    "precip": [0.0, 0.1],
    "pressure": [1013.0, math.nan],
    "visib": [10.0, 9.0],
}


def record(**changes: Any) -> dict[str, Any]:
    return {**RECORD, **changes}


@pytest.fixture(scope="module")
def bound() -> BoundPipeline:
    """Fitted on four flights: three JFK-LAX by B6 (one late), one JFK-PHX by UA (late)."""
    records = [record()] * 3 + [record(carrier="UA", dest="PHX")]
    state = fit(records, np.array([True, False, False, True]), ZONES)
    columns = {n: np.array(v, object if n == "origin" else None) for n, v in TABLE.items()}
    return pipeline.bind(state, {WEATHER.name: LookupTable("hand-made", columns, WEATHER.keys)})


def features(bound: BoundPipeline, **changes: Any) -> dict[str, float]:
    batch = bound([record(**changes)])
    return {name: float(values[0]) for name, values in batch.columns().items()}


def statuses(bound: BoundPipeline, **changes: Any) -> dict[str, int]:
    """Return the status of the features that are not OK."""
    marked = bound([record(**changes)]).status
    return {name: int(codes[0]) for name, codes in marked.items() if codes[0]}


# ------------------------------------------------------------------------------------- by hand


def test_a_winter_flight_has_the_features_computed_by_hand(bound: BoundPipeline) -> None:
    got = features(bound)
    turn = 2 * math.pi
    expected = {
        "departure_minute_of_day": 750.0,  # 12:30 in New York
        "departure_time_sin": math.sin(turn * 750 / 1440),
        "departure_time_cos": math.cos(turn * 750 / 1440),
        "weekday_sin": math.sin(turn * 1 / 7),  # a Tuesday
        "weekday_cos": math.cos(turn * 1 / 7),
        "month_sin": 0.0,
        "month_cos": 1.0,
        "scheduled_minutes": 375.0,  # 09:30 to 15:45 in Los Angeles
        "scheduled_mph": 2475.0 / 375 * 60,
        "distance_miles": 2475.0,
        "log_distance": math.log(2475.0),
        "flight_number": 23.0,
        "tailnum_known": 1.0,
        "carrier_code": 0.0,
        "origin_code": 0.0,
        "dest_code": 0.0,
        "temp": 30.0,
        "dewp": 20.0,
        "humid": 50.0,
        "wind_dir_sin": 1.0,
        "wind_dir_cos": math.cos(math.pi / 2),
        "wind_speed": 10.0,
        "wind_gust": math.nan,
        "precip": 0.0,
        "pressure": 1013.0,
        "visib": 10.0,
        "weather_found": 1.0,
        "carrier_late_rate": (1 + 50 * 0.5) / 53,
        "route_late_rate": (1 + 50 * 0.5) / 53,
        "hour_late_rate": (2 + 50 * 0.5) / 54,
    }
    assert set(got) == set(expected)
    assert len(got) == 30
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=1e-15, abs=0, nan_ok=True), name
    assert statuses(bound) == {}


@pytest.mark.parametrize(
    ("departure", "minute", "weekday", "month"),
    [
        ("2013-01-15T17:30:00Z", 12 * 60 + 30, 1, 0),
        ("2013-07-15T16:30:00Z", 12 * 60 + 30, 0, 6),  # the same wall clock, an hour earlier
        ("2013-07-15T12:30:00-04:00", 12 * 60 + 30, 0, 6),  # the same instant
        ("2013-07-15T22:00:00+05:30", 12 * 60 + 30, 0, 6),
        ("2013-02-01T03:30:59.9Z", 22 * 60 + 30, 3, 0),  # still Thursday, 31 January, over there
        ("2013-03-10T06:59:00Z", 1 * 60 + 59, 6, 2),  # the last minute of winter
        ("2013-03-10T07:00:00Z", 3 * 60, 6, 2),  # 02:00 does not exist
        ("2013-11-03T05:59:00Z", 1 * 60 + 59, 6, 10),  # the last minute of summer
        ("2013-11-03T06:00:00Z", 1 * 60, 6, 10),  # 01:00 for the second time
        ("2016-02-29T17:00:00Z", 12 * 60, 0, 1),
        ("2000-01-02T05:00:00Z", 0, 6, 0),
        ("2039-12-30T17:00:00Z", 12 * 60, 4, 11),
    ],
)
def test_the_clock_is_the_airports_own(
    bound: BoundPipeline, departure: str, minute: int, weekday: int, month: int
) -> None:
    got = features(bound, scheduled_departure=departure)
    assert got["departure_minute_of_day"] == minute
    assert math.atan2(got["weekday_sin"], got["weekday_cos"]) % (2 * math.pi) == pytest.approx(
        2 * math.pi * weekday / 7
    )
    assert math.atan2(got["month_sin"], got["month_cos"]) % (2 * math.pi) == pytest.approx(
        2 * math.pi * month / 12
    )


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ({}, 375),
        ({"scheduled_departure": "2013-07-15T16:30:00Z"}, 375),  # both clocks moved
        ({"dest": "PHX", "scheduled_arrival": 1600}, 330),  # Arizona keeps UTC-7 ...
        (
            {
                "dest": "PHX",
                "scheduled_arrival": 1600,
                "scheduled_departure": "2013-07-15T16:30:00Z",
            },
            390,  # ... all year
        ),
        ({"dest": "SJU", "scheduled_arrival": 1730}, 240),  # an hour ahead of New York
        ({"scheduled_departure": "2013-01-16T04:30:00Z", "scheduled_arrival": 245}, 375),
        ({"scheduled_arrival": 2400}, 870),
        ({"scheduled_arrival": 0}, 870),
        ({"scheduled_arrival": 930}, 1440),  # a whole day rather than no time at all
    ],
)
def test_the_scheduled_duration_spans_time_zones_and_midnight(
    bound: BoundPipeline, changes: dict[str, Any], minutes: int
) -> None:
    assert features(bound, **changes)["scheduled_minutes"] == minutes


@pytest.mark.parametrize("departure", ["1999-06-01T12:00:00Z", "2099-06-01T12:00:00Z"])
def test_outside_the_frozen_horizon_local_time_is_unknown(
    bound: BoundPipeline, departure: str
) -> None:
    got = features(bound, scheduled_departure=departure)
    assert math.isnan(got["departure_minute_of_day"])
    assert math.isnan(got["scheduled_minutes"])
    assert statuses(bound, scheduled_departure=departure)["weekday_sin"] == FeatureStatus.UNSEEN


def test_weather_that_the_station_did_not_report_stays_nan(bound: BoundPipeline) -> None:
    later = "2013-01-15T18:05:00Z"
    got = features(bound, scheduled_departure=later)
    missing = {name for name, value in got.items() if math.isnan(value)}
    assert missing == {"temp", "wind_dir_sin", "wind_dir_cos", "pressure"}
    assert got["weather_found"] == 1.0
    assert statuses(bound, scheduled_departure=later) == {}


def test_an_hour_that_the_weather_table_lacks_is_marked(bound: BoundPipeline) -> None:
    other = "2013-01-15T19:00:00Z"
    got = features(bound, scheduled_departure=other)
    marked = statuses(bound, scheduled_departure=other)
    assert set(marked.values()) == {FeatureStatus.NO_MATCH}
    assert marked.keys() == set(WEATHER_COLUMNS) - {"wind_dir"} | {"wind_dir_sin", "wind_dir_cos"}
    assert all(math.isnan(got[name]) for name in marked)
    assert got["weather_found"] == 0.0


def test_unseen_categories_are_marked_row_by_row(bound: BoundPipeline) -> None:
    batch = bound([record(), record(carrier="ZZ"), record(dest="SJU"), record(origin="???")])
    columns = batch.columns()
    assert np.isnan(columns["carrier_code"]).tolist() == [False, True, False, False]
    assert np.isnan(columns["dest_code"]).tolist() == [False, False, True, False]
    assert np.isnan(columns["origin_code"]).tolist() == [False, False, False, True]
    unseen = {
        n: np.flatnonzero(s == FeatureStatus.UNSEEN).tolist() for n, s in batch.status.items()
    }
    assert unseen["carrier_code"] == unseen["carrier_late_rate"] == [1]
    assert unseen["dest_code"] == [2]
    assert unseen["origin_code"] == unseen["hour_late_rate"] == [3]
    assert unseen["route_late_rate"] == [2, 3]
    assert "scheduled_minutes" not in unseen  # the airport is new, its time zone is not


def test_an_unseen_route_has_its_carriers_rate_and_then_everybodys(bound: BoundPipeline) -> None:
    assert features(bound, dest="SJU")["route_late_rate"] == (1 + 50 * 0.5) / 53
    assert features(bound, dest="SJU", carrier="ZZ")["route_late_rate"] == 0.5
    assert features(bound, carrier="ZZ")["carrier_late_rate"] == 0.5


def test_a_missing_tail_number_is_a_feature_not_an_error(bound: BoundPipeline) -> None:
    assert features(bound, tailnum=None)["tailnum_known"] == 0.0


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("bad", "field", "says"),
    [
        ({"tailnum": ...}, "tailnum", "is missing"),
        ({"carrier": None}, "carrier", "is null; send a string"),
        ({"dep_delay": 4.0}, "dep_delay", "is not in the schema"),
        ({"flight": "23"}, "flight", "is the string '23'; send a int64"),
        ({"flight": 23.0}, "flight", "is the number 23.0"),
        ({"distance": "2475"}, "distance", "send a float64"),
        ({"distance": 0.0}, "distance", "is 0.0; send the miles"),
        ({"distance": -5.0}, "distance", "is -5.0; send the miles"),
        (
            {"scheduled_departure": "2013-01-15T17:30:00"},
            "scheduled_departure",
            "without an offset",
        ),
        ({"scheduled_departure": "soon"}, "scheduled_departure", "ISO 8601"),
        ({"scheduled_arrival": 2401}, "scheduled_arrival", "is 2401, no time of day"),
        ({"scheduled_arrival": 1560}, "scheduled_arrival", "is 1560, no time of day"),
        ({"scheduled_arrival": -1}, "scheduled_arrival", "is -1, no time of day"),
    ],
)
def test_a_bad_field_is_named_with_its_row(
    bound: BoundPipeline, bad: dict[str, Any], field: str, says: str
) -> None:
    damaged = {k: v for k, v in record(**bad).items() if v is not ...}
    with pytest.raises(DataError) as e:
        bound([record(), damaged])
    assert (e.value.row, e.value.field) == (1, field)
    assert says in str(e.value)
    assert "数据错误" in str(e.value)


def test_fitting_needs_the_time_zone_of_the_airports_of_departure() -> None:
    with pytest.raises(ConfigError, match=r"'EWR'.*zones"):
        fit([record(origin="EWR")], np.array([True]), ZONES)


# ------------------------------------------------------------------------------- on real flights


@pytest.fixture(scope="module")
def example() -> Iterator[dict[str, ModuleType]]:
    """The example's own modules, which lie beside its package and are not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        import flights_data
        import flights_prepare

        yield {"data": flights_data, "prepare": flights_prepare}


@pytest.fixture(scope="module")
def flights(example: dict[str, ModuleType]) -> Any:
    return example["data"].load_flights()


@pytest.fixture(scope="module")
def real(
    example: dict[str, ModuleType], flights: Any, tmp_path_factory: pytest.TempPathFactory
) -> BoundPipeline:
    data = example["data"]
    store = SnapshotStore(tmp_path_factory.mktemp("snapshots"))
    snapshot = store.put(WEATHER.name, data.weather_columns())
    train = flights.months(1, 5)
    # Through bytes, as serving gets it.
    state = FittedState.from_bytes(fit(train.records, train.late, data.airport_zones()).to_bytes())
    return pipeline.bind(state, {WEATHER.name: store.get(snapshot, WEATHER.keys)})


def test_the_pipeline_keeps_every_law_on_real_records(real: BoundPipeline, flights: Any) -> None:
    results = check_all_laws(real, flights.thinned(300).records, distinct=["tailnum"])
    broken = [str(r) for r in results if r.verdict is not Verdict.PASSED]
    # the machine may lack a second locale; that law then says so, and no other may be left out
    assert [b for b in broken if "locale" not in b] == []


def test_a_row_has_the_same_bits_whatever_the_batch(real: BoundPipeline, flights: Any) -> None:
    records = flights.thinned(5_000).records
    whole = real(records)
    status = {n: np.zeros(len(records), np.uint8) for n in real.outputs.names} | dict(whole.status)
    assert whole.status  # unseen routes and hours without weather are among them
    for row, one in enumerate(records):
        single = real([one])
        assert single.numeric.tobytes() == whole.numeric[row].tobytes()
        marks = {n: s[0] for n, s in single.status.items()}
        assert all(marks.get(n, 0) == s[row] for n, s in status.items())
    order = np.random.default_rng(1).permutation(len(records))
    shuffled = real([records[i] for i in order])
    assert shuffled.matrix().tobytes() == whole.matrix()[order].tobytes()
    for size in (7, 64):
        parts = [real(records[i : i + size]).matrix() for i in range(0, len(records), size)]
        assert np.vstack(parts).tobytes() == whole.matrix().tobytes()


def test_the_pipeline_leaves_its_records_as_they_were(real: BoundPipeline, flights: Any) -> None:
    records = flights.records[:100]
    before = json.dumps(records)
    real(records)
    assert json.dumps(records) == before


def test_the_time_zone_of_the_machine_does_not_matter(
    real: BoundPipeline, flights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = flights.thinned(500).records
    expected = real(records).matrix().tobytes()
    try:
        for zone in ("Asia/Kolkata", "Pacific/Kiritimati", "America/New_York"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert real(records).matrix().tobytes() == expected
    finally:
        monkeypatch.undo()
        time.tzset()


def test_local_minutes_are_the_files_own(
    real: BoundPipeline, flights: Any, example: dict[str, ModuleType]
) -> None:
    """The file gives the departure in UTC and on the wall clock: two sources for one feature."""
    import pandas as pd

    table = pd.read_csv(example["data"].data_file("flights.csv.zip"))
    table = table[table["arr_delay"].notna()].sort_values(["time_hour", "minute"], kind="stable")
    clock = table["sched_dep_time"].to_numpy()
    step = 10
    got = real(flights.records[::step]).column("departure_minute_of_day")
    assert got.tolist() == (clock // 100 * 60 + clock % 100)[::step].tolist()


def test_the_labels_order_and_fields_of_the_data(flights: Any) -> None:
    assert len(flights.records) == 327_346
    assert flights.cancelled == 9_430
    assert flights.late.mean() == pytest.approx(0.23715, abs=1e-5)
    assert (np.diff(flights.month) >= 0).all()
    departures = [r["scheduled_departure"] for r in flights.records]
    assert departures == sorted(departures)
    assert set(flights.records[0]) == FLIGHT.names
    assert flights.records[0] == json.loads(json.dumps(flights.records[0]))
    parts = [flights.months(a, b) for a, b in ((1, 5), (6, 6), (7, 12))]
    assert [len(p.records) for p in parts] == [133_603, 27_075, 166_668]


def test_the_weather_key_is_unique_and_known_by_then(example: dict[str, ModuleType]) -> None:
    """Also on 3 November, when 01:00 came twice on the wall clock."""
    whole = example["data"].weather_columns()
    keys = set(zip(whole["origin"].tolist(), whole["hour"].tolist(), strict=True))
    assert len(keys) == len(whole["hour"]) == 26_115
    # Stamped 2013-01-01T06:00Z, so known from 07:00Z on.
    first = int(np.datetime64("2013-01-01T07", "h").astype(np.int64))
    assert (whole["origin"][0], whole["hour"][0], whole["temp"][0]) == ("EWR", first, 39.02)
    until_june = example["data"].weather_columns(6)
    july = int(np.datetime64("2013-07-01T04", "h").astype(np.int64))  # midnight in New York
    assert until_june["hour"].max() == july


def test_nothing_but_the_training_months_reaches_the_state(
    example: dict[str, ModuleType],
    flights: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare, data = example["prepare"], example["data"]

    def turned() -> Any:
        late = flights.late ^ (flights.month > 5)
        return data.Flights(flights.records, late, flights.month, flights.cancelled)

    monkeypatch.setattr(prepare, "load_flights", lambda: flights)
    told: list[str] = []
    honest = prepare.prepare(SnapshotStore(tmp_path), 2_000, told.append)
    monkeypatch.setattr(prepare, "load_flights", turned)
    other = prepare.prepare(SnapshotStore(tmp_path), 2_000, told.append)
    assert honest.state.digest == other.state.digest
    assert not np.array_equal(honest.later.late, other.later.late)
    # The bundle names the weather until June; serving meanwhile reads the year's.
    assert SnapshotStore(tmp_path).current(WEATHER.name) != honest.snapshot
    assert len(honest.golden) == 256
    golden = pipeline.bind(
        honest.state, {WEATHER.name: SnapshotStore(tmp_path).get(honest.snapshot, WEATHER.keys)}
    )(honest.golden)
    assert {int(s) for codes in golden.status.values() for s in codes} == {
        FeatureStatus.OK,
        FeatureStatus.UNSEEN,
        FeatureStatus.NO_MATCH,
    }
    assert (golden.column("tailnum_known") == 0.0).any()


def test_importing_the_pipeline_loads_nothing_heavy() -> None:
    code = "import sys, flights_features; print(*sorted(sys.modules))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"pandas", "tensorflow", "keras", "xgboost", "lightgbm", "scipy", "pyarrow", "zoneinfo"}
    assert heavy.isdisjoint(loaded)
