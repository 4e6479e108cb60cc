"""Points in time as people write them."""

from __future__ import annotations

import time

import pytest

from samescore.points_in_time import microseconds_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.000001", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-01-31T12:00Z", 1_769_860_800_000_000),
    ],
)
def test_a_date_is_utc_unless_it_says_otherwise(text: str, expected: int) -> None:
    assert microseconds_of(text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2m", 120), ("3h", 10_800), ("1d", 86_400)]
)
def test_an_age_is_counted_from_now(text: str, seconds: int) -> None:
    before = time.time_ns() // 1000
    found = microseconds_of(text)
    assert before <= found + seconds * 1_000_000 <= time.time_ns() // 1000


@pytest.mark.parametrize(
    "text", ["noon", "2h ago", "-1d", "1w", "", "2026-13-01", "9999999999d", "999999999d"]
)
def test_anything_else_is_refused_with_the_known_forms(text: str) -> None:
    with pytest.raises(ValueError, match="for so long ago"):
        microseconds_of(text)
