"""Points in time as people write them, in commands and in `samescore.toml`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_AGO: Final = re.compile(r"(\d{1,9})(s|m|h|d)")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def microseconds_of(text: str) -> int:
    """Return a point in time as microseconds since the epoch.

    Args:
        text: ISO 8601, in UTC unless it says otherwise, or an age: `15m`, `2h`, `7d` before now.

    Raises:
        ValueError: naming the text and the forms that are known.

    >>> microseconds_of("2026-01-31T12:00:00.5Z") == microseconds_of("2026-01-31T13:00:00.5+01:00")
    True
    """
    if ago := _AGO.fullmatch(text):
        then = time.time_ns() // 1000 - int(ago[1]) * _UNIT_SECONDS[ago[2]] * 1_000_000
        if then < _FIRST_US:
            raise ValueError(f"{text!r}: is before the year 1; write 15m, 2h, 7d for so long ago")
        return then
    try:
        when = datetime.fromisoformat(text)
    except ValueError as e:
        raise ValueError(
            f"{text!r}: write 2026-01-31T12:00:00Z, 2026-01-31, or 15m, 2h, 7d for so long ago"
        ) from e
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - _EPOCH) // timedelta(microseconds=1)
