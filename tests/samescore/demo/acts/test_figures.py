"""What the demo reads from a log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from consistency.log import LoggedRequest
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.protocols import Damage
from consistency.scored import Outcome, Payload
from monitors.reference import ReferenceSet
from samescore.demo.acts.figures import LogFigures, LogPass, feature_psi, score_psi
from tests.fixtures.scored import make_request

GRID = np.linspace(0.0, 1.0, 1_000)
REFERENCE = ReferenceSet.build({"x": GRID * 10}, GRID)


def logged(request_id: str, **changes: Any) -> LoggedRequest:
    return decode_line(encode_line(make_request(request_id, **changes))[:-1])


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def walked(*items: LoggedRequest | Damage, timed: tuple[str, ...] = ()) -> LogFigures:
    return LogPass(timed, "m", REFERENCE).walk(items)


def test_a_month_is_that_of_the_airports_clock() -> None:
    # 2 a.m. UTC on the first of August is still July in New York.
    figures = walked(
        logged("a", event_time_us=at("2013-08-01T02:00:00")),
        logged("b", event_time_us=at("2013-08-01T05:00:00")),
    )
    assert figures.months() == ["2013-07", "2013-08"]
    assert figures.scores_of("m", "2013-07").tolist() == [0.25]
    assert figures.scores_of("m", "2013-09").tolist() == []


def test_only_the_chosen_requests_are_timed() -> None:
    figures = walked(logged("a"), logged("b"), timed=("b",))
    assert figures.latency_ns["m"]["total"] == [21]
    assert figures.latency_ns["m"]["backend"] == [5]


def test_a_payload_that_two_snapshots_scored_tells_how_far_the_score_moved() -> None:
    figures = walked(
        logged("a", snapshots={"weather": "s1"}),
        logged("b", snapshots={"weather": "s2"}, scores=np.array([0.75])),
        logged("c", snapshots={"weather": "s2"}, payload=Payload(b"other", "tione/1", "")),
    )
    assert figures.changed_with_snapshot() == [0.5]
    assert dict(figures.snapshot_rows) == {"s1": 1, "s2": 2}


def test_a_refused_request_has_a_reason_and_no_score() -> None:
    refused = logged(
        "a", outcome=Outcome.DATA_ERROR, message="bad", scores=None, outputs=None, features=None
    )
    figures = walked(refused, Damage("segment", 3, "crc mismatch", 10))
    assert dict(figures.refusals) == {"bad": 1}
    assert figures.scores == {}


def test_features_are_counted_in_the_frozen_buckets_of_each_month() -> None:
    july = [logged(f"j{i}", event_time_us=at("2013-07-09T12:00:00")) for i in range(600)]
    figures = walked(*july, logged("a", event_time_us=at("2013-08-09T12:00:00")))
    assert figures.feature_counts["2013-07"]["x"].sum() == 600
    assert figures.feature_counts["2013-08"]["x"].sum() == 1


def test_the_psi_of_the_training_scores_is_zero_and_of_moved_ones_is_not() -> None:
    table = score_psi(REFERENCE, {"2013-08": [GRID / 2], "2013-07": [GRID[::2], GRID[1::2]]})
    assert list(table) == ["2013-07", "2013-08"]
    assert table["2013-07"] == pytest.approx(0.0, abs=1e-12)
    assert table["2013-08"] > 1.0


def test_the_feature_that_moved_furthest_comes_first() -> None:
    both = ReferenceSet.build({"still": GRID, "moved": GRID}, GRID)
    counts = both.counts({"still": GRID, "moved": GRID + 0.4})
    table = feature_psi(both, {"2013-07": counts})
    assert list(table) == ["moved", "still"]
    assert table["still"]["2013-07"] == pytest.approx(0.0, abs=1e-12)
