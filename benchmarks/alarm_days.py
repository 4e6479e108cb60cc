"""The flights of 2013 by UTC day, as the drift job's windows cut them: features and a score."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import FLIGHTS
from consistency.records import Column
from consistency.snapshots import SnapshotStore
from monitors.drift.counting import WindowCounts
from monitors.drift.windows import Window
from monitors.reference import ReferenceSet

Floats = NDArray[np.float64]

DAY_S: Final = 86_400
SEASON: Final = ("2013-01-02", "2013-04-01")
"""The reference: whole UTC days of January to March, without the last one that is named."""
QUARTERS: Final = {
    "April-June": ("2013-04-01", "2013-07-01"),
    "July-September": ("2013-07-01", "2013-10-01"),
    "October-December": ("2013-10-01", "2013-12-31"),
}
REST: Final = ("2013-04-01", "2013-12-31")
SCORE: Final = "score"


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """Rows of whole days, in the order of time.

    Attributes:
        columns: feature name (and `score`) to its values, float64 or strings, shape (N,).
        times_us: microseconds since the epoch, shape (N,), ascending.
        number: UTC days since the epoch, shape (N,), ascending.
    """

    columns: Mapping[str, Column]
    times_us: NDArray[np.int64]
    number: NDArray[np.int64]

    @property
    def names(self) -> list[str]:
        """The features, then the score."""
        return list(self.columns)

    @property
    def days(self) -> NDArray[np.int64]:
        """Each day that has a row."""
        return np.unique(self.number)

    def chosen(self, rows: NDArray[np.bool_]) -> Days:
        """Return some of the rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Days(columns, self.times_us[rows], self.number[rows])

    def between(self, first: str, end: str) -> Days:
        """Return the days from `first` up to, but without, `end`."""
        low, high = (int(np.datetime64(day, "D").astype(np.int64)) for day in (first, end))
        return self.chosen((self.number >= low) & (self.number < high))

    def of(self, name: str, day: int) -> Column:
        """Return a day's values of a column."""
        first, last = np.searchsorted(self.number, (day, day + 1))
        return self.columns[name][first:last]

    def frozen(self) -> ReferenceSet:
        """Return these rows as a bundle freezes them, blocks included."""
        features = {n: v for n, v in self.columns.items() if n != SCORE}
        scores = self.columns[SCORE]
        return ReferenceSet.build(features, scores).with_blocks(features, scores, self.times_us)

    def counted(self, reference: ReferenceSet, day: int) -> WindowCounts:
        """Return a day as the drift job counts it."""
        features = {n: reference.features[n].counts(self.of(n, day)) for n in reference.features}
        rows = len(self.of(SCORE, day))
        scores = reference.score_counts(self.of(SCORE, day))
        return WindowCounts(requests=rows, rows=rows, features=features, scores=scores)


def window_of(day: int) -> Window:
    """Return the drift job's window of a day."""
    return Window(day * DAY_S, DAY_S)


def date_of(day: int) -> str:
    """Return a day as text, `2013-01-02`."""
    return str(np.datetime64(int(day), "D"))


def load_days(scratch: Path, features: Sequence[str] = ()) -> Days:
    """Return the year's flights: features of the pipeline fitted on the season, and a score.

    The score is that of 60 XGBoost trees trained on the whole season; held-out weeks are not new to
    the model, as they would not be to a bundle's.

    Args:
        scratch: gets the snapshot store.
        features: only these; all when empty.
    """
    if str(FLIGHTS) not in sys.path:
        sys.path.append(str(FLIGHTS))
    from consistency.records import read_records
    from flights_data import airport_zones, load_flights, weather_columns
    from flights_features import pipeline
    from flights_features.fit import fit
    from flights_features.schema import FLIGHT, WEATHER

    flights = load_flights()
    season = flights.months(1, 3)
    state = fit(season.records, season.late, airport_zones())
    store = SnapshotStore(scratch / "alarm_snapshots")
    table = store.get(store.put(WEATHER.name, weather_columns()), WEATHER.keys)
    matrix = pipeline.bind(state, {WEATHER.name: table})(flights.records).matrix()
    names = list(pipeline.outputs.names)
    times = read_records(FLIGHT, flights.records).columns["scheduled_departure"]
    score = boosted_score(matrix, flights.late, len(season.records))
    columns = {n: matrix[:, i] for i, n in enumerate(names) if not features or n in features}
    order = np.argsort(times, kind="stable")
    ordered = {n: np.ascontiguousarray(v[order]) for n, v in (columns | {SCORE: score}).items()}
    return Days(ordered, times[order], times[order] // (DAY_S * 1_000_000))


def boosted_score(matrix: Floats, late: NDArray[np.bool_], train: int) -> Floats:
    """Return the scores of 60 trees that were trained on the first `train` rows."""
    import xgboost

    data = xgboost.DMatrix(matrix[:train], late[:train])
    settings = {"objective": "binary:logistic", "max_depth": 5, "nthread": 1, "seed": 0}
    booster = xgboost.train(settings, data, num_boost_round=60)
    scores: Floats = booster.predict(xgboost.DMatrix(matrix)).astype(np.float64)
    return scores
