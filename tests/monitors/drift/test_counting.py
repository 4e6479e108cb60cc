"""Counting requests by window: exact, mergeable, whatever the order."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from consistency.features import FeatureBatch, FeatureStatus
from consistency.log import LoggedRequest
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome
from monitors.drift import counting
from monitors.drift.counting import WindowCounter, WindowCounts
from monitors.drift.windows import TimeBasis, WindowLength
from monitors.errors import MonitorError
from monitors.reference import CategoryReference, NumericReference, ReferenceSet
from tests.fixtures.scored import make_request

DAY_US = 86_400_000_000
SCHEMA = FeatureSchema(("x", "city"), (FeatureType.FLOAT64, FeatureType.STRING))
REFERENCE = ReferenceSet(
    {
        "x": NumericReference(np.array([0.0, 10.0]), np.array([0, 0, 9, 0, 0, 1])),
        "city": CategoryReference(("Bonn",), frozenset({"Ulm"}), np.array([8, 2, 0, 0])),
    },
    (NumericReference(np.array([0.0, 0.5, 1.0]), np.array([0, 0, 5, 5, 0, 0, 0])),),
)


def logged(
    xs: list[float], cities: list[str | None], scores: list[float], **changes: Any
) -> LoggedRequest:
    status = changes.pop("status", {})
    cities_column = np.array(cities, object)
    matrix = np.array(xs).reshape(-1, 1)
    batch = FeatureBatch(SCHEMA, len(xs), matrix, {"city": cities_column}, status)
    request = make_request(
        features=batch, rows=len(xs), scores=np.array(scores), outputs=None, **changes
    )
    return decode_line(encode_line(request).rstrip(b"\n"))


def counted(*requests: LoggedRequest, by: TimeBasis = TimeBasis.EVENT) -> dict[str, WindowCounts]:
    counter = WindowCounter(REFERENCE, WindowLength.parse("1d"), by)
    for request in requests:
        counter.take(request)
    return {window.label: counts for window, counts in counter.windows().items()}


def many(requests: int, rows: int = 7, seed: int = 1) -> list[LoggedRequest]:
    rng = np.random.default_rng(seed)
    return [
        logged(
            rng.choice([-1.0, 1.0, 5.0, 12.0, np.nan, np.inf], rows).tolist(),
            rng.choice(np.array(["Bonn", "Ulm", "Kiel", None], object), rows).tolist(),
            rng.random(rows).tolist(),
            event_time_us=int(rng.integers(0, 4 * DAY_US)),
            status={"x": rng.choice([0, int(FeatureStatus.UNSEEN)], rows).astype(np.uint8)},
        )
        for _ in range(requests)
    ]


def test_a_tiny_log_by_hand() -> None:
    found = counted(
        logged([1.0, 2.0, np.nan], ["Bonn", "Kiel", None], [0.1, 0.2, 0.7], event_time_us=5),
        logged([-3.0], ["Ulm"], [0.9], event_time_us=DAY_US - 1),
        logged([99.0], ["Bonn"], [np.nan], event_time_us=DAY_US),
    )
    assert list(found) == ["1970-01-01", "1970-01-02"]
    first = found["1970-01-01"]
    assert (first.requests, first.rows, first.refused, first.untimed) == (2, 4, 0, 0)
    assert first.features["x"].tolist() == [0, 1, 2, 0, 0, 1]
    assert first.features["city"].tolist() == [1, 1, 1, 1]
    assert first.scores[0].tolist() == [0, 0, 2, 2, 0, 0, 0]
    assert found["1970-01-02"].features["x"].tolist() == [0, 0, 0, 1, 0, 0]
    assert found["1970-01-02"].scores[0].tolist() == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("waiting_rows", [1, 50, 10**9])
def test_parts_merge_to_what_a_single_pass_counts(
    monkeypatch: pytest.MonkeyPatch, waiting_rows: int
) -> None:
    requests = many(120)
    whole = {w: c.to_json() for w, c in counted(*requests).items()}
    monkeypatch.setattr(counting, "_WAITING_ROWS", waiting_rows)
    first, second = counted(*requests[:31]), counted(*reversed(requests[31:]))
    for window, counts in second.items():
        first.setdefault(window, WindowCounts()).merge(counts)
    assert {w: c.to_json() for w, c in sorted(first.items())} == whole
    assert sum(c["rows"] for c in whole.values()) == 120 * 7


def test_counts_survive_json() -> None:
    for counts in counted(*many(40)).values():
        text = orjson.dumps(counts.to_json())
        assert orjson.dumps(WindowCounts.from_json(orjson.loads(text)).to_json()) == text


def test_the_counts_of_a_feature_are_few_bytes() -> None:
    (counts, *_) = counted(*many(40)).values()
    for held in counts.features.values():
        assert len(orjson.dumps(held.tolist())) <= 200


def test_refused_requests_are_counted_apart() -> None:
    refused = make_request(
        outcome=Outcome.DATA_ERROR, features=None, outputs=None, scores=None, event_time_us=1
    )
    found = counted(
        decode_line(encode_line(refused).rstrip(b"\n")),
        logged([1.0], ["Bonn"], [0.1], event_time_us=1),
    )["1970-01-01"]
    assert (found.requests, found.refused, found.rows) == (2, 1, 1)


def test_a_window_goes_by_event_time_or_by_ingest_time() -> None:
    late = logged([1.0], ["Bonn"], [0.1], event_time_us=0, ingest_time_us=2 * DAY_US)
    untold = logged([1.0], ["Bonn"], [0.1], ingest_time_us=2 * DAY_US)
    by_event = counted(late, untold)
    assert {w: c.untimed for w, c in by_event.items()} == {"1970-01-01": 0, "1970-01-03": 1}
    by_ingest = counted(late, untold, by=TimeBasis.INGEST)
    assert {w: (c.requests, c.untimed) for w, c in by_ingest.items()} == {"1970-01-03": (2, 0)}


def test_rows_with_unseen_status_are_counted_by_feature() -> None:
    status = {"x": np.array([3, 0, 3], np.uint8), "city": np.array([0, 1, 0], np.uint8)}
    found = counted(
        logged(
            [np.nan, 1.0, np.nan], ["Bonn", None, "Ulm"], [0.1, 0.1, 0.1],
            event_time_us=1, status=status,
        )
    )  # fmt: skip
    assert found["1970-01-01"].unseen == {"x": 2}


def test_a_feature_that_the_reference_lacks_is_an_error() -> None:
    counter = WindowCounter(REFERENCE, WindowLength.parse("1d"), TimeBasis.EVENT)
    plain = make_request(event_time_us=1)
    batch = FeatureBatch(FeatureSchema.float64(("altitude",)), 1, np.array([[1.0]]))
    odd = make_request(event_time_us=1, features=batch)
    counter.take(decode_line(encode_line(plain).rstrip(b"\n")))
    assert len(counter.windows()) == 1
    counter.take(decode_line(encode_line(odd).rstrip(b"\n")))
    with pytest.raises(MonitorError, match="'altitude' is not in the reference"):
        counter.windows()
