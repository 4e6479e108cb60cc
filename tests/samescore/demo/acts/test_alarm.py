"""From looks at an alert to a verdict; the act's traffic; what is said without Prometheus."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from monitors.alerting.alerts import build_rules
from samescore.demo.acts.alarm import ALERT, NOT_AVAILABLE, RULES
from samescore.demo.acts.alarm_states import AlertState, Look, Timeline, look_at
from samescore.demo.acts.prometheus import find_prometheus, scraping
from samescore.demo.narrator import Narrator
from samescore.demo.run import play_alarm
from samescore.demo.stage import Stage
from samescore.demo.telling.closing import alarm_in_words
from samescore.demo.telling.plots_alarm import alarm_over_time
from samescore.demo.traffic.steady import NEW_AIRLINE, ROWS, steady_bodies, with_new_airline

QUIET, PENDING, FIRING = AlertState


def timeline(*states: AlertState, others: tuple[str, ...] = ()) -> Timeline:
    """One look a second; the fault lasts from 1.5 s to 4.5 s."""
    looks = [Look(float(i), 0.1, state, others) for i, state in enumerate(states)]
    return Timeline("TheAlert", looks, 1.5, 4.5)


def alert(name: str, state: str) -> dict[str, Any]:
    return {"labels": {"alertname": name}, "state": state}


def test_an_alert_that_fires_and_resolves() -> None:
    found = timeline(QUIET, QUIET, PENDING, FIRING, FIRING, FIRING, QUIET, QUIET).to_json()
    assert found == {
        "available": True,
        "alert": "TheAlert",
        "fired": True,
        "resolved": True,
        "seconds_to_fire": 1.5,
        "seconds_to_resolve": 1.5,
        "others": [],
    }


@pytest.mark.parametrize(
    ("states", "fired", "resolved"),
    [
        ((QUIET, QUIET, QUIET), False, False),
        ((QUIET, QUIET, PENDING, QUIET), False, False),
        ((QUIET, QUIET, FIRING, FIRING, FIRING, FIRING), True, False),
        ((QUIET, QUIET, FIRING, FIRING, FIRING, PENDING), True, False),
        ((QUIET, QUIET, FIRING, FIRING, FIRING, QUIET), True, True),
    ],
)
def test_it_is_resolved_only_when_it_was_firing_and_is_quiet(
    states: tuple[AlertState, ...], fired: bool, resolved: bool
) -> None:
    found = timeline(*states).to_json()
    assert (found["fired"], found["resolved"]) == (fired, resolved)
    assert (found["seconds_to_fire"] is not None, found["seconds_to_resolve"] is not None) == (
        fired,
        resolved,
    )


def test_an_alert_that_comes_back_is_resolved_when_it_stays_away() -> None:
    found = timeline(QUIET, QUIET, FIRING, FIRING, FIRING, QUIET, PENDING, QUIET)
    assert found.seconds_to_resolve == 7 - 4.5


def test_an_alert_before_the_fault_has_a_time_below_zero() -> None:
    assert timeline(FIRING, FIRING, FIRING).seconds_to_fire == -1.5


def test_others_that_fired_are_named_once() -> None:
    found = timeline(QUIET, QUIET, others=("B", "A"))
    assert found.to_json()["others"] == ["A", "B"]


def test_of_several_alerts_of_one_name_the_loudest_counts() -> None:
    alerts = [alert(ALERT, "pending"), alert(ALERT, "firing"), alert("Other", "pending")]
    assert look_at(1.0, 0.2, alerts, ALERT) == Look(1.0, 0.2, FIRING)
    alerts = [alert("Other", "firing"), alert("Other", "firing")]
    assert look_at(1.0, None, alerts, ALERT) == Look(1.0, None, QUIET, ("Other",))


def test_the_alert_is_one_of_the_rules() -> None:
    assert ALERT in {rule.name for group in build_rules(RULES) for rule in group.alerts}


RECORDS = [
    {"carrier": "UA", "flight": i, "scheduled_departure": "2013-01-01T10:15:00Z"} for i in range(90)
]


def test_the_steady_traffic_is_the_same_for_the_same_seed() -> None:
    bodies = steady_bodies(RECORDS, 1)
    assert bodies == steady_bodies(RECORDS, 1) != steady_bodies(RECORDS, 2)
    rows = [r for body in bodies for r in orjson.loads(body)["data"]["insts"]]
    assert sorted(r["flight"] for r in rows) == list(range(90))
    assert len(bodies) == -(-90 // ROWS)


def test_the_fault_changes_the_airline_of_every_fifth_flight_and_nothing_else() -> None:
    faulty = with_new_airline(RECORDS)
    assert sum(r["carrier"] == NEW_AIRLINE for r in faulty) == 18
    assert [{**r, "carrier": "UA"} for r in faulty] == RECORDS


def test_without_prometheus_the_act_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    console = Console(file=io.StringIO(), width=300)
    alarm = play_alarm(Stage(tmp_path / "out", tmp_path), Narrator(console, 1))
    said = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert NOT_AVAILABLE in said
    assert alarm_in_words(alarm.to_json()) == ("not shown, Prometheus is not installed", "yellow")
    assert not alarm.to_json()["available"]
    assert alarm.details() == {"reason": NOT_AVAILABLE}


def test_the_plot_says_what_became_of_the_alert() -> None:
    drawn = alarm_over_time(timeline(QUIET, QUIET, PENDING, FIRING, FIRING, QUIET), 0.05)
    assert "fires 1.5 s after the fault began" in drawn.look
    assert "did not resolve" in alarm_over_time(timeline(QUIET, QUIET, FIRING), 0.05).look
    assert "never fired" in alarm_over_time(timeline(QUIET, QUIET), 0.05).look


def test_prometheus_starts_answers_and_leaves_nothing(tmp_path: Path) -> None:
    program = find_prometheus()
    assert program, NOT_AVAILABLE
    with scraping(program, tmp_path, tmp_path / "said", "job", "127.0.0.1:9") as found:
        assert found.alerts() == []
        assert found.largest("vector(1) or vector(2)") == 1.0
        assert found.largest("no_such_metric") is None
        process = found.process
    assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"prometheus.yml", "said"}
