"""Requests that share their facts share a line's first part; those that differ never do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from consistency.features import FeatureBatch
from consistency.log.lines.line import opening
from consistency.log.lines.openings import Openings, shared_facts
from consistency.schema import FeatureSchema
from consistency.scored import Outcome, Payload, ScoredRequest
from tests.fixtures.scored import BODY, INFO, make_request

BATCH = FeatureBatch(FeatureSchema.float64(("x",)), 1, np.array([[1.5]], order="F"))


def features(name: str) -> FeatureBatch:
    return FeatureBatch(FeatureSchema.float64((name,)), 1, np.array([[1.5]], order="F"))


# Each differs from the others in a fact that decides on the first part.
CHANGES: list[dict[str, Any]] = [
    {},
    {"servable": replace(INFO, version=2)},
    {"servable": replace(INFO, bundle_digest="another")},
    {"label": "canary"},
    {"payload": Payload(BODY, "tione/2", "application/json")},
    {"payload": Payload(BODY, "tione/1", "text/plain")},
    {"instance": "grpc://a:1"},
    {"signature": "classify"},
    {"snapshots": {"weather": "one"}},
    {"snapshots": {"weather": "two"}},
    {"outputs": {"score": np.array([0.25], dtype=np.float32)}},
    {"outputs": {"other": np.array([0.25])}},
    {"outputs": None},
    {"features": features("y")},
    {"features": None},
    {"outcome": Outcome.TIMEOUT, "message": "late"},
    {"message": "said all the same"},
    {"outcome": Outcome.DATA_ERROR, "refused_by": "payload", "scores": None, "outputs": None},
]


def requests() -> list[ScoredRequest]:
    return [make_request(f"r-{i}", **{"features": BATCH} | c) for i, c in enumerate(CHANGES)]


def test_the_same_facts_are_one_object_whoever_came_in_between() -> None:
    openings, one, other = Openings(), make_request("r-1", features=BATCH), requests()[3]
    first = openings.of(one, "utf-8")
    assert openings.of(replace(one, request_id="r-2", ingest_time_us=1), "utf-8") is first
    openings.of(other, "utf-8")
    assert openings.of(one, "utf-8") is first
    # as a server makes it: equal, and not the same object
    again = replace(one, payload=Payload(BODY, "tione/1", b"application/json".decode()))
    assert openings.of(again, "utf-8") is first


def test_a_request_gets_what_its_own_facts_make_whichever_came_before_it() -> None:
    alone = [opening(shared_facts(r, "utf-8")).text for r in requests()]
    assert len(set(alone)) == 14  # what went wrong is a request's own, and so are names of outputs
    for before in requests():
        openings = Openings()
        for request, expected in zip(requests(), alone, strict=True):
            openings.of(before, "utf-8")
            assert openings.of(request, "utf-8").text == expected


def test_how_the_payload_stands_in_the_line_is_one_of_the_facts() -> None:
    openings, request = Openings(), make_request()
    assert openings.of(request, "utf-8").text != openings.of(request, "base64").text


def test_a_new_schema_is_not_taken_for_one_whose_memory_it_got() -> None:
    openings = Openings()
    for i in range(600):  # more than are remembered, each dropped before the next is made
        first = openings.of(make_request(features=features(f"x{i}")), "utf-8")
        assert b'"feature_names":["x%d"]' % i in first.text
