"""Fits the pipeline's state on the training months: vocabularies, late rates, time zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.records import Record, read_records
from consistency.state import FittedState
from flights_features.clock import MINUTES_A_DAY, Zones, utc_offset
from flights_features.features import MICROSECONDS_A_MINUTE
from flights_features.rates import fit_rates, route_key
from flights_features.schema import FLIGHT
from flights_features.zones import freeze_zones


def fit(
    records: Sequence[Record], late: NDArray[np.bool_], zones: Mapping[str, str]
) -> FittedState:
    """Return the fitted state.

    Args:
        records: N raw records of the training months, and of no others.
        late: labels, shape (N,).
        zones: airport code to IANA time zone, for every airport that may be met.
    """
    columns = read_records(FLIGHT, records).columns
    carriers, origins, dests = (columns[c].tolist() for c in ("carrier", "origin", "dest"))
    minutes = (columns["scheduled_departure"] // MICROSECONDS_A_MINUTE).tolist()
    frozen = freeze_zones(zones)
    hours = [_local_hour(frozen, o, m) for o, m in zip(origins, minutes, strict=True)]
    routes = [route_key(o, d) for o, d in zip(origins, dests, strict=True)]
    return FittedState(
        {
            "vocabularies": {
                "carrier": _vocabulary(carriers),
                "origin": _vocabulary(origins),
                "dest": _vocabulary(dests),
            },
            "rates": fit_rates(carriers, routes, hours, late.tolist()),
            "zones": frozen,
        }
    )


def _local_hour(zones: Zones, airport: str, minute: int) -> int:
    offset = utc_offset(zones, airport, minute)
    if offset is None:
        raise ConfigError(
            f"training flights leave from {airport!r} at minute {minute} since the epoch (UTC), "
            f"where no time zone is known; add the airport to `zones`, or correct the time"
        )
    return (minute + offset) % MINUTES_A_DAY // 60


def _vocabulary(values: Sequence[str]) -> dict[str, int]:
    """Return each value's index in alphabetical order, whatever the order of the records."""
    return {value: code for code, value in enumerate(sorted(set(values)))}
