"""Packed states: any split of a log, in any order, is the single pass, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consistency.features import FeatureStatus, feature_batch
from consistency.log import LoggedRequest
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome
from monitors.drift.counting import WindowCounter, WindowCounts
from monitors.drift.state import CountsPacker, integers, merged, packed_feature
from monitors.drift.windows import TimeBasis, Window, WindowLength
from monitors.errors import MonitorError
from monitors.reference import ReferenceSet
from tests.fixtures.scored import make_request
from tests.fixtures.strategies import FLOATS, columns

HOUR_US = 3_600_000_000
LENGTH = WindowLength.parse("1h")
SCHEMA = FeatureSchema(
    (*(kind.value for kind in FeatureType), "essay"), (*FeatureType, FeatureType.STRING)
)  # a feature of each type, named as the type, and long texts
LONG = st.sampled_from(["", "ä" * 70_000, "\U0001f6eb" * 999, "essay 7"]) | st.none()


def training(rows: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    tokens = np.empty(rows, object)
    tokens[:] = [["a", "b"][: i % 3] for i in range(rows)]
    return {
        "float64": rng.normal(size=rows),
        "float32": rng.normal(size=rows).astype(np.float32),
        "int64": rng.integers(0, 9, rows),
        "bool": rng.random(rows) < 0.1,
        "string": np.array(["", "a", "b", None] * (rows // 4), object),
        "tokens": tokens,
        "essay": np.array([f"essay {i}" for i in range(rows)], object),
    }


REFERENCE = ReferenceSet.build(training(), np.random.default_rng(4).random((400, 2)))
PACKER = CountsPacker(REFERENCE)


def column(kind: str, rows: int) -> st.SearchStrategy[Any]:
    if kind == "essay":
        texts = st.lists(LONG, min_size=rows, max_size=rows)
        return texts.map(lambda held: np.array(held, object))
    return columns(FeatureType(kind), rows)


@st.composite
def requests(draw: st.DrawFn) -> LoggedRequest:
    time_us = draw(st.none() | st.integers(-HOUR_US, 2 * HOUR_US))
    if draw(st.integers(0, 5)) == 0:
        return logged(outcome=Outcome.DATA_ERROR, features=None, outputs=None, scores=None,
                      event_time_us=time_us)  # fmt: skip
    rows = draw(st.integers(1, 4))
    # what redaction leaves: another set of features in each request, or none
    names = draw(st.lists(st.sampled_from(SCHEMA.names), unique=True))
    held = [n for n in SCHEMA.names if n in names]
    codes = st.lists(st.sampled_from(list(FeatureStatus)), min_size=rows, max_size=rows)
    status = {n: np.array(draw(codes), np.uint8) for n in held if draw(st.booleans())}
    kinds = dict(zip(SCHEMA.names, SCHEMA.types, strict=True))
    schema = FeatureSchema(tuple(held), tuple(kinds[n] for n in held))
    batch = (
        feature_batch(schema, {n: draw(column(n, rows)) for n in held}, status) if held else None
    )
    flat = draw(st.lists(FLOATS, min_size=2 * rows, max_size=2 * rows))
    scores = np.array(flat).reshape(rows, 2)
    return logged(rows=rows, features=batch, outputs=None, scores=scores, event_time_us=time_us)


def logged(**changes: Any) -> LoggedRequest:
    return decode_line(encode_line(make_request(**changes)).rstrip(b"\n"))


def counted(part: Iterable[LoggedRequest]) -> dict[Window, WindowCounts]:
    counter = WindowCounter(REFERENCE, LENGTH, TimeBasis.EVENT)
    for request in part:
        counter.take(request)
    return counter.windows()


def together(parts: Sequence[Sequence[LoggedRequest]]) -> dict[Window, WindowCounts]:
    states: dict[Window, list[bytes]] = {}
    for part in parts:
        for window, counts in counted(part).items():
            states.setdefault(window, []).append(PACKER.pack(counts))
    names = tuple(REFERENCE.measures)
    return {w: merged(PACKER, held).in_order(names) for w, held in sorted(states.items())}


def text(windows: dict[Window, WindowCounts]) -> bytes:
    return orjson.dumps({str(window): counts.to_json() for window, counts in windows.items()})


@given(st.lists(requests(), max_size=9), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_split_in_any_order_is_the_single_pass(
    log: list[LoggedRequest], parts: int, rng: random.Random
) -> None:
    single = text(counted(log))
    rng.shuffle(log)
    split: list[list[LoggedRequest]] = [[] for _ in range(parts)]
    for request in log:
        rng.choice(split).append(request)
    assert text(together(split)) == single


@given(st.lists(requests(), max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_packed_state_is_the_state(log: list[LoggedRequest]) -> None:
    for counts in counted(log).values():
        data = PACKER.pack(counts)
        held = PACKER.unpack(data)
        assert orjson.dumps(held.to_json()) == orjson.dumps(counts.to_json())
        assert PACKER.pack(held) == data
        assert held.in_order(REFERENCE.measures).to_json() == held.to_json()


def test_what_is_hard_to_keep_is_counted_apart() -> None:
    """NaN, both infinities and both zeros; absent, null, unseen and empty are not one thing."""
    names = ("float64", "string", "essay")
    schema = FeatureSchema(names, (FeatureType.FLOAT64, *(FeatureType.STRING,) * 2))
    values = {
        "float64": np.array([np.nan, np.inf, -np.inf, -0.0, 0.0]),
        "string": np.array([None, "", "a", "never seen", "b"], object),
        "essay": np.array(["ä" * 70_000, None, "", "essay 1", "essay 399"], object),
    }
    status = {"string": np.array([0, 0, 0, int(FeatureStatus.UNSEEN), 0], np.uint8)}
    scores = np.array([[np.nan, np.inf], [-np.inf, 0.0], [-0.0, 0.5], [0.5, 0.5], [1e308, 0.5]])
    batch = feature_batch(schema, values, status)
    request = logged(rows=5, features=batch, outputs=None, scores=scores, event_time_us=1)
    (found,) = together([[request], [request], []]).values()
    numbers = found.features["float64"]
    assert (numbers[0], numbers[-2], numbers[-1]) == (2, 2, 2)
    assert numbers.max() == 4, "both zeros lie in one bucket"
    assert found.features["string"].tolist() == [2, 2, 2, 0, 2, 2]
    assert found.unseen == {"string": 2}
    assert "essay[length]" in found.features, "a long text counts by its length, and as unseen"
    assert found.features["essay[length]"].sum() == 10
    assert [int(each.sum()) for each in found.scores] == [10, 10]
    assert list(found.features) == ["float64", "string", "essay", "essay[length]"]


def test_a_feature_takes_at_most_200_bytes_however_many_rows() -> None:
    """What counts: a feature's buckets and its unseen rows; names and the header do not."""
    rng = np.random.default_rng(1)
    sample = {
        "plain": rng.normal(size=5_000),
        "point_masses": np.where(
            rng.random(5_000) < 0.5, rng.integers(0, 4, 5_000), rng.random(5_000)
        ),
        "integers": rng.integers(0, 1_000, 5_000),
        "categories": np.array([f"c{i % 40}" for i in range(5_000)], object),
    }
    reference = ReferenceSet.build(sample, rng.random(5_000))
    sizes = {n: len(r.training_counts) for n, r in reference.measures.items()}
    assert max(sizes.values()) >= 23, "as many buckets as there can be, or nearly"
    largest = 2**49 - 1
    for size in sizes.values():
        assert len(packed_feature(np.full(size, largest), largest)) <= 200
    assert len(packed_feature(np.full(25, largest), largest)) == 26 * 7
    counts = WindowCounts(10**6, 0, 0, 10**6, {}, {}, reference.score_counts(rng.random(10**5)))
    counts.features = {n: np.full(size, 40_000) for n, size in sizes.items()}
    whole = len(CountsPacker(reference).pack(counts))
    assert whole <= 100 * (len(sizes) + 1), "of a million rows, header and scores included"


def test_every_field_of_the_counts_travels() -> None:
    """A field that is added to the counts and not to their packing would be lost on the way."""
    assert WindowCounts.__slots__ == (
        "requests", "refused", "untimed", "rows", "features", "unseen", "scores",
    )  # fmt: skip


def test_counts_of_other_buckets_do_not_pack() -> None:
    counts = WindowCounts(1, 0, 0, 1, {"float64": np.zeros(3, np.int64)})
    with pytest.raises(MonitorError, match="buckets of another reference"):
        PACKER.pack(counts)
    with pytest.raises(MonitorError, match="buckets of another reference"):
        PACKER.pack(WindowCounts(scores=(np.zeros(3, np.int64),)))


def test_bytes_that_are_no_state_are_refused() -> None:
    batch = feature_batch(FeatureSchema.float64(("float64",)), {"float64": np.array([0.5])}, {})
    request = logged(features=batch, outputs=None, scores=np.array([[0.1, 0.2]]), event_time_us=1)
    (counts,) = counted([request]).values()
    data = PACKER.pack(counts)
    huge = data[:1] + integers([1, 0, 0, 1]) + data[5:7] + integers([2**70] * 60)
    for bad in (b"", b"\x07" + data[1:], data[:-1], data + b"\0", data[:3], huge):
        with pytest.raises(MonitorError, match="no packed state of this reference"):
            PACKER.unpack(bad)
