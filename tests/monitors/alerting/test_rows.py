"""The rows behind an alert are those that its counters counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consistency.features import FeatureBatch, FeatureStatus
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import GateState, Outcome, ScoredRequest, StageLatency
from monitors import metrics
from monitors.alerting.rows import RowCondition, RowMark
from monitors.online.cells import CellStore
from monitors.online.latency import RequestMetrics
from monitors.online.observer import RowMonitor
from monitors.online.window import WindowSettings
from monitors.reference import ReferenceSet
from tests.fixtures.scored import INFO, make_request

SCHEMA = FeatureSchema(("x", "y", "city"), (*[FeatureType.FLOAT64] * 2, FeatureType.STRING))
MARKS = {
    RowMark.MISSING: metrics.FEATURE_MISSING,
    RowMark.UNSEEN: metrics.FEATURE_UNSEEN,
    RowMark.OUT_OF_RANGE: metrics.FEATURE_OUT_OF_RANGE,
}


def logged(request: ScoredRequest) -> LoggedRequest:
    """Return a request as a reader of the log gets it."""
    return decode_line(encode_line(request)[:-1])


def plain(**changes: Any) -> LoggedRequest:
    return logged(make_request(**changes))


def batch(rng: np.random.Generator, rows: int) -> FeatureBatch:
    """Return rows with every kind of value that a monitor tells apart."""
    numbers = rng.choice([0.0, 3.5, 99.0, -99.0, np.nan, np.inf, -np.inf], (rows, 2))
    cities = rng.choice(np.array(["Ulm", "Bonn", "Atlantis", None], object), rows)
    codes = rng.choice([*FeatureStatus], rows).astype(np.uint8)
    return FeatureBatch(SCHEMA, rows, np.asfortranarray(numbers), {"city": cities}, {"y": codes})


def reference() -> ReferenceSet:
    values = np.linspace(0, 10, 50)
    cities = np.array(["Ulm", "Bonn"] * 25, object)
    return ReferenceSet.build({"x": values, "y": values, "city": cities}, np.linspace(0, 1, 50))


def test_marked_rows_are_those_that_the_monitor_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    frozen = reference()
    monitor = RowMonitor(CellStore(tmp_path), window=WindowSettings(), servables=lambda: [INFO])
    monitor.prepare(INFO, SCHEMA.names, frozen.to_bytes())
    requests = [
        make_request(f"r{i}", rows=n, features=batch(rng, n), scores=np.full(n, 0.5))
        for i, n in enumerate(rng.integers(1, 9, 200).tolist())
    ]
    for request in requests:
        monitor.observe(request)
    families = {f.name: f for f in monitor.collect()}
    for mark, metric in MARKS.items():
        family = families[metric.name.removesuffix("_total")]
        counted = {s.labels["feature"]: s.value for s in family.samples if s.name == metric.name}
        condition = RowCondition(mark=mark)
        found = {
            name: sum(len(condition.rows_of(logged(r), name, frozen) or ()) for r in requests)
            for name in counted
        }
        assert found == counted, mark
        assert sum(found.values()) > 100 or mark is RowMark.UNSEEN


def test_slow_is_what_the_histogram_counts_beyond_its_bucket(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    requests = RequestMetrics(store, servables=lambda: [INFO])
    bound_ns = 200_000_000
    times = [bound_ns - 1, bound_ns, bound_ns + 1, 5, 10 * bound_ns]
    sent = [make_request(f"r{t}", latency=StageLatency(total_ns=t)) for t in times]
    for request in sent:
        requests.observe(request)
    (family,) = [f for f in requests.collect() if f.name == metrics.STAGE_LATENCY.name]
    total = [s for s in family.samples if s.labels["stage"] == "total"]
    in_time = next(s.value for s in total if s.labels.get("le") == "0.2")
    slow = RowCondition(slower_than_seconds=0.2)
    behind = [r.request_id for r in sent if slow.rows_of(logged(r)) is not None]
    assert len(behind) == len(times) - in_time == 2
    assert behind == [f"r{bound_ns + 1}", f"r{10 * bound_ns}"]


def test_a_condition_on_the_request_has_all_its_rows_or_none() -> None:
    failed = RowCondition(outcomes=(Outcome.BACKEND_ERROR, Outcome.TIMEOUT))
    assert failed.rows_of(plain()) is None
    assert failed.rows_of(plain(outcome=Outcome.TIMEOUT, scores=None)) == (0,)
    undecoded = plain(outcome=Outcome.DATA_ERROR, rows=0, features=None, scores=None, outputs=None)
    assert RowCondition(outcomes=(Outcome.DATA_ERROR,)).rows_of(undecoded) == ()
    unverified = RowCondition(gate=GateState.UNVERIFIED)
    assert unverified.rows_of(plain()) is None


@pytest.mark.parametrize(
    ("scores", "rows"),
    [
        ([0.1, 0.2], None),
        ([np.nan, 0.2], (0,)),
        ([0.1, np.inf], (1,)),
        ([[1, 2], [3, -np.inf]], (1,)),
    ],
)
def test_scores_that_are_no_numbers_are_found(scores: list[Any], rows: tuple[int, ...]) -> None:
    features = FeatureBatch(FeatureSchema.float64(("x",)), 2, np.ones((2, 1), order="F"))
    request = plain(rows=2, features=features, scores=np.array(scores, float))
    assert RowCondition(mark=RowMark.SCORE_NOT_FINITE).rows_of(request) == rows


def test_without_a_reference_only_the_pipeline_can_say_unseen() -> None:
    column = np.array(["Ulm", "Atlantis"], object)
    schema = FeatureSchema(("city",), (FeatureType.STRING,))
    empty = np.empty((2, 0), order="F")
    status = {"city": np.array([FeatureStatus.UNSEEN, 0], np.uint8)}
    told = plain(rows=2, features=FeatureBatch(schema, 2, empty, {"city": column}, status),
                 scores=np.zeros(2))  # fmt: skip
    unseen = RowCondition(mark=RowMark.UNSEEN)
    assert unseen.rows_of(told) == (0,)
    assert unseen.rows_of(told, "city") == (0,)
    assert unseen.rows_of(told, "street") is None
    known = ReferenceSet.build({"city": np.array(["Ulm"], object)}, np.linspace(0, 1, 5))
    assert unseen.rows_of(told, references=known) == (0, 1)


def test_a_request_that_was_refused_has_no_marked_rows() -> None:
    features = FeatureBatch(FeatureSchema.float64(("x",)), 1, np.array([[np.nan]], order="F"))
    missing = RowCondition(mark=RowMark.MISSING)
    assert missing.rows_of(plain(features=features)) == (0,)
    refused = plain(features=features, outcome=Outcome.DATA_ERROR, scores=None, outputs=None)
    assert missing.rows_of(refused) is None


def test_rows_that_break_a_rule_are_the_flagged_ones_and_all_of_a_refused_request() -> None:
    broke = RowCondition(mark=RowMark.BROKE_A_RULE)
    flags = {"city:be_in_set": [0, 2], "age:be_between": [2]}
    flagged = logged(make_request(rows=3, flags=flags))
    assert broke.rows_of(flagged) == (0, 2)
    assert broke.rows_of(flagged, "age:be_between") == (2,)
    assert broke.rows_of(flagged, "age:not_be_null") is None
    assert broke.rows_of(logged(make_request())) is None
    refused = make_request(outcome=Outcome.DATA_ERROR, refused_by="suite", rows=2)
    assert broke.rows_of(logged(refused)) == (0, 1)
