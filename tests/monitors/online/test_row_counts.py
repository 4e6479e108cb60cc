"""Counts of rows: the same integers as the reference's own, exact merging, one flag a row."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from consistency.features import FeatureStatus
from consistency.schema import FeatureType
from monitors.online.number_columns import NumberColumns
from monitors.online.row_counts import RowCounter, RowCounts
from monitors.online.row_layout import CategoryCodes, FeatureColumns, RowLayout, number_cuts
from monitors.online.window import Tally
from monitors.reference import NumericReference, ReferenceSet

Array = NDArray[Any]

NAN, INF = math.nan, math.inf
FLOATS = st.one_of(
    st.sampled_from([NAN, INF, -INF, 0.0, -0.0, 1.0, 5e-324, 1e308]), st.floats(-5, 5)
)
CITIES = ("Bonn", "Kiel", "Ulm")


@st.composite
def samples(draw: st.DrawFn, columns: int, most: int = 60) -> Array:
    rows = draw(st.integers(1, most))
    return draw(arrays(np.float64, (rows, columns), elements=FLOATS))


def objects(values: list[Any]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def known(**columns: Array) -> ReferenceSet:
    rows = len(next(iter(columns.values())))
    return ReferenceSet.build(columns, np.linspace(0.1, 0.9, rows))


def one_number(references: ReferenceSet | None = None) -> RowCounter:
    if references is None:
        references = known(x=np.arange(10.0))
    return RowCounter(RowLayout((FeatureColumns("x", FeatureType.FLOAT64),), 1, references))


def count(counter: RowCounter, values: list[list[float]], status: list[int]) -> RowCounts:
    return counter.count(np.array(values), np.array(status, np.uint8).reshape(-1, 1))


@given(samples(3), samples(3, 200))
def test_many_columns_at_once_are_counted_as_each_alone(trained: Array, window: Array) -> None:
    references = [NumericReference.build(c) for c in trained.T]
    columns = NumberColumns.of([2, 0, 1], [number_cuts(references[i]) for i in (2, 0, 1)])
    alone = [references[i].counts(window[:, i]) for i in (2, 0, 1)]
    assert columns.counts(window).tolist() == np.concatenate(alone).tolist()


def test_many_rows_of_many_columns_are_counted_in_parts() -> None:
    rows = 5_003
    rng = np.random.default_rng(1)
    window = rng.normal(size=(rows, 40))
    window[rng.random(window.shape) < 0.1] = NAN
    references = [NumericReference.build(rng.normal(size=500)) for _ in range(40)]
    columns = NumberColumns.of(list(range(40)), [number_cuts(r) for r in references])
    alone = [r.counts(c) for r, c in zip(references, window.T, strict=True)]
    assert columns.counts(window).tolist() == np.concatenate(alone).tolist()


@given(samples(3), samples(3, 40), st.data())
def test_parts_merge_to_the_single_pass_exactly(
    trained: Array, window: Array, data: st.DataObject
) -> None:
    references = ReferenceSet.build({"a": trained[:, 0], "b": trained[:, 1]}, trained[:, 2])
    features = tuple(FeatureColumns(n, FeatureType.FLOAT64) for n in "ab")
    counter = RowCounter(RowLayout(features, 1, references))
    codes = arrays(np.uint8, (len(window), 2), elements=st.sampled_from(list(FeatureStatus)))
    status = data.draw(codes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(window)), max_size=4)))
    bounds = [0, *cuts, len(window)]
    parts = RowCounts.zeros(counter.layout)
    for begin, end in pairwise(bounds):
        parts = counter.count(window[begin:end], status[begin:end]) + parts
    whole = counter.count(window, status)
    for one, other in ((parts, whole), (whole, parts)):
        assert one.rows == other.rows
        for name in ("anomalies", "flags", "buckets", "low", "high"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
    held = [*references.counts({"a": window[:, 0], "b": window[:, 1]}).values()]
    held += references.score_counts(window[:, 2])
    assert whole.buckets.tolist() == np.concatenate(held).tolist()


def test_categories_are_counted_as_the_reference_counts_them() -> None:
    trained = objects([*CITIES, "Bonn", None] * 3 + [f"v{i}" for i in range(30)] * 2)
    references = known(city=trained)
    reference = references.features["city"]
    values = ["Bonn", "Kiel", "v3", "v29", "Atlantis", None, NAN, ""]
    codes = CategoryCodes(reference)
    layout = RowLayout((FeatureColumns("city", FeatureType.STRING),), 1, references)
    rows = np.array([[codes.code(v), 0.5] for v in values])
    counts = RowCounter(layout).count(rows, np.zeros((len(rows), 1), np.uint8))
    where = layout.bucket_slices[0]
    assert where is not None
    assert counts.buckets[where].tolist() == reference.counts(objects(values)).tolist()
    assert counts.flags[:, 0].tolist() == [2, 2, 0], "None and NaN; Atlantis and the empty text"


@pytest.mark.parametrize(
    ("value", "status", "flags"),
    [
        (5.0, FeatureStatus.OK, [0, 0, 0]),
        (NAN, FeatureStatus.OK, [1, 0, 0]),
        (5.0, FeatureStatus.NULL, [1, 0, 0]),
        (5.0, FeatureStatus.ABSENT, [1, 0, 0]),
        (NAN, FeatureStatus.NO_MATCH, [1, 0, 0]),
        (NAN, FeatureStatus.UNSEEN, [0, 1, 0]),
        (-1.0, FeatureStatus.UNSEEN, [0, 1, 0]),
        (-1.0, FeatureStatus.OK, [0, 0, 1]),
        (99.0, FeatureStatus.OK, [0, 0, 1]),
        (INF, FeatureStatus.OK, [0, 0, 1]),
        (-INF, FeatureStatus.OK, [0, 0, 1]),
        (99.0, FeatureStatus.NULL, [1, 0, 0]),
    ],
)
def test_a_row_is_flagged_once(value: float, status: FeatureStatus, flags: list[int]) -> None:
    assert count(one_number(), [[value, 0.5]], [status]).flags[:, 0].tolist() == flags


def test_an_infinity_that_training_held_is_not_out_of_range() -> None:
    counter = one_number(known(x=np.array([0.0, 1.0, 2.0, INF])))
    flags = count(counter, [[INF, 0.5], [-INF, 0.5]], [0, 0]).flags
    assert flags[:, 0].tolist() == [0, 0, 1]
    marked = count(counter, [[INF, 0.5], [-INF, 0.5], [NAN, 0.5]], [0, 0, 1]).flags
    assert marked[:, 0].tolist() == [1, 0, 1], "the same when a status makes it look at each row"


def test_a_tensor_counts_all_entries_and_flags_rows() -> None:
    trained = np.arange(20.0).reshape(10, 2)
    references = known(pair=trained)
    layout = RowLayout((FeatureColumns("pair", FeatureType.FLOAT64, 2),), 1, references)
    rows = np.array([[1.0, 2.0, 0.5], [NAN, NAN, 0.5], [99.0, 3.0, 0.5], [4.0, -99.0, 0.5]])
    counts = RowCounter(layout).count(rows, np.zeros((4, 1), np.uint8))
    where = layout.bucket_slices[0]
    assert where is not None
    expected = references.features["pair"].counts(rows[:, :2])
    assert counts.buckets[where].tolist() == expected.tolist()
    assert counts.flags[:, 0].tolist() == [1, 0, 2]


def test_anomalous_scores() -> None:
    scores = [0.5, NAN, INF, -INF, -INF, 0.95, 0.05, 0.0, 0.1, 0.9]
    counts = count(one_number(), [[1.0, s] for s in scores], [0] * len(scores))
    assert counts.anomalies.tolist() == [1, 3, 3], "0.1 to 0.9 is half a step wide on either side"


def test_without_a_reference_nothing_is_out_of_range_or_unseen_but_missing_is() -> None:
    features = (
        FeatureColumns("x", FeatureType.FLOAT64),
        FeatureColumns("city", FeatureType.STRING),
    )
    layout = RowLayout(features, 1, None)
    code = CategoryCodes(None).code
    rows = np.array([[1e300, code("Bonn"), 7.0], [NAN, code(None), NAN], [INF, code("?"), INF]])
    status = np.zeros((3, 2), np.uint8)
    counts = RowCounter(layout).count(rows, status)
    assert counts.buckets.size == layout.buckets == 0
    assert counts.flags.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert counts.anomalies.tolist() == [1, 1, 0]
    status[2, 1] = FeatureStatus.UNSEEN
    assert RowCounter(layout).count(rows, status).flags.tolist() == [[1, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("scores", "constant"),
    [
        ([0.5, 0.5, 0.5], True),
        ([0.0, -0.0], True),
        ([0.5, 0.5, math.nextafter(0.5, 1)], False),
        ([0.5, NAN], False),
        ([NAN, NAN], False),
        ([], False),
    ],
)
def test_constant_scores(scores: list[float], constant: bool) -> None:
    layout = RowLayout((), 1, None)
    block = np.array(scores, np.float64).reshape(-1, 1)
    counts = RowCounter(layout).count(block, np.empty((len(scores), 0), np.uint8))
    assert counts.constant is constant


def test_scores_of_several_outputs_are_constant_only_if_each_is() -> None:
    layout = RowLayout((), 2, None)
    status = np.empty((2, 0), np.uint8)
    counter = RowCounter(layout)
    assert counter.count(np.array([[0.5, 0.25], [0.5, 0.25]]), status).constant
    assert not counter.count(np.array([[0.5, 0.25], [0.5, 0.26]]), status).constant


def test_the_layout_survives_json() -> None:
    references = known(x=np.arange(9.0), city=objects([*CITIES] * 3))
    features = (
        FeatureColumns("x", FeatureType.FLOAT64),
        FeatureColumns("city", FeatureType.STRING),
        FeatureColumns("new", FeatureType.FLOAT32, 3),
    )
    layout = RowLayout(features, 1, references)
    again = RowLayout.from_json(layout.to_json())
    assert again.features == layout.features
    assert again.to_json() == layout.to_json()
    assert (again.columns, again.buckets, again.starts) == (6, layout.buckets, (0, 1, 2))
    assert again.judged[2] is None
    assert RowLayout.from_json(RowLayout((), 2, None).to_json()).references is None


def test_a_reference_of_another_kind_or_number_judges_nothing() -> None:
    references = known(city=objects([*CITIES]))
    layout = RowLayout((FeatureColumns("city", FeatureType.FLOAT64),), 2, references)
    assert layout.judged == (None, None, None)


@pytest.mark.parametrize("slices", [1, 3])
def test_slices_merge_to_the_single_pass_and_the_oldest_leaves_as_a_whole(slices: int) -> None:
    rng = np.random.default_rng(7)
    counter = one_number(known(x=rng.normal(size=500)))
    layout = counter.layout
    tally = Tally(layout, slices, np.zeros(Tally.size(layout, slices), np.int64))
    blocks = [rng.normal(size=(n, 2)) for n in (5, 1, 0, 700, 3, 9)]
    counts = [counter.count(b, np.zeros((len(b), 1), np.uint8)) for b in blocks]
    for number, block in enumerate(counts, start=100):
        tally.turn_to(number)
        tally.add(block)
        tally.add(block)
        expected = RowCounts.zeros(layout)
        for each in counts[max(0, number - 99 - slices) : number - 99]:
            expected = expected + each + each
        held = tally.window(number)
        assert held.rows == expected.rows
        assert held.buckets.tolist() == expected.buckets.tolist()
        assert (held.low.tolist(), held.high.tolist()) == (
            expected.low.tolist(),
            expected.high.tolist(),
        )
    assert tally.counted == 2 * sum(map(len, blocks)), "what was counted does not slide"
    assert tally.window(105 + slices).rows == 0
    tally.turn_to(3)
    assert tally.slice == 105, "a clock that is set back loses nothing"
