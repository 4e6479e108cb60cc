"""Late requests, judgements that change, and the history that tells of both."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson
import pytest

from tests.fixtures.cli import Ran, mistake, samescore
from tests.fixtures.days import days_into_log, dearer
from tests.fixtures.tiny import Tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def log(tiny: Tiny, tmp_path: Path) -> Path:
    """A day as in training, and a day of higher amounts."""
    days = {"2026-01-01": tiny.records, "2026-01-02": dearer(tiny.records)}
    return days_into_log(tiny, tmp_path / "requests", days)


def drift(log: Path, tiny: Tiny, *more: object) -> Ran:
    return samescore("drift", "run", log, "--bundle", tiny.bundle, *more)


def until(text: str) -> tuple[str, str]:
    return "--until", f"2026-01-{text}Z"


def test_late_requests_change_a_verdict_visibly(log: Path, tiny: Tiny) -> None:
    assert drift(log, tiny, *until("02T00:15")).code == 0
    days_into_log(tiny, log, {"2026-01-01": dearer(tiny.records)})
    ran = drift(log, tiny, *until("02T06:00"))
    assert ran.code == 1
    assert "2026-01-01: the verdict changed from no drift to drift, since more req" in ran.err
    (job,) = samescore("drift", "history", log.parent / "drift", "--json").json
    told = [
        (j["revision"], j["reason"], j["verdict"], j["rows"], j["latest"], j["settled"])
        for j in job["judgements"]
    ]
    assert told == [
        (1, "first", "no_drift", 300, False, False),
        (2, "more_rows", "drift", 600, True, False),
    ]
    table = samescore("drift", "history", log.parent / "drift")
    told_as = ("more rows", "still taken", "2026-01-01")
    assert [words in table.out for words in told_as] == [True] * 3
    assert " 600 " in table.out
    assert "…" not in table.out
    (shown,) = samescore("drift", "show", log.parent / "drift", "--json").json
    assert [(w["rows"], w["verdict"]) for w in shown["windows"]] == [(600, "drift")]


def test_requests_after_the_lateness_are_counted_and_change_nothing(log: Path, tiny: Tiny) -> None:
    first = drift(log, tiny, *until("03T00:00"), "--json")
    assert first.json["too_late"] == {}
    days_into_log(tiny, log, {"2026-01-01": dearer(tiny.records)[:100]})
    for _ in range(2):
        ran = drift(log, tiny, *until("03T01:00"), "--json")
        assert ran.json["too_late"] == {"2026-01-01T00:00:00Z": 2}
        assert [w["rows"] for w in ran.json["windows"]] == [300, 300]
        assert (
            "2 requests came too late to count, after their window was settled: 2026-0" in ran.err
        )
    (job,) = samescore("drift", "history", log.parent / "drift", "--json").json
    assert [(j["too_late"], j["settled"]) for j in job["judgements"]] == [(2, True), (0, False)]
    longer = drift(log, tiny, *until("03T01:00"), "--lateness", "7d", "--json").json
    assert [w["rows"] for w in longer["windows"]] == [400, 300]
    assert longer["too_late"] == {}


def test_rows_of_the_lateness_are_not_lost_when_the_job_was_down(log: Path, tiny: Tiny) -> None:
    drift(log, tiny, *until("02T00:15"))
    days_into_log(tiny, log, {"2026-01-01": tiny.records[:50]})
    value = drift(log, tiny, *until("20T00:00"), "--json").json
    assert [w["rows"] for w in value["windows"]] == [350, 300]
    assert drift(log, tiny, *until("20T00:00"), "--json").json["windows"] == value["windows"]


def test_other_thresholds_are_told_apart_from_other_data(log: Path, tiny: Tiny) -> None:
    drift(log, tiny)
    changed = drift(log, tiny, "--threshold", "1000", "--json").json
    assert set(changed["changes"].values()) == {"changed"}
    assert [r["reason"] for r in changed["revisions"]] == ["settings", "settings"]
    again = drift(log, tiny, "--threshold", "1000", "--json").json
    assert set(again["changes"].values()) == {"unchanged"}
    assert again["revisions"] == changed["revisions"]


def test_a_feature_has_a_trend(log: Path, tiny: Tiny) -> None:
    drift(log, tiny)
    folder = log.parent / "drift"
    (job,) = samescore("drift", "history", folder, "--feature", "amount_centred", "--json").json
    assert [p["drifted"] for p in job["trend"]] == [False, True]
    assert job["trend"][0]["psi"] == 0.0
    table = samescore("drift", "history", folder, "--feature", "amount_centred")
    assert "█" in table.out
    said = mistake("drift", "history", folder, "--feature", "amount")
    assert "nothing called 'amount' was measured; there is age_years" in said
    assert "no judged window of model 'other'" in mistake(
        "drift", "history", folder, "--model", "other"
    )
    assert "drift run, or its --history" in samescore("drift", "history").err


def test_any_url_takes_the_history(log: Path, tiny: Tiny, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    assert drift(log, tiny, "--history", url).code == 1
    assert not (log.parent / "drift" / "history.sqlite").exists()
    (job,) = samescore("drift", "show", "--history", url, "--json").json
    assert [w["verdict"] for w in job["windows"]] == ["no_drift", "drift"]
    with sqlite3.connect(tmp_path / "elsewhere.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM samescore_drift_window").fetchone()
    connection.close()
    assert count == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("history.sqlite", "--history: that is no database URL"),
        ("oracle+oracledb://me:hidden@h/db", "its driver 'oracledb' is not installed"),
        ("nosuch://me:hidden@h/db", "no database of the kind 'nosuch' is known"),
        ("sqlite:////away/from/here/h.db", "unable to open database file"),
        ("sqlite://", "an SQLite database in memory keeps nothing"),
    ],
)
def test_an_unusable_history_is_told_before_the_log_is_read(
    log: Path, tiny: Tiny, url: str, said: str
) -> None:
    told = mistake("drift", "run", log, "--bundle", tiny.bundle, "--history", url)
    assert said in told
    assert "hidden" not in told
    assert "hidden" not in mistake("drift", "show", "--history", url)


def test_times_to_come_and_odd_lateness_are_refused(log: Path, tiny: Tiny) -> None:
    wrong = ("drift", "run", log, "--bundle", tiny.bundle)
    assert "windows to come cannot be judged" in mistake(*wrong, "--until", "2999-01-01")
    assert "lateness 'soon': give 0, or a number" in mistake(*wrong, "--lateness", "soon")


def test_window_files_of_an_earlier_release_are_taken_over(log: Path, tiny: Tiny) -> None:
    """The history is the one truth from then on; the files are read once."""
    drift(log, tiny)
    folder = log.parent / "drift"
    with sqlite3.connect(folder / "history.sqlite") as connection:
        held = connection.execute("SELECT start_s, record FROM samescore_drift_window").fetchall()
    connection.close()
    (folder / "history.sqlite").unlink()
    windows = folder / "tiny/1/1d-event/windows"
    windows.mkdir()
    for start_s, record in held:
        (windows / f"{start_s}.json").write_text(record)
    ran = drift(log, tiny, "--json")
    assert ran.code == 1
    assert set(ran.json["changes"].values()) == {"unchanged"}
    (job,) = samescore("drift", "history", folder, "--json").json
    assert [(j["reason"], j["judged_at"]) for j in job["judgements"]] == [("imported", None)] * 2
    for path in windows.iterdir():
        path.write_text("never read again")
    assert drift(log, tiny, "--json").json["windows"] == ran.json["windows"]


def test_a_summary_is_the_same_whoever_asks(log: Path, tiny: Tiny) -> None:
    ran = drift(log, tiny, "--json")
    summary = orjson.loads((log.parent / "drift/tiny/1/1d-event/summary.json").read_bytes())
    assert summary["earlier_windows"] == 0
    assert summary["revisions"] == []
    assert summary == {name: ran.json[name] for name in summary}
