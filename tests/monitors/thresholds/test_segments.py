"""Segments: the ones that moved are found, and others seldom called."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.thresholds.segments import SegmentScores, segment_shifts

WINDOWS = 15


def segment(
    name: str, rng: np.random.Generator, *, days: float = 0.02, shift: float = 0.0,
    windows: int = WINDOWS, rows: int = 200, level: float = 0.3,
) -> SegmentScores:  # fmt: skip
    means = level + days * rng.normal(size=windows)
    means[-1] += shift
    scores = means[:, None] + 0.1 * rng.normal(size=(windows, rows))
    return SegmentScores(name, np.full(windows, rows), scores.sum(axis=1), (scores**2).sum(axis=1))


def test_the_segment_that_moved_is_found_and_told_first() -> None:
    rng = np.random.default_rng(1)
    held = [segment(f"s{i}", rng, level=i / 20) for i in range(12)]
    held.append(segment("moved", rng, shift=0.2))
    found = segment_shifts(held)
    assert found[0].name == "moved"
    assert found[0].change == pytest.approx(0.2, abs=0.05)
    assert [s.name for s in found if s.moved] == ["moved"]
    assert found[0].windows == WINDOWS - 1


def test_days_that_differ_are_no_movement() -> None:
    """Rows would tell hundreds of deviations; days tell none."""
    rng = np.random.default_rng(2)
    held = [segment(f"s{i}", rng, days=0.1) for i in range(200)]
    assert sum(s.moved for s in segment_shifts(held)) == 0


def test_of_the_called_ones_few_are_false() -> None:
    rng = np.random.default_rng(3)
    called = false = 0
    for _ in range(40):
        held = [segment(f"quiet{i}", rng) for i in range(40)]
        held += [segment(f"loud{i}", rng, shift=0.15) for i in range(10)]
        moved = [s.name for s in segment_shifts(held) if s.moved]
        called += len(moved)
        false += sum(name.startswith("quiet") for name in moved)
    assert called > 300
    assert false / called < 0.1


def test_few_windows_compare_rows_and_say_so() -> None:
    rng = np.random.default_rng(4)
    (found,) = segment_shifts([segment("a", rng, windows=3, days=0.0, shift=0.1)])
    assert (found.windows, found.moved) == (0, True)
    assert found.spread == pytest.approx(0.1 * np.sqrt(1 / 400 + 1 / 200), rel=0.2)


def test_too_few_rows_say_nothing() -> None:
    rng = np.random.default_rng(5)
    assert segment_shifts([segment("a", rng, rows=5)]) == ()
    new = segment("new", rng)
    new.rows[:-1] = 0
    assert segment_shifts([new]) == ()


def test_a_segment_that_never_varies_is_judged_too() -> None:
    rows = np.full(8, 100)
    still = SegmentScores("still", rows, rows * 0.5, rows * 0.25)
    (found,) = segment_shifts([still])
    assert (found.chance, found.moved) == (1.0, False)
    sums = rows * 0.5
    sums[-1] = 60.0
    squares = rows * 0.25
    squares[-1] = 36.0
    (moved,) = segment_shifts([SegmentScores("moved", rows, sums, squares)])
    assert moved.moved
