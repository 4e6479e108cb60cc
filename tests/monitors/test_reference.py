"""Frozen references: the probes at which known tools fail, exact merging, exact storage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from monitors.edges import frozen_edges
from monitors.errors import MonitorError
from monitors.psi import population_stability_index
from monitors.reference import (
    MAX_KNOWN_CATEGORIES,
    CategoryReference,
    NumericReference,
    ReferenceSet,
)

ROWS = 100_000
Array = NDArray[Any]

any_float = st.floats(allow_nan=True, allow_infinity=True, width=64)
samples = arrays(np.float64, st.integers(0, 300), elements=any_float)
few_values = arrays(
    np.float64,
    st.integers(1, 300),
    elements=st.sampled_from([0.0, -0.0, 1.0, 1.0000000000000002, 5e-324, -1e308, 1e308, np.inf]),
)
categories = st.lists(st.sampled_from(["a", "b", "c", "d", "", None, math.nan]), max_size=50)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240702)


def psi(reference: NumericReference | CategoryReference, current: Array) -> float:
    return population_stability_index(reference.training_counts, reference.counts(current))


def highest_without_drift(reference: NumericReference, current_rows: int) -> float:
    """Return what the index exceeds once in 100,000 windows without drift, by Yurdakul's law."""
    held = int((reference.training_counts > 0).sum())
    scale = 1 / int(reference.training_counts.sum()) + 1 / current_rows
    return float(stats.chi2(held - 1, scale=scale).isf(1e-5))


def objects(values: list[Any]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


# ---- the probes ----------------------------------------------------------------------------------


def test_one_outlier_in_the_window_does_not_hide_a_shift(rng: np.random.Generator) -> None:
    """Bins of reference plus current: one outlier turns a shift of 1 sigma from 1.01 into 0.019."""
    reference = NumericReference.build(rng.normal(size=ROWS))
    shifted = rng.normal(loc=1.0, size=ROWS)
    clean = psi(reference, shifted)
    shifted[0] = 1e9
    assert clean > 0.9
    assert psi(reference, shifted) == pytest.approx(clean, abs=1e-3)


def test_one_outlier_alone_is_no_drift(rng: np.random.Generator) -> None:
    reference = NumericReference.build(rng.normal(size=ROWS))
    window = rng.normal(size=1_000)
    window[0] = 1e9
    assert psi(reference, window) < highest_without_drift(reference, 1_000)


def test_an_outlier_in_the_reference_hides_nothing(rng: np.random.Generator) -> None:
    sample = rng.normal(size=ROWS)
    sample[0] = 1e9
    assert psi(NumericReference.build(sample), rng.normal(loc=1.0, size=ROWS)) > 0.9


def test_thirty_percent_missing_is_a_large_drift(rng: np.random.Generator) -> None:
    """Dropping NaN before the comparison gives 0.003."""
    reference = NumericReference.build(rng.normal(size=ROWS))
    window = rng.normal(size=ROWS)
    window[rng.random(ROWS) < 0.3] = np.nan
    assert psi(reference, window) > 1.0


def test_missing_values_that_training_had_too_are_no_drift(rng: np.random.Generator) -> None:
    sample, window = rng.normal(size=ROWS), rng.normal(size=ROWS)
    for each in (sample, window):
        each[rng.random(ROWS) < 0.3] = np.nan
    reference = NumericReference.build(sample)
    assert psi(reference, window) < highest_without_drift(reference, ROWS)


def test_a_hundredfold_of_the_rare_positives_is_seen(rng: np.random.Generator) -> None:
    """99.5% zeros: plain quantile bins see 0, since all their edges are zero."""
    sample = np.where(rng.random(ROWS) < 0.995, 0.0, rng.exponential(size=ROWS))
    same = np.where(rng.random(ROWS) < 0.995, 0.0, rng.exponential(size=ROWS))
    reference = NumericReference.build(sample)
    limit = highest_without_drift(reference, ROWS)
    assert psi(reference, same) < limit
    assert psi(reference, same * 100) > 20 * limit
    assert psi(reference, same * 2) > 2 * limit
    # Smaller ones leave no training range: it takes bins for the little that is not zero.
    assert psi(reference, same * 0.4) > limit


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.poisson(3.0, ROWS),
        lambda rng: rng.integers(0, 2, ROWS),
        lambda rng: rng.integers(0, 1000, ROWS),
        lambda rng: rng.geometric(0.9, ROWS),
    ],
    ids=["poisson", "flag", "uniform", "geometric"],
)
def test_integers_that_became_slightly_larger_do_not_explode(
    rng: np.random.Generator, draw: Any
) -> None:
    reference = NumericReference.build(draw(rng))
    assert psi(reference, draw(rng) + 0.001) < highest_without_drift(reference, ROWS)


def test_a_flag_that_became_a_fraction_is_seen(rng: np.random.Generator) -> None:
    reference = NumericReference.build(rng.integers(0, 2, ROWS))
    assert psi(reference, np.full(1_000, 0.3)) > 1.0
    # Half way between 0 and 1 would be one edge: 0.3 for 0 would be no news.
    assert psi(reference, np.where(rng.random(1_000) < 0.5, 0.3, 1.0)) > 1.0


def test_a_marker_that_changed_is_seen_although_the_other_values_are_far_away(
    rng: np.random.Generator,
) -> None:
    """0 for 'none' becomes -1, while the amounts lie between 1000 and 5000."""
    none, amounts = rng.random(ROWS) < 0.6, rng.integers(1000, 5000, ROWS)
    reference = NumericReference.build(np.where(none, 0, amounts))
    assert psi(reference, np.where(none, -1, amounts)) > 1.0


def test_categories_that_training_never_saw_are_a_large_drift() -> None:
    """Skipping buckets that do not align gives 0.0 here."""
    reference = CategoryReference.build(objects(["a", "b"] * 5_000))
    unseen = reference.counts(objects(["x", "y"] * 5_000))
    assert unseen.tolist() == [0, 0, 0, 10_000, 0]
    assert population_stability_index(reference.training_counts, unseen) > 5.0


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinities_are_a_drift_of_their_own(rng: np.random.Generator, value: float) -> None:
    reference = NumericReference.build(rng.normal(size=ROWS))
    window = rng.normal(size=ROWS)
    window[:3_000] = value
    limit = highest_without_drift(reference, ROWS)
    assert psi(reference, window) > 100 * limit
    assert psi(reference, window) != psi(reference, -window)


def test_the_tails_beyond_the_training_range_have_their_own_buckets(
    rng: np.random.Generator,
) -> None:
    reference = NumericReference.build(rng.uniform(0.0, 1.0, ROWS))
    counts = reference.counts(np.array([-5.0, 7.0, 8.0]))
    assert counts[1] == 1
    assert counts[-3] == 2
    assert reference.training_counts[[1, -3]].tolist() == [0, 0]


def test_no_drift_stays_below_its_noise_for_many_windows(rng: np.random.Generator) -> None:
    """Filling empty buckets with the smallest float gives a mean of 7.1 here."""
    reference = NumericReference.build(rng.normal(size=ROWS))
    limit = highest_without_drift(reference, 100)
    assert all(psi(reference, rng.normal(size=100)) < limit for _ in range(500))


# ---- buckets -------------------------------------------------------------------------------------


def test_a_bucket_for_every_kind_of_value() -> None:
    reference = NumericReference.build(np.array([1.0, 2.0, 3.0, 4.0]), bins=2)
    values = np.array([-np.inf, -1e308, 1.0, 2.0, 3.0, 4.0, 1e308, np.inf, np.nan, np.nan])
    assert reference.counts(values).tolist() == [1, 1, 2, 2, 1, 1, 2]


def test_equal_bins_for_a_continuous_sample(rng: np.random.Generator) -> None:
    reference = NumericReference.build(rng.normal(size=ROWS))
    assert reference.training_counts.tolist() == [0, 0, *[ROWS // 10] * 10, 0, 0, 0]


def test_a_constant_leaves_room_for_nothing_else() -> None:
    reference = NumericReference.build(np.full(100, 0.1))
    assert reference.counts(np.array([0.1])).tolist() == [0, 0, 1, 0, 0, 0]
    assert psi(reference, np.full(100, float(np.float32(0.1)))) > 1.0


@pytest.mark.parametrize("sample", [[], [np.nan], [np.inf, -np.inf, np.nan]])
def test_a_sample_without_finite_values_has_one_finite_bucket(sample: list[float]) -> None:
    reference = NumericReference.build(np.array(sample))
    assert reference.edges.size == 0
    assert reference.counts(np.array([-1e308, 0.0, 1e308, np.nan])).tolist() == [0, 3, 0, 1]


@given(few_values, st.integers(1, 20))
def test_edges_are_ascending_and_few_and_enclose_the_sample(values: Array, bins: int) -> None:
    finite = values[np.isfinite(values)]
    edges = frozen_edges(finite, bins)
    assert np.isfinite(edges).all()
    assert (edges[1:] >= edges[:-1]).all()
    assert edges.size <= 4 * bins + 6
    if finite.size:
        assert edges[0] <= finite.min()
        assert edges[-1] > finite.max()


@given(samples, st.integers(1, 20))
def test_no_training_value_lies_in_a_tail(values: Array, bins: int) -> None:
    reference = NumericReference.build(values, bins=bins)
    counts = reference.training_counts
    assert counts.sum() == values.size
    assert counts[-1] == np.isnan(values).sum()
    assert counts[0] == np.isneginf(values).sum()
    if np.isfinite(values).any():
        assert counts[1] == 0


@given(samples, samples)
def test_counts_of_two_windows_add_up_to_those_of_both(first: Array, second: Array) -> None:
    reference = NumericReference.build(np.concatenate([first, [0.0, 1.0, 2.0]]))
    together = reference.counts(np.concatenate([first, second]))
    assert (reference.counts(first) + reference.counts(second) == together).all()


def test_large_arrays_are_counted_as_small_ones_are(rng: np.random.Generator) -> None:
    """A search for small arrays, block comparisons for large ones: the same integers."""
    values = rng.normal(size=50_001)
    values[rng.integers(0, values.size, 5_000)] = rng.choice(
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308], 5_000
    )
    reference = NumericReference.build(rng.normal(size=10_000).round(1))
    values[:2_000] = rng.choice(reference.edges, 2_000)
    in_parts = sum(reference.counts(part) for part in np.array_split(values, 100))
    assert (reference.counts(values) == in_parts).all()
    assert (reference.counts(values[::-1]) == in_parts).all()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(10, dtype=np.int64),
        np.arange(10, dtype=np.float32),
        np.arange(10) % 2 == 0,
        np.arange(20, dtype=np.float32).reshape(10, 2),
        objects([["t"] * (i % 3) for i in range(9)] + [None]),
        objects([1, None, 2.5, 3]),
    ],
    ids=["int64", "float32", "bool", "tensor", "tokens", "numbers with gaps"],
)
def test_every_numeric_dtype_can_be_frozen(values: Array) -> None:
    reference = NumericReference.build(values)
    assert reference.training_counts.sum() == values.size
    assert (reference.counts(values) == reference.training_counts).all()


# ---- categories ----------------------------------------------------------------------------------


def test_a_bucket_for_top_other_unseen_and_missing() -> None:
    sample = objects(["a"] * 5 + ["b"] * 3 + ["c", "d"] * 2 + ["once", None])
    reference = CategoryReference.build(sample, top=2)
    assert reference.top == ("a", "b")
    assert reference.training_counts.tolist() == [5, 3, 4, 1, 1]
    window = objects(["a", "c", "z", None, math.nan, "A", ""])
    assert reference.counts(window).tolist() == [1, 0, 1, 3, 2]


def test_ties_between_categories_go_by_name_whatever_the_order_of_rows() -> None:
    one = CategoryReference.build(objects(["b", "a", "c"] * 2), top=2)
    two = CategoryReference.build(objects(["c", "b", "a"] * 2), top=2)
    assert one.to_json() == two.to_json()
    assert one.top == ("a", "b")


def test_too_many_categories_are_unseen_then_as_now() -> None:
    sample = objects([f"id{i:06}" for i in range(MAX_KNOWN_CATEGORIES + 500)] * 2)
    reference = CategoryReference.build(sample)
    assert reference.training_counts[-2] == 1_000
    assert psi(reference, sample) == 0.0


def test_texts_that_are_always_new_are_no_drift() -> None:
    """Taking every text of training for a known category makes all later ones an alarm."""
    reference = CategoryReference.build(objects([f"comment {i}" for i in range(5_000)]))
    later = objects([f"comment {i}" for i in range(5_000, 6_000)])
    assert psi(reference, later) == 0.0


def test_some_new_ids_are_as_usual_as_in_training(rng: np.random.Generator) -> None:
    """Good: as many rows are new later as training holds once (or more: of two, one is left)."""

    def ids(rows: int) -> Array:
        return objects([f"user {n}" for n in rng.zipf(1.3, rows)])

    reference, later = CategoryReference.build(ids(20_000)), ids(5_000)
    expected = reference.training_counts[-2] / 20_000
    assert expected > 0.02
    assert expected < reference.counts(later)[-2] / 5_000 < 1.6 * expected
    assert psi(reference, later) < 0.1


@given(categories, categories)
def test_counts_of_categories_add_up(first: list[Any], second: list[Any]) -> None:
    reference = CategoryReference.build(objects(first), top=2)
    together = reference.counts(objects(first + second))
    assert together.sum() == len(first) + len(second)
    assert (reference.counts(objects(first)) + reference.counts(objects(second)) == together).all()


def test_fixed_width_strings_are_categories_too() -> None:
    reference = ReferenceSet.build({"c": np.array(["x", "y"] * 2)}, np.array([0.1, 0.2] * 2))
    assert reference.counts({"c": np.array(["x", "q"])})["c"].tolist() == [1, 0, 0, 1, 0]


# ---- the set -------------------------------------------------------------------------------------


@pytest.fixture
def reference_set(rng: np.random.Generator) -> ReferenceSet:
    columns = {
        "distance": rng.normal(size=2_000),
        "carrier": objects(rng.choice(["UA", "AA", "B6"], 2_000).tolist()),
        "tokens": objects([["t"] * int(n) for n in rng.integers(0, 5, 2_000)]),
        "gone": objects([None] * 2_000),
    }
    return ReferenceSet.build(columns, rng.random(2_000))


def test_a_set_survives_its_bytes_exactly(
    reference_set: ReferenceSet, rng: np.random.Generator
) -> None:
    data = reference_set.to_bytes()
    again = ReferenceSet.from_bytes(data)
    assert again.to_bytes() == data
    assert list(again.features) == list(reference_set.features)
    window = rng.normal(size=500)
    assert (
        again.counts({"distance": window})["distance"]
        == reference_set.counts({"distance": window})["distance"]
    ).all()


@settings(max_examples=50)
@given(samples)
def test_edges_survive_json_to_the_last_bit(values: Array) -> None:
    reference = NumericReference.build(values)
    text = orjson.dumps(reference.to_json())
    again = NumericReference.from_json(orjson.loads(text))
    assert again.edges.tobytes() == reference.edges.tobytes()
    assert again.training_counts.tobytes() == reference.training_counts.tobytes()


def test_the_counts_of_a_feature_are_small(reference_set: ReferenceSet) -> None:
    assert len(orjson.dumps(reference_set.features["distance"].training_counts.tolist())) <= 200


def test_scores_of_several_outputs_have_a_reference_each(rng: np.random.Generator) -> None:
    scores = rng.random((1_000, 3))
    reference = ReferenceSet.build({}, scores)
    assert [int(c.sum()) for c in reference.score_counts(scores)] == [1_000] * 3
    with pytest.raises(MonitorError, match="2 outputs, the reference 3"):
        reference.score_counts(scores[:, :2])


def test_an_unknown_feature_is_an_error(reference_set: ReferenceSet) -> None:
    with pytest.raises(MonitorError, match="'altitude' is not in the reference"):
        reference_set.counts({"altitude": np.zeros(3)})


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\x01",
        b"[]",
        b"{}",
        b'{"format":2,"features":{},"scores":[]}',
        b'{"format":1,"features":{"f":1},"scores":[]}',
        b'{"format":1,"features":{},"scores":[{"kind":"numeric","edges":[2,1],"counts":[0]}]}',
        b'{"format":1,"features":{},"scores":[{"kind":"numeric","edges":[1],"counts":[0]}]}',
        b'{"format":1,"features":{},"scores":[{"kind":"numeric","edges":[],"counts":[0,1,2,-1]}]}',
        b'{"format":1,"features":{},"scores":[{"kind":"numeric","edges":["x"],"counts":[]}]}',
    ],
)
def test_damaged_bytes_are_an_error(damage: bytes) -> None:
    with pytest.raises(MonitorError):
        ReferenceSet.from_bytes(damage)
