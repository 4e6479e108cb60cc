"""From the year's flights to what every model is trained, checked and bundled with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.pipeline import BoundPipeline
from consistency.records import Record, read_records
from consistency.snapshots import SnapshotStore
from consistency.state import FittedState
from flights_data import (
    LATER_MONTHS,
    TRAIN_MONTHS,
    VALIDATION_MONTHS,
    Flights,
    airport_zones,
    load_flights,
    weather_columns,
)
from flights_features import pipeline
from flights_features.fit import fit
from flights_features.schema import FLIGHT, WEATHER
from flights_measures import Floats

GOLDEN_ROWS: Final = 256
REFERENCE_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Examples:
    """Feature rows with labels.

    Attributes:
        features: float64, shape (N, F), NaN where a value is missing.
        late: labels, float64 0.0 or 1.0, shape (N,).
    """

    features: Floats
    late: Floats


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all models share.

    Attributes:
        state: fitted on the training months.
        snapshot: id of the weather until the end of June.
        train: January to May.
        check: June, for early choices and calibration.
        later: July to December, as serving will see them.
        golden: raw records for the golden gate.
        reference: raw records of the training months for the monitors.
        reference_times: when each of them is due to leave, microseconds since the epoch.
    """

    state: FittedState
    snapshot: str
    train: Examples
    check: Examples
    later: Examples
    golden: Sequence[Record]
    reference: Sequence[Record]
    reference_times: NDArray[np.int64]


def prepare(
    store: SnapshotStore, rows: int | None = None, progress: Callable[[str], None] = print
) -> Prepared:
    """Read the flights, freeze the weather, fit the pipeline's state and make the features.

    Args:
        store: gets the weather until June, then the whole year's, which stays the current one:
            the table has moved on by the time that serving reads it.
        rows: about how many training flights to use, evenly spaced in time; None takes all.
        progress: called with one line.
    """
    flights = load_flights()
    train = flights.months(*TRAIN_MONTHS).thinned(rows)
    check = flights.months(*VALIDATION_MONTHS).thinned(rows)
    later = flights.months(*LATER_MONTHS).thinned(rows)
    state = fit(train.records, train.late, airport_zones())
    snapshot = store.put(WEATHER.name, weather_columns(VALIDATION_MONTHS[1]))
    then = _bind(state, store, snapshot)
    now = _bind(state, store, store.put(WEATHER.name, weather_columns()))
    progress(
        f"{len(train.records)} flights to train on, {len(check.records)} to check, "
        f"{len(later.records)} later ones of which {later.late.mean():.1%} were late; "
        f"{flights.cancelled} cancelled ones left out; {len(pipeline.outputs)} features"
    )
    sample = train.thinned(REFERENCE_ROWS).records
    return Prepared(
        state,
        snapshot,
        _examples(then, train),
        _examples(then, check),
        _examples(now, later),
        golden_records(check.records, then),
        sample,
        read_records(FLIGHT, sample).columns["scheduled_departure"],
    )


def golden_records(records: Sequence[Record], bound: BoundPipeline) -> list[Record]:
    """Return typical flights, evenly spaced in time, and the edges that serving will meet.

    Args:
        records: at least one, of the months after training.
        bound: tells which of them have no weather.
    """
    found = bound(records).column("weather_found")
    without_weather = [records[i] for i in np.flatnonzero(found == 0.0)[:4].tolist()]
    edges = [*_edges(records[0]), *without_weather]
    step = max(1, len(records) // (GOLDEN_ROWS - len(edges)))
    return [*records[::step][: GOLDEN_ROWS - len(edges)], *edges]


def _edges(one: Record) -> list[Record]:
    changes: list[dict[str, object]] = [
        {"tailnum": None},
        {"dest": "ILM"},  # first flown to after June
        {"dest": "???"},  # no airport, so no time zone either
        {"origin": "BOS"},
        {"carrier": "ZZ"},
        {"carrier": "ZZ", "dest": "ILM"},
        {"scheduled_departure": "2013-01-15T12:30:00-05:00"},  # winter, with another offset
        {"scheduled_departure": "2012-06-01T10:00:00Z"},  # before the weather table begins
        {"scheduled_departure": "2099-01-01T10:00:00Z"},  # after the frozen time zones end
    ]
    return [{**one, **change} for change in changes]


def _bind(state: FittedState, store: SnapshotStore, snapshot: str) -> BoundPipeline:
    return pipeline.bind(state, {WEATHER.name: store.get(snapshot, WEATHER.keys)})


def _examples(bound: BoundPipeline, flights: Flights) -> Examples:
    return Examples(bound(flights.records).matrix(), flights.late.astype(np.float64))
