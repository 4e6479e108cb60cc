"""Putting a distribution back: exact in the buckets, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitors.buckets import CategoryReference, NumericReference, Reference
from monitors.drift.putting_back import apportioned, put_back


def shares_of(reference: Reference) -> np.ndarray:
    return reference.training_counts / reference.training_counts.sum()


def back(values: np.ndarray, reference: Reference, donors: np.ndarray | None = None) -> np.ndarray:
    known = values[:0] if donors is None else donors
    return put_back(values, reference, shares_of(reference), known)


def test_what_has_not_drifted_is_not_touched() -> None:
    values = np.random.default_rng(1).normal(size=500)
    reference = NumericReference.build(values)
    assert (back(values, reference) == values).all()


def test_a_shift_is_taken_back_and_the_order_stays() -> None:
    rng = np.random.default_rng(2)
    training = rng.normal(size=5_000)
    reference = NumericReference.build(training)
    moved = rng.normal(1.5, size=1_000)
    found = back(moved, reference, training[:100])
    wanted = apportioned(shares_of(reference), 1_000)
    assert (reference.counts(found) == wanted).all()
    buckets = reference.buckets(found)[np.argsort(moved)]
    assert (np.diff(buckets) >= 0).all(), "the smallest stay the smallest"
    assert abs(float(found.mean())) < 0.05
    assert found.std() == pytest.approx(1.0, abs=0.06), "also in the tails"


def test_missing_values_come_and_go_evenly() -> None:
    rng = np.random.default_rng(3)
    whole = rng.normal(size=1_000)
    holed = whole.copy()
    holed[::4] = np.nan
    for training, window in ((whole, holed), (holed, whole)):
        found = back(window, NumericReference.build(training))
        assert np.isnan(found).sum() == np.isnan(training).sum()
        assert abs(np.nanmean(found) - np.nanmean(training)) < 0.05


def test_point_masses_and_whole_numbers_stay_what_they_are() -> None:
    rng = np.random.default_rng(4)
    training = np.where(rng.random(2_000) < 0.6, 0.0, rng.integers(1, 50, 2_000)).astype(np.float64)
    window = np.where(rng.random(500) < 0.1, 0.0, rng.integers(1, 50, 500)).astype(np.float64)
    found = back(window, NumericReference.build(training))
    assert (found == np.round(found)).all()
    assert abs((found == 0).mean() - (training == 0).mean()) < 0.01


def test_types_are_kept() -> None:
    counts = NumericReference.build(np.arange(100))
    assert back(np.arange(50, 150), counts).dtype == np.int64
    flags = NumericReference.build(np.array([True, False] * 50))
    found = back(np.array([True] * 10), flags)
    assert found.dtype == np.bool_
    assert found.sum() == 5


def test_categories_change_in_as_few_rows_as_can_be() -> None:
    reference = CategoryReference.build(np.array(["a"] * 50 + ["b"] * 30 + [None] * 20, object))
    window = np.array(["a"] * 80 + ["c"] * 20, object)
    found = back(window, reference)
    assert (found == "a").sum() == 50
    assert (found == "b").sum() == 30
    assert sum(v is None for v in found) == 20
    assert "c" not in set(found.tolist())
    assert (found == window).sum() == 50
    assert set(window.tolist()) == {"a", "c"}, "the window's own values are left alone"


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.sampled_from([0.0, 1.0, -1.0, float("nan")]),
)


@given(
    training=hnp.arrays(np.float64, st.integers(1, 80), elements=NUMBERS),
    window=hnp.arrays(np.float64, st.integers(1, 80), elements=NUMBERS),
)
def test_the_shares_are_those_that_were_asked_for(training: np.ndarray, window: np.ndarray) -> None:
    reference = NumericReference.build(training)
    found = back(window, reference, training)
    wanted = apportioned(shares_of(reference), len(window))
    off = np.abs(reference.counts(found) - wanted).sum()
    assert off == 0


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_rows_are_apportioned_whole(rows: int) -> None:
    shares = np.array([0.1, 0.0, 0.2, 0.7])
    found = apportioned(shares, rows)
    assert found.sum() == rows
    assert found[1] == 0
    assert (np.abs(found - shares * rows) < 1).all()
