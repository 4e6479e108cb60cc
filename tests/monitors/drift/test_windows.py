"""Windows: aligned to the epoch, half-open, the same in every time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import ConfigError
from monitors.drift.windows import Gap, Window, WindowLength, gaps

DAY = WindowLength.parse("1d")
NEW_YEAR_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("1d", 86_400, "1d"),
        ("24h", 86_400, "1d"),
        ("90m", 5_400, "90m"),
        ("6h", 21_600, "6h"),
        ("45s", 45, "45s"),
        ("2w", 1_209_600, "14d"),
    ],
)
def test_a_length_is_a_number_and_a_unit(text: str, seconds: int, shown: str) -> None:
    length = WindowLength.parse(text)
    assert (length.seconds, str(length)) == (seconds, shown)
    assert WindowLength.parse(str(length)) == length


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5d", "1 d", "1month", "367d", "1D"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)window {text!r}.*for example 1d"):
        WindowLength.parse(text)


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = DAY.holding(NEW_YEAR_US)
    assert (window.start, window.end) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert DAY.holding(NEW_YEAR_US + 86_400_000_000 - 1) == window
    assert DAY.holding(NEW_YEAR_US - 1).end == window.start
    assert DAY.holding(NEW_YEAR_US + 86_400_000_000).start == window.end


def test_moments_before_1970_have_windows_too() -> None:
    assert DAY.holding(-1).start == "1969-12-31T00:00:00Z"


@given(st.integers(-(10**17), 10**17), st.integers(1, 10**7))
def test_windows_are_aligned_to_the_epoch(time_us: int, seconds: int) -> None:
    window = WindowLength(seconds).holding(time_us)
    assert window.start_s % seconds == 0
    assert window.start_s * 10**6 <= time_us < window.end_s * 10**6


@pytest.fixture(params=["Asia/Kathmandu", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_the_machines_time_zone_changes_nothing() -> None:
    assert DAY.holding(NEW_YEAR_US).start == "2026-01-01T00:00:00Z"
    assert DAY.holding(NEW_YEAR_US).label == "2026-01-01"
    assert WindowLength.parse("30s").holding(NEW_YEAR_US).label == "2026-01-01 00:00:00"


def test_gaps_are_told_as_ranges() -> None:
    windows = [Window(s, 60) for s in (0, 60, 600, 660, 780)]
    assert gaps(reversed(windows)) == [Gap(120, 600, 8), Gap(720, 780, 1)]
    assert gaps(windows[:2]) == gaps([]) == []
