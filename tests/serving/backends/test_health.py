"""Tables of ejection and return; times are given."""

from __future__ import annotations

import pytest

from serving.backends.health import Health, HealthPolicy

POLICY = HealthPolicy(timeouts_in_row=3, first_pause_seconds=1.0, longest_pause_seconds=5.0)


def test_a_lost_connection_ejects_at_once() -> None:
    health = Health().lost(10.0, "refused", POLICY)
    assert health.is_ejected
    assert health.reason == "refused"
    assert [health.may_be_tried(t) for t in (10.0, 10.9, 11.0)] == [False, False, True]


def test_a_second_loss_does_not_put_the_trial_off() -> None:
    health = Health().lost(10.0, "refused", POLICY)
    assert health.lost(10.5, "again", POLICY) is health


@pytest.mark.parametrize(
    ("events", "is_ejected"),
    [("t", False), ("tt", False), ("ttt", True), ("tatt", False), ("ttatt", False), ("attt", True)],
)
def test_only_timeouts_in_a_row_eject(events: str, is_ejected: bool) -> None:
    health = Health()
    for event in events:
        health = health.answered() if event == "a" else health.timed_out(0.0, POLICY)
    assert health.is_ejected is is_ejected


def test_an_answer_to_an_old_request_brings_nobody_back() -> None:
    assert Health().lost(0.0, "refused", POLICY).answered().is_ejected


def test_each_failed_trial_doubles_the_pause_to_a_bound() -> None:
    health, now, pauses = Health().lost(0.0, "refused", POLICY), 0.0, []
    for _ in range(5):
        now = health.trial_at
        health = health.failed_trial(now, "refused", POLICY)
        pauses.append(health.trial_at - now)
    assert pauses == [2.0, 4.0, 5.0, 5.0, 5.0]


def test_who_returned_begins_anew() -> None:
    health = Health().lost(0.0, "refused", POLICY).failed_trial(1.0, "refused", POLICY).returned()
    assert health == Health()
    assert health.lost(9.0, "refused", POLICY).trial_at == 10.0
