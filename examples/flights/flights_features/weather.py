"""The weather of a snapshot as one matrix, so that a request reads it with a single index."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from consistency.snapshots import LookupTable
from flights_features.schema import WEATHER_COLUMNS


@lru_cache(maxsize=4)  # the current snapshot, and those of versions or replays beside it
def weather_matrix(table: LookupTable) -> NDArray[np.float64]:
    """Return a snapshot's measurements, shape (R + 1, 10); the last row is NaN.

    The columns are those of `WEATHER_COLUMNS`, the wind's direction as sine and cosine. NaN stays
    NaN.
    """
    measured = table.matrix(WEATHER_COLUMNS)
    at = WEATHER_COLUMNS.index("wind_dir")
    turns = [math.radians(degrees) for degrees in measured[:, at].tolist()]
    wind = np.array([(math.sin(t), math.cos(t)) for t in turns])
    return np.column_stack([measured[:, :at], wind, measured[:, at + 1 :]])
