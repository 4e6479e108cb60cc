"""What goes in: the raw record, and the weather table it is joined with."""

from __future__ import annotations

from typing import Final

from consistency.pipeline import Lookup
from consistency.schema import Field, FieldType, RecordSchema

FLIGHT: Final = RecordSchema(
    (
        Field("carrier", FieldType.STRING, description="two-letter airline code"),
        Field("flight", FieldType.INT64, description="flight number"),
        Field(
            "tailnum",
            FieldType.STRING,
            nullable=True,
            description="the aircraft's registration; null while none is assigned",
        ),
        Field("origin", FieldType.STRING, description="FAA code of the airport of departure"),
        Field("dest", FieldType.STRING, description="FAA code of the airport of arrival"),
        Field("distance", FieldType.FLOAT64, description="miles between the two, > 0"),
        Field("scheduled_departure", FieldType.TIMESTAMP, description="an instant, with offset"),
        Field(
            "scheduled_arrival",
            FieldType.INT64,
            description="HHMM on the clock of the airport of arrival, 0 to 2400",
        ),
    )
)
"""A flight as it is known when it is due to leave: no departure time, no delay, no air time."""

WEATHER: Final = Lookup("weather", keys=("origin", "hour"))
"""Hourly weather by airport and hour (int64 hours since the epoch, UTC)."""

WEATHER_COLUMNS: Final = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
"""The measurements, float64 with NaN where the station reported none (units: see the README)."""
