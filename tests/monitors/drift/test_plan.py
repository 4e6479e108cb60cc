"""What a run has to do, from what is known and what the log holds."""

from __future__ import annotations

import pytest

from consistency.errors import ConfigError
from monitors.drift.plan import Known, Plan, Timing, make_plan
from monitors.drift.windows import Window

DAY = 86_400


def day(number: int) -> Window:
    return Window(number * DAY, DAY)


def at(number: float, lateness: float = 1, *, include_open: bool = False) -> Timing:
    return Timing(number * DAY, int(lateness * DAY), include_open)


def settled(requests: int) -> Known:
    return Known(requests, complete=True, settled=True)


def judged(requests: int) -> Known:
    return Known(requests, complete=True, settled=False)


def test_the_first_run_judges_all_that_is_over_in_the_order_of_time() -> None:
    plan = make_plan({}, {day(3): 5, day(1): 7, day(9): 1}, None, at(5))
    assert plan.walk == (day(1), day(3))
    assert plan.fresh == {day(1), day(3)}
    assert plan.waiting == (day(9),)
    assert plan.cursor_s == DAY
    assert make_plan({}, {day(4): 1}, None, at(4.5, include_open=True)).walk == (day(4),)


def test_nothing_new_is_nothing_to_do() -> None:
    known = {day(1): settled(7), day(2): judged(5)}
    plan = make_plan(known, {day(1): 7, day(2): 5}, 3 * DAY, at(3.5))
    assert plan == Plan()


def test_late_rows_are_judged_until_the_window_is_settled_and_counted_after_that() -> None:
    known = {day(1): judged(7), day(2): judged(5)}
    late = make_plan(known, {day(1): 8, day(2): 5}, 3 * DAY, at(2.9))
    assert late.fresh == {day(1)}
    assert late.walk == (day(1), day(2)), "a verdict may hang on the windows before it"
    assert late.cursor_s == DAY
    over = make_plan({day(1): settled(7)}, {day(1): 9}, 2 * DAY, at(3.5))
    assert (over.walk, dict(over.too_late)) == ((), {day(1): 2})


def test_a_last_look_is_taken_after_the_lateness_has_passed() -> None:
    """The job was down: rows of the lateness must not be lost."""
    plan = make_plan({day(1): judged(7)}, {day(1): 9}, 2 * DAY, at(9))
    assert plan.fresh == {day(1)}
    assert plan.settle == (day(1),)


def test_a_longer_lateness_opens_settled_windows_again() -> None:
    plan = make_plan({day(1): settled(7)}, {day(1): 9}, 2 * DAY, at(9, lateness=30))
    assert plan.fresh == {day(1)}
    assert not plan.too_late


def test_a_window_nobody_has_judged_is_too_late_only_behind_the_cursor() -> None:
    known = {day(5): settled(3)}
    behind = make_plan(known, {day(1): 2, day(5): 3}, 6 * DAY, at(9))
    assert (behind.walk, dict(behind.too_late)) == ((), {day(1): 2})
    granted = make_plan(known, {day(4): 2, day(5): 3}, 6 * DAY, at(7, lateness=3))
    assert granted.walk == (day(4), day(5))
    first = make_plan({}, {day(1): 2, day(5): 3}, None, at(9))
    assert first.walk == (day(1), day(5)), "a first run takes whatever the log holds"


def test_a_log_that_has_lost_requests_changes_nothing() -> None:
    plan = make_plan({day(1): judged(7)}, {day(1): 3}, 2 * DAY, at(2.5))
    assert (plan.walk, plan.kept) == ((), (day(1),))


def test_a_run_that_was_stopped_is_continued() -> None:
    known = {day(1): settled(1), day(2): settled(1), day(3): settled(1)}
    requests = {day(n): 1 for n in (1, 2, 3, 4)}
    plan = make_plan(known, requests, 2 * DAY, at(9))
    assert plan.walk == (day(2), day(3), day(4))
    assert plan.fresh == {day(4)}


def test_other_settings_judge_again_from_where_one_says() -> None:
    known = {day(n): settled(1) for n in (1, 2, 3)}
    plan = make_plan(known, {}, 4 * DAY, at(9), restart_s=2 * DAY)
    assert (plan.walk, plan.fresh, plan.cursor_s) == ((day(2), day(3)), frozenset(), 2 * DAY)


def test_an_open_window_is_judged_again_when_it_is_over() -> None:
    known = {day(1): Known(4, complete=False, settled=False)}
    assert make_plan(known, {day(1): 4}, 2 * DAY, at(1.5)).walk == ()
    assert make_plan(known, {day(1): 4}, 2 * DAY, at(2.1)).walk == (day(1),)


def test_a_lateness_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="lateness -1: give 0 seconds or more"):
        Timing(0.0, -1)
