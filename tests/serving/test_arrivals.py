"""What arriving requests wait: asked of a real event loop, and of a clock that the test holds."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from serving.arrivals import PERIOD_SECONDS, waits, watch_arrivals


def test_a_stall_is_told_for_each_arrival_in_it() -> None:
    assert [round(w, 6) for w in waits(0.35)] == [0.35, 0.25, 0.15, 0.05]
    assert list(waits(0.0)) == [0.0]


def test_a_process_that_was_stopped_for_an_hour_is_no_hour_of_telling() -> None:
    told = list(waits(3600.0))
    assert len(told) <= 601
    assert max(told) == 60.0


def test_a_loop_that_is_held_up_is_seen() -> None:
    async def run() -> list[float]:
        told: list[float] = []
        watching = asyncio.create_task(watch_arrivals(told.append))
        await asyncio.sleep(2.5 * PERIOD_SECONDS)
        time.sleep(5 * PERIOD_SECONDS)  # noqa: ASYNC251 - what a model does that scores for long
        await asyncio.sleep(1.5 * PERIOD_SECONDS)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        return told

    told = asyncio.run(run())
    assert max(told) >= 4 * PERIOD_SECONDS
    assert sum(wait >= PERIOD_SECONDS for wait in told) >= 3, "those behind the first waited too"


@pytest.mark.parametrize("late", [0.0, 0.05, 0.13, 0.25])
def test_one_is_told_a_period_however_late_the_timer_rings(late: float) -> None:
    """So shares of the histogram are shares of time."""
    told: list[float] = []
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds + late
        if now > 1000 * PERIOD_SECONDS:
            raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        asyncio.run(watch_arrivals(told.append, clock=lambda: now, sleep=sleep))
    assert abs(len(told) - 1000) <= 5
    assert max(told) == pytest.approx(late, abs=1e-9)
