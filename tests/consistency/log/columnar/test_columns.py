from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from consistency.errors import ReplayError
from consistency.features import FeatureBatch, feature_batch
from consistency.log.columnar.columns import LoggedPart, LoggedRows
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.schema import FeatureSchema, FeatureType
from tests.fixtures.scored import make_request
from tests.fixtures.strategies import FLOATS, FLOATS32, columns

KINDS = tuple(FeatureType)
SCHEMA = FeatureSchema((*(f"{kind}_feature" for kind in KINDS), "last"), (*KINDS, KINDS[0]))


def logged(**changes: Any) -> LoggedRequest:
    return decode_line(encode_line(make_request(**changes))[:-1])


@st.composite
def requests(draw: st.DrawFn, request_id: str) -> LoggedRequest:
    rows = draw(st.integers(1, 4))
    pairs = zip(SCHEMA.names, SCHEMA.types, strict=True)
    features = feature_batch(SCHEMA, {name: draw(columns(kind, rows)) for name, kind in pairs}, {})
    outputs = {
        "p": draw(hnp.arrays(np.float32, (rows, 3), elements=FLOATS32)),
        "n": draw(hnp.arrays(np.int64, rows)),
    }
    scores = draw(hnp.arrays(np.float64, (rows, 2), elements=FLOATS))
    return logged(
        request_id=request_id, rows=rows, features=features, outputs=outputs, scores=scores
    )


LOGS = st.integers(1, 5).flatmap(lambda n: st.tuples(*(requests(f"r-{i}") for i in range(n))))


def stacked(log: Any) -> LoggedPart:
    rows = LoggedRows(SCHEMA)
    for request in log:
        rows.add(request)
    return rows.part()


def same(a: Any, b: Any) -> bool:
    """Equal dtypes, shapes and bits; any NaN is as good as another."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == object:
        return bool(a.tolist() == b.tolist())
    nan = np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, np.bool_)
    return bool(np.where(nan, 0, a).tobytes() == np.where(nan, 0, b).tobytes())


@settings(max_examples=40)
@given(LOGS)
def test_requests_side_by_side_hold_what_each_holds_alone(log: tuple[LoggedRequest, ...]) -> None:
    part = stacked(log)
    assert part.features is not None
    assert part.scores is not None
    batches: list[FeatureBatch] = [r.features for r in log if r.features is not None]
    for name in SCHEMA.names:
        assert same(part.features.column(name), np.concatenate([b.column(name) for b in batches]))
    for name in ("p", "n"):
        alone = [r.outputs[name] for r in log if r.outputs is not None]
        assert same(part.outputs[name], np.concatenate(alone))
    assert same(part.scores, np.concatenate([r.scores for r in log if r.scores is not None]))


@settings(max_examples=40)
@given(LOGS)
def test_every_row_knows_its_request(log: tuple[LoggedRequest, ...]) -> None:
    origin = stacked(log).origin
    wanted = [(r.request_id, i) for r in log for i in range(r.rows)]
    assert [origin.of(position) for position in range(len(wanted))] == wanted


@settings(max_examples=40)
@given(LOGS, st.data())
def test_some_requests_of_a_part_are_the_part_of_some_requests(
    log: tuple[LoggedRequest, ...], data: st.DataObject
) -> None:
    kept = sorted(data.draw(st.sets(st.integers(0, len(log) - 1), min_size=1)))
    found, wanted = stacked(log).only(kept), stacked([log[i] for i in kept])
    assert list(found.origin.request_ids) == list(wanted.origin.request_ids)
    assert found.features is not None
    assert wanted.features is not None
    for name in SCHEMA.names:
        assert same(found.features.column(name), wanted.features.column(name))
    assert same(found.outputs["p"], wanted.outputs["p"])
    assert found.scores is not None
    assert wanted.scores is not None
    assert same(found.scores, wanted.scores)


@settings(max_examples=40)
@given(LOGS, st.integers(1, 9))
def test_batches_cover_every_row_once_in_order(
    log: tuple[LoggedRequest, ...], batch_rows: int
) -> None:
    origin = stacked(log).origin
    rows = sum(origin.sizes)
    for plan in (batch_rows, None):
        slices = origin.slices(plan)
        assert [i for part in slices for i in range(part.start, part.stop)] == list(range(rows))
    assert [s.stop - s.start for s in origin.slices(None)] == list(origin.sizes)
    assert all(s.stop - s.start <= batch_rows for s in origin.slices(batch_rows))


def test_features_in_another_order_are_put_in_order() -> None:
    schema = FeatureSchema.float64(("a", "b"))
    other = FeatureSchema.float64(("b", "a"))
    rows = LoggedRows(schema)
    for names, values in ((schema, [[1.0, 2.0]]), (other, [[4.0, 3.0]])):
        batch = FeatureBatch(names, 1, np.asfortranarray(values))
        rows.add(logged(features=batch))
    features = rows.part().features
    assert features is not None
    assert features.numeric.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("names", [("x",), ("y", "z"), ("x", "y", "z")])
def test_other_features_than_the_servables_are_refused(names: tuple[str, ...]) -> None:
    rows = LoggedRows(FeatureSchema.float64(("x", "y")))
    batch = FeatureBatch(FeatureSchema.float64(names), 1, np.zeros((1, len(names)), order="F"))
    with pytest.raises(ReplayError, match="replay with the bundle that served it"):
        rows.add(logged(features=batch))


def test_one_model_version_cannot_answer_in_two_forms() -> None:
    rows = LoggedRows(FeatureSchema.float64(("x",)))
    rows.add(logged(outputs={"p": np.zeros(1)}))
    for outputs in ({"q": np.zeros(1)}, {"p": np.zeros(1, np.float32)}, {}):
        with pytest.raises(ReplayError, match="cannot answer in two forms"):
            rows.add(logged(outputs=outputs))
