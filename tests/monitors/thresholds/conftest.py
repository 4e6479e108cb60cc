from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitors.reference import ReferenceSet

DAY_US = 86_400_000_000
FIRST_MONDAY_US = 4 * DAY_US
Season = Callable[..., ReferenceSet]


@pytest.fixture
def season() -> Season:
    """Makes a reference of days whose means vary: one steady, one wild, one category."""

    def make(days: int = 84, rows: int = 400, seed: int = 3) -> ReferenceSet:
        rng = np.random.default_rng(seed)
        number = np.repeat(np.arange(days), rows)
        weekday = number % 7
        columns = {
            "steady": rng.normal(size=days * rows) + 0.03 * rng.normal(size=days)[number],
            "wild": rng.normal(size=days * rows) + 0.8 * rng.normal(size=days)[number],
            "weekly": rng.normal(size=days * rows) + 1.0 * (weekday >= 5),
            "city": np.array(["a", "b", "c"], object)[rng.integers(0, 3, days * rows)],
        }
        scores = columns["steady"] * 0.1 + 0.5
        built = ReferenceSet.build(columns, scores)
        return built.with_blocks(columns, scores, FIRST_MONDAY_US + number * DAY_US + 1_000)

    return make
