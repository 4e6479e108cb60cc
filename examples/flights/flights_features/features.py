"""The features of a flight, each row by itself; offline a million rows, online one.

A numpy call on one row costs as much as ten dictionary lookups, so rows are put together in Python
and become one array a function: 100,000 records still take well under a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.errors import DataError
from consistency.features import FeatureStatus, Marked
from consistency.graph import PipelineBuilder, category_codes
from consistency.records import Column
from consistency.snapshots import LookupTable
from flights_features.clock import (
    CALENDAR,
    MINUTES_A_DAY,
    TIME_OF_DAY,
    Zones,
    day_and_minute,
    utc_offset,
)
from flights_features.rates import Rates, carrier_rates, route_rates
from flights_features.schema import FLIGHT, WEATHER
from flights_features.weather import weather_matrix

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Vocabularies: TypeAlias = Mapping[str, Mapping[str, int]]

MICROSECONDS_A_MINUTE: Final = 60_000_000
MICROSECONDS_AN_HOUR: Final = 3_600_000_000

_MINUTES_OF_HHMM: Final = {100 * h + m: 60 * h + m for h in range(24) for m in range(60)} | {
    2400: MINUTES_A_DAY  # midnight at the end of the day, as some airlines write it
}

flow = PipelineBuilder(FLIGHT, state=("vocabularies", "rates", "zones"), lookups=(WEATHER,))


@flow.column
def departure_minute(scheduled_departure: Integers) -> list[int]:
    """Return minutes since the epoch, UTC."""
    return [moment // MICROSECONDS_A_MINUTE for moment in scheduled_departure.tolist()]


@flow.features(
    "departure_minute_of_day",
    "departure_time_sin",
    "departure_time_cos",
    "weekday_sin",
    "weekday_cos",
    "month_sin",
    "month_cos",
    "hour_late_rate",
)
def local_departure(
    origin: Column, departure_minute: list[int], zones: Zones, rates: Rates
) -> Marked:
    """Return the scheduled departure on the clock of its airport, shape (N, 8).

    Minutes since midnight; the places in the day, the week and the year as points on a circle; the
    training months' share of late flights in that hour. NaN, marked UNSEEN, for an unknown airport.
    """
    rows, unknown = [], []
    hours: list[float] = rates["hour"]
    for row, (airport, minute) in enumerate(zip(origin.tolist(), departure_minute, strict=True)):
        offset = utc_offset(zones, airport, minute)
        if offset is None:
            unknown.append(row)
            rows.append((math.nan,) * 8)
        else:
            day, now = day_and_minute(minute + offset)
            rows.append((*TIME_OF_DAY[now], *CALENDAR[day], hours[now // 60]))
    return _marked(np.array(rows), unknown)


@flow.features("scheduled_minutes", "scheduled_mph")
def schedule(
    dest: Column,
    departure_minute: list[int],
    scheduled_arrival: Integers,
    distance: Floats,
    zones: Zones,
) -> Marked:
    """Return the minutes from gate to gate (1 to 1440) and the speed they ask for, shape (N, 2).

    The clock of the destination is read at departure: clocks are changed at night, when hardly
    anybody arrives. NaN, marked UNSEEN, for an unknown destination.
    """
    rows, unknown = [], []
    arrivals = _minutes_of_hhmm(scheduled_arrival.tolist())
    flights = zip(dest.tolist(), departure_minute, arrivals, distance.tolist(), strict=True)
    for row, (airport, departure, arrival, miles) in enumerate(flights):
        offset = utc_offset(zones, airport, departure)
        if offset is None:
            unknown.append(row)
            rows.append((math.nan, math.nan))
        else:
            minutes = (arrival - departure - offset - 1) % MINUTES_A_DAY + 1
            rows.append((float(minutes), miles / minutes * 60.0))
    return _marked(np.array(rows), unknown)


@flow.features("distance_miles", "log_distance")
def distances(distance: Floats) -> Floats:
    """Return the miles and their natural logarithm, shape (N, 2)."""
    miles = distance.tolist()
    try:
        return np.array([(m, math.log(m)) for m in miles])
    except ValueError:
        row = next(i for i, m in enumerate(miles) if m <= 0)
        raise DataError(
            f"is {miles[row]}; send the miles between the airports, more than 0",
            row=row,
            field="distance",
        ) from None


@flow.features("flight_number", "tailnum_known")
def identity(flight: Integers, tailnum: Column) -> Floats:
    """Return the flight number, and 1.0 where an aircraft is assigned, shape (N, 2)."""
    pairs = zip(flight.tolist(), tailnum.tolist(), strict=True)
    return np.array([(float(number), 0.0 if tail is None else 1.0) for number, tail in pairs])


@flow.feature
def carrier_code(carrier: Column, vocabularies: Vocabularies) -> Marked:
    """Return the airline's index in the training months."""
    return category_codes(carrier, vocabularies["carrier"])


@flow.feature
def origin_code(origin: Column, vocabularies: Vocabularies) -> Marked:
    """Return the index of the airport of departure in the training months."""
    return category_codes(origin, vocabularies["origin"])


@flow.feature
def dest_code(dest: Column, vocabularies: Vocabularies) -> Marked:
    """Return the index of the airport of arrival in the training months."""
    return category_codes(dest, vocabularies["dest"])


@flow.feature
def carrier_late_rate(carrier: Column, rates: Rates) -> Marked:
    """Return the training months' share of late flights of the carrier (unseen: of everybody)."""
    values, unseen = carrier_rates(rates, carrier.tolist())
    return _marked(np.array(values), unseen)


@flow.feature
def route_late_rate(origin: Column, dest: Column, carrier: Column, rates: Rates) -> Marked:
    """Return the training months' share of late flights on the route (unseen: of the carrier)."""
    values, unseen = route_rates(rates, origin.tolist(), dest.tolist(), carrier.tolist())
    return _marked(np.array(values), unseen)


@flow.column
def weather_rows(
    origin: Column, scheduled_departure: Integers, weather: LookupTable
) -> NDArray[np.int64]:
    """Return rows of the weather table for the scheduled hour, shape (N,); -1 where it has none."""
    return weather.rows(origin, scheduled_departure // MICROSECONDS_AN_HOUR)


@flow.features(
    "temp",
    "dewp",
    "humid",
    "wind_dir_sin",
    "wind_dir_cos",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
def measured(weather_rows: NDArray[np.int64], weather: LookupTable) -> Marked:
    """Return the measurements, shape (N, 10); NaN where the station reported none."""
    rows = weather_rows.tolist()
    missed = [i for i, row in enumerate(rows) if row < 0] if -1 in rows else []
    return _marked(weather_matrix(weather)[weather_rows], missed, FeatureStatus.NO_MATCH)


@flow.feature
def weather_found(weather_rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return 1.0 where the weather table has that hour."""
    return weather_rows >= 0


def _minutes_of_hhmm(clocks: list[int]) -> list[int]:
    """Return minutes since midnight of clock readings such as 1745."""
    try:
        return [_MINUTES_OF_HHMM[c] for c in clocks]
    except KeyError:
        row = next(i for i, c in enumerate(clocks) if c not in _MINUTES_OF_HHMM)
        raise DataError(
            f"is {clocks[row]}, no time of day; send HHMM from 0 to 2400 (1745 is 17:45)",
            row=row,
            field="scheduled_arrival",
        ) from None


def _marked(
    values: Floats, rows: Sequence[int], status: FeatureStatus = FeatureStatus.UNSEEN
) -> Marked:
    """Return values with a status in some rows and OK in the others."""
    if not rows:
        return Marked(values)
    codes = np.zeros(len(values), np.uint8)
    codes[rows] = status
    return Marked(values, codes)


pipeline = flow.build()
