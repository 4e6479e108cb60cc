"""The history: exact, whole or not at all, and no two runs mixed up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest

from monitors.drift.database import Database, sqlite_url
from monitors.drift.history import DriftHistory, OvertakenError
from monitors.drift.plan import Known, Reason
from monitors.drift.record import WindowRecord
from monitors.drift.revision import JobState, Judged, Revision
from monitors.drift.windows import Window, WindowLength
from monitors.errors import MonitorError

DAY = WindowLength(86_400)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def history(path: Path) -> Iterator[DriftHistory]:
    with DriftHistory(Database(sqlite_url(path))) as opened:
        yield opened


@pytest.fixture
def job(history: DriftHistory, record: WindowRecord) -> JobState:
    return history.open_job(record.subject, DAY, tuple)


def day(record: WindowRecord, number: int) -> WindowRecord:
    return replace(record, window=Window(number * 86_400, 86_400))


def first(record: WindowRecord) -> Revision:
    return Revision(1, Reason.FIRST, 1.5e9, False, 0, True, '{"a":1}', record)


def keep(history: DriftHistory, job: JobState, *revisions: Revision) -> JobState:
    for each in revisions:
        job = history.keep(job, [Judged(each.record.window, each, each.settled)])
    return job


def test_a_judgement_survives_exactly(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    kept = keep(history, job, first(record))
    (again,) = history.revisions(kept, 10)
    assert again.record.to_json() == record.to_json()
    assert replace(again, record=record) == first(record)
    assert again.record.judgement == record.judgement
    assert again.record.subject == record.subject
    assert history.known(kept) == {
        record.window: Known(record.counts.requests, complete=True, settled=False)
    }
    assert history.open_job(record.subject, DAY, tuple) == kept
    assert kept.cursor_s == record.window.end_s


def test_a_second_judgement_leaves_the_first_in_the_history(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    more = replace(record, counts=replace(record.counts, requests=99))
    second = replace(first(more), number=2, reason=Reason.MORE_ROWS, settled=True)
    state = keep(history, job, first(record), second)
    held = history.revisions(state, 10)
    assert [(r.number, r.reason, r.latest, r.settled) for r in held] == [
        (1, Reason.FIRST, False, False),
        (2, Reason.MORE_ROWS, True, True),
    ]
    assert [r.counts.requests for r in history.records(state, 10)] == [99]
    assert history.count(state) == 1
    standing = history.standing(state, record.window)
    assert standing is not None
    assert standing.number == 2
    assert history.standing(state, Window(0, 86_400)) is None


def test_windows_come_back_in_the_order_of_time_and_only_the_last_ones(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    state = keep(history, job, *(first(day(record, n)) for n in (400, -3, 7, 9)))
    starts = [r.window.start_s // 86_400 for r in history.records(state, 3)]
    assert starts == [7, 9, 400]
    before = history.records(state, 2, before_s=9 * 86_400)
    assert [r.window.start_s // 86_400 for r in before] == [-3, 7]


def test_who_was_overtaken_writes_nothing(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    keep(history, job, first(record))
    with pytest.raises(OvertakenError, match="another run judges flights/3/1d-event"):
        keep(history, job, first(day(record, 5)))
    with pytest.raises(OvertakenError):
        history.begin(job, 0, "{}")
    state = history.open_job(record.subject, DAY, tuple)
    assert list(history.known(state)) == [record.window]


def test_a_judgement_is_kept_whole_or_not_at_all(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    state = keep(history, job, first(record))
    with pytest.raises(Exception, match="UNIQUE"):
        keep(history, state, first(record))
    assert history.open_job(record.subject, DAY, tuple) == state
    assert [r.latest for r in history.revisions(state, 9)] == [True]


def test_of_windows_that_are_kept_together_all_are_there_or_none(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    state = keep(history, job, first(record))
    new = first(day(record, 3))
    both = [Judged(each.record.window, each, settled=False) for each in (new, first(record))]
    with pytest.raises(Exception, match="UNIQUE"):
        history.keep(state, both)
    assert list(history.known(state)) == [record.window]
    kept = history.keep(state, [*both[:1], Judged(record.window, None, settled=True)])
    assert kept.cursor_s == record.window.end_s
    assert [known.settled for known in history.known(kept).values()] == [False, True]


def test_marks_are_made_once_and_only_grow(
    history: DriftHistory, job: JobState, record: WindowRecord
) -> None:
    state = keep(history, job, first(record))
    state = history.mark(state, [record.window], {record.window: 4, Window(0, 86_400): 9})
    assert history.mark(state, [], {record.window: 3}) == state, "nothing to write"
    (held,) = history.revisions(state, 1)
    assert (held.settled, held.too_late) == (True, 4)


def test_other_jobs_are_apart(history: DriftHistory, job: JobState, record: WindowRecord) -> None:
    other = replace(record.subject, bundle_digest="c" * 64)
    keep(history, job, first(record))
    apart = history.open_job(other, DAY, tuple)
    hours = history.open_job(record.subject, WindowLength(3_600), tuple)
    assert len({job.id, apart.id, hours.id}) == 3
    assert history.known(apart) == history.known(hours) == {}
    assert [j.name for j in history.jobs()] == ["flights/3/1d-event"] * 2 + ["flights/3/1h-event"]


def test_a_feature_has_a_trend(history: DriftHistory, job: JobState, record: WindowRecord) -> None:
    state = keep(history, job, *(first(day(record, n)) for n in (3, 1, 2)))
    points = history.trend(state, "x", 2)
    assert [p.window.start_s // 86_400 for p in points] == [2, 3]
    (measure,) = record.judgement.features
    assert points[0].psi == measure.psi
    assert points[0].drifted
    assert points[0].unseen_ratio == measure.unseen_ratio
    with pytest.raises(MonitorError, match="nothing called 'y' was measured; there is score, x"):
        history.trend(state, "y", 2)


def test_the_tables_are_there_for_plain_sql(
    history: DriftHistory, job: JobState, record: WindowRecord, path: Path
) -> None:
    keep(history, job, first(record))
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT w.verdict, w.scored_rows, m.name, m.drifted FROM samescore_drift_window w "
            "JOIN samescore_drift_measure m USING (job_id, start_s, revision) WHERE w.latest "
            "ORDER BY m.name"
        ).fetchall()
    connection.close()
    assert rows == [("drift", 300, "score", 0), ("drift", 300, "x", 1)]


def test_windows_of_an_earlier_release_are_taken_over_once(
    history: DriftHistory, record: WindowRecord
) -> None:
    other = replace(record, subject=replace(record.subject, bundle_digest="c" * 64))
    state = history.open_job(record.subject, DAY, lambda: [day(record, 9), other, day(record, 2)])
    held = history.revisions(state, 9)
    assert [(r.record.window.start_s // 86_400, r.reason) for r in held] == [
        (2, Reason.IMPORTED), (9, Reason.IMPORTED),
    ]  # fmt: skip
    assert (state.cursor_s, state.settings) == (10 * 86_400, "")

    def never() -> list[WindowRecord]:
        raise AssertionError("the files are read once")

    assert history.open_job(record.subject, DAY, never) == state


def test_first_runs_at_once_make_one_job(path: Path, record: WindowRecord) -> None:
    start, found = Barrier(6), []

    def run() -> None:
        with DriftHistory(Database(sqlite_url(path))) as own:
            start.wait()
            found.append(own.open_job(record.subject, DAY, tuple).id)

    threads = [Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_history_that_is_not_there_has_no_jobs(history: DriftHistory) -> None:
    assert history.jobs() == []
