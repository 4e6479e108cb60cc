"""Seven features of a taxi ride. Training and serving call this one pipeline."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency import Field, FieldType, Marked, PipelineBuilder, RecordSchema

Floats = NDArray[np.float64]

LONGEST_KM: Final = 60.0
MINUTES_A_DAY: Final = 1440

flow = PipelineBuilder(
    RecordSchema(
        (
            Field("fare", FieldType.FLOAT64, description="EUR"),
            Field("distance_km", FieldType.FLOAT64, nullable=True, description="km"),
            Field("picked_up", FieldType.TIMESTAMP, description="local time with its offset"),
            Field("passengers", FieldType.INT64),
            Field("payment", FieldType.STRING, required=False),
        )
    ),
    state=("mean_fare", "payments"),
)


@flow.column
def minute_of_day(picked_up: NDArray[np.int64]) -> NDArray[np.int64]:
    """Minute of the day in UTC, 0 to 1439."""
    return picked_up // 60_000_000 % MINUTES_A_DAY


@flow.feature
def log_fare(fare: Floats) -> Floats:
    """Logarithm of the fare."""
    return np.log1p(np.maximum(fare, 0.0))


@flow.feature
def fare_to_mean(fare: Floats, mean_fare: float) -> Floats:
    """The fare over the mean fare of the training rides."""
    return fare / mean_fare


@flow.feature
def distance(distance_km: Floats, distance_km_presence: NDArray[np.uint8]) -> Marked:
    """Kilometres, long rides cut; NaN where the meter gave none, marked with why."""
    return Marked(np.minimum(distance_km, LONGEST_KM), distance_km_presence)


@flow.feature
def time_sin(minute_of_day: NDArray[np.int64]) -> Floats:
    """Time of the day on a circle."""
    return np.sin(minute_of_day * (2 * np.pi / MINUTES_A_DAY))


@flow.feature
def time_cos(minute_of_day: NDArray[np.int64]) -> Floats:
    """Time of the day on a circle."""
    return np.cos(minute_of_day * (2 * np.pi / MINUTES_A_DAY))


@flow.feature
def shared(passengers: NDArray[np.int64]) -> Floats:
    """1.0 for more than one passenger."""
    return (passengers > 1).astype(np.float64)


@flow.feature
def payment_code(payment: NDArray[Any], payments: dict[str, int]) -> Floats:
    """The way of payment as training numbered it, -1.0 for one that it never saw or none."""
    return np.array([float(payments.get(p, -1)) for p in payment.tolist()])


pipeline = flow.build()
