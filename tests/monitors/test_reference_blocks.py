"""Blocks of the reference: merged exactly, stored exactly, refused when damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from monitors.errors import MonitorError
from monitors.reference import ReferenceSet

DAY_S = 86_400
DAYS = 21


@pytest.fixture
def reference() -> ReferenceSet:
    rng = np.random.default_rng(2)
    columns = {"x": rng.normal(size=2_100), "c": np.array(["a", "b"], object)[np.arange(2_100) % 2]}
    scores = rng.random((2_100, 2))
    times = rng.permutation(np.repeat(np.arange(DAYS), 100)) * DAY_S * 10**6 + 5
    return ReferenceSet.build(columns, scores).with_blocks(columns, scores, times)


def test_blocks_add_up_to_the_whole_reference_bit_for_bit(reference: ReferenceSet) -> None:
    blocks = reference.blocks
    assert blocks is not None
    assert blocks.starts_s.tolist() == [day * DAY_S for day in range(DAYS)]
    for name, held in reference.measures.items():
        assert (blocks.features[name].sum(axis=0) == held.training_counts).all()
    for counts, output in zip(blocks.scores, reference.scores, strict=True):
        assert (counts.sum(axis=0) == output.training_counts).all()


def test_longer_blocks_are_sums_of_whole_ones(reference: ReferenceSet) -> None:
    assert reference.blocks is not None
    weeks = reference.blocks.without_ends().merged(7 * DAY_S)
    assert weeks is not None
    # Days 0 and 20 are left out, so the first and the last week are not whole.
    assert weeks.starts_s.tolist() == [7 * DAY_S]
    assert (weeks.features["x"][0] == reference.blocks.features["x"][7:14].sum(axis=0)).all()
    assert reference.blocks.merged(3_600) is None
    assert reference.blocks.merged(DAY_S) is reference.blocks


def test_blocks_survive_the_bytes(reference: ReferenceSet) -> None:
    data = reference.to_bytes()
    again = ReferenceSet.from_bytes(data)
    assert again.to_bytes() == data
    bare = ReferenceSet.from_bytes(reference.distributions().to_bytes())
    assert bare.blocks is None
    assert bare.score_means == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("length_s", 0),
        ("starts_s", [1]),
        ("starts_s", [0, 0]),
        ("features", {}),
        ("scores", []),
        ("features", {"x": [[1]], "c": [[1]]}),
    ],
)
def test_damaged_blocks_are_refused(reference: ReferenceSet, key: str, value: Any) -> None:
    whole = orjson.loads(reference.to_bytes())
    whole["blocks"][key] = value
    with pytest.raises(MonitorError):
        ReferenceSet.from_bytes(orjson.dumps(whole))


def test_a_time_for_each_row(reference: ReferenceSet) -> None:
    with pytest.raises(MonitorError, match="2 times for 3 rows; give one for each"):
        reference.with_blocks({}, np.zeros(3), np.zeros(2, np.int64))


def test_categories_that_one_day_alone_holds_are_unseen_in_it() -> None:
    """Ids of a session are known in training, and never again: that is no news of a later day."""
    number = np.repeat(np.arange(20), 50)
    sessions = np.array([f"{day}/{row % 5}" for row, day in enumerate(number)], object)
    sessions[::10] = None
    columns = {"session": sessions, "city": np.array(["a", "b"] * 500, object)}
    scores = np.zeros(1_000)
    built = ReferenceSet.build(columns, scores).with_blocks(columns, scores, number * DAY_S * 10**6)
    assert built.blocks is not None
    assert (built.blocks.features["session"][:, -2:] == [45, 5]).all()
    assert not built.blocks.features["city"][:, -2:].any()


def test_days_made_of_hours_may_lack_those_without_a_row() -> None:
    """At night nobody flies; a day with half of its hours is no day."""
    hours = np.array([d * 24 + h for d in range(8) for h in range(6, 24) if (d, h // 15) != (5, 1)])
    times = np.repeat(hours, 3) * 3_600_000_000
    columns, scores = {"x": np.zeros(len(times))}, np.zeros(len(times))
    built = ReferenceSet.build(columns, scores).with_blocks(columns, scores, times, 3_600)
    assert built.blocks is not None
    days = built.blocks.without_ends().merged(DAY_S)
    assert days is not None
    assert (days.starts_s // DAY_S).tolist() == [0, 1, 2, 3, 4, 6, 7]
