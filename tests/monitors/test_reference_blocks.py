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
