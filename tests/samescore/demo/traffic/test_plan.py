"""The plan of the demo's requests."""

from __future__ import annotations

import orjson
import pytest

from samescore.demo.traffic.plan import (
    FLAWS,
    LARGEST_BATCH,
    Phase,
    Planned,
    body_of,
    evenly,
    plan_requests,
)

MONTHS = [month for month in range(7, 13) for _ in range(2_000)]
RECORD = {
    "carrier": "UA",
    "flight": 1545,
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "distance": 1400.0,
    "scheduled_departure": "2013-07-01T10:15:00Z",
    "scheduled_arrival": 819,
}


@pytest.fixture(scope="module")
def plan() -> list[Planned]:
    return plan_requests(MONTHS, 1_000, seed=1)


def test_exactly_as_many_requests_as_asked_for(plan: list[Planned]) -> None:
    assert len(plan) == 1_000
    assert len(plan_requests(MONTHS, 150, seed=1)) == 150


def test_the_same_seed_gives_the_same_plan(plan: list[Planned]) -> None:
    assert plan_requests(MONTHS, 1_000, seed=1) == plan
    assert plan_requests(MONTHS, 1_000, seed=2) != plan


@pytest.mark.parametrize("phase", [Phase.MIXED, Phase.SINGLE])
def test_a_phase_runs_in_time_order_through_all_months(plan: list[Planned], phase: Phase) -> None:
    flights = [i for p in plan if p.phase is phase for i in p.flights]
    assert flights == sorted(flights)
    assert {MONTHS[i] for i in flights} == set(range(7, 13))


def test_mixed_holds_singles_and_batches_of_one_month(plan: list[Planned]) -> None:
    mixed = [p for p in plan if p.phase is Phase.MIXED]
    sizes = [len(p.flights) for p in mixed]
    assert 0.4 < sizes.count(1) / len(sizes) < 0.6
    assert min(sizes) >= 1
    assert max(sizes) <= LARGEST_BATCH
    assert max(sizes) > LARGEST_BATCH // 2
    assert all(len({MONTHS[i] for i in p.flights}) == 1 for p in mixed)


def test_the_other_phases_send_single_good_records(plan: list[Planned]) -> None:
    others = [p for p in plan if p.phase is not Phase.MIXED]
    assert {p.phase for p in others} == {Phase.PUBLISH, Phase.SINGLE}
    assert all(len(p.flights) == 1 and not p.flaw for p in others)


def test_each_flaw_is_planned_once(plan: list[Planned]) -> None:
    assert sorted(p.flaw for p in plan if p.flaw) == sorted(FLAWS)


def test_a_good_body_holds_the_records_and_the_first_ones_time() -> None:
    later = {**RECORD, "scheduled_departure": "2013-07-01T11:00:00Z"}
    body = orjson.loads(body_of(Planned(Phase.MIXED, (0, 1)), [RECORD, later]))
    assert body == {
        "type": "record",
        "event_time": "2013-07-01T10:15:00Z",
        "data": {"insts": [RECORD, later]},
    }


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_spoilt_body_differs_from_the_good_one(flaw: str) -> None:
    good = body_of(Planned(Phase.MIXED, (0,)), [RECORD])
    assert body_of(Planned(Phase.MIXED, (0,), flaw), [RECORD]) != good
    assert RECORD["distance"] == 1400.0  # the record itself stays as it is


def test_evenly_spaced_indices_repeat_when_there_are_too_few() -> None:
    assert evenly(3, 6) == [0, 0, 1, 1, 2, 2]
