"""A job that was down, was killed, or runs twice at once ends with the same history.

The days have a small shift that only adding up finds, so that the verdict of a day hangs on the
days before it: a job that forgot where it was would judge otherwise.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitors.drift.judgement import Thresholds
from monitors.drift.windows import WindowLength
from samescore.drifts.job import run_drift
from samescore.drifts.run import DriftJob, DriftRun
from samescore.drifts.walk import AT_ONCE
from tests.fixtures.days import days_into_log, dearer, timed_bundle
from tests.fixtures.tiny import Tiny, make_records

pytestmark = pytest.mark.slow

DAYS = 24
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
NOW_S = (FIRST + timedelta(days=60)).timestamp()
SHIFT = 22.0
Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return timed_bundle(tiny, tmp_path_factory.mktemp("timed"))


@pytest.fixture(scope="module")
def log(tiny: Tiny, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    days = {}
    for i in range(DAYS):
        records = make_records(200, seed=100 + i)
        days[f"{FIRST + timedelta(days=i):%F}"] = dearer(records, SHIFT) if i > 8 else records
    return days_into_log(tiny, tmp_path_factory.mktemp("log") / "requests", days, bundle)


def job(log: Path, bundle: Path, out: Path, **more: Any) -> DriftJob:
    return DriftJob(log, bundle, WindowLength.parse("1d"), out=out, **more)


def rows(out: Path, columns: str = "*") -> list[Row]:
    """Everything that the history holds, but for when it was judged."""
    with sqlite3.connect(out / "history.sqlite", timeout=60) as connection:
        if columns == "*":
            names = [r[1] for r in connection.execute("PRAGMA table_info(samescore_drift_window)")]
            columns = ", ".join(n for n in names if n != "judged_at_s")
        found = connection.execute(
            f"SELECT {columns} FROM samescore_drift_window ORDER BY start_s, revision"
        ).fetchall()
    connection.close()
    return found


@pytest.fixture(scope="module")
def once(log: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The history of a job that judged everything in one go."""
    out = tmp_path_factory.mktemp("once")
    run_drift(job(log, bundle, out), NOW_S)
    return rows(out)


def test_the_days_need_their_past(log: Path, bundle: Path, tmp_path: Path) -> None:
    run = run_drift(job(log, bundle, tmp_path), NOW_S)
    lasting = [r.window.label for r in run.history if any(m.lasting for m in r.judgement.measures)]
    assert lasting, "a shift that only adding up finds"
    assert len(run.history) == DAYS


def test_night_by_night_is_as_all_at_once(
    log: Path, bundle: Path, tmp_path: Path, once: list[Row]
) -> None:
    for i in range(DAYS + 2):
        night = (FIRST + timedelta(days=i + 1, minutes=15)).timestamp()
        run_drift(job(log, bundle, tmp_path), night)
    assert rows(tmp_path) == once


def test_missed_windows_are_made_up_for_in_bounded_steps(
    log: Path, bundle: Path, tmp_path: Path, once: list[Row]
) -> None:
    bounded = job(log, bundle, tmp_path, most_windows=7)
    behind = [run_drift(bounded, NOW_S).behind for _ in range(5)]
    assert behind == [17, 10, 3, 0, 0]
    assert rows(tmp_path) == once


class Killed(BaseException):
    """Ends a run between two windows, as SIGKILL would."""


def killed_after(windows: int) -> Callable[[int | None], Any]:
    @contextmanager
    def judging(_total: int | None) -> Iterator[Callable[[], object]]:
        left = iter(range(windows))

        def step() -> None:
            if next(left, None) is None:
                raise Killed

        yield step

    return judging


@pytest.mark.parametrize("after", [0, 1, 5, 11, 23])
def test_a_run_that_ends_anywhere_is_continued(
    log: Path, bundle: Path, tmp_path: Path, once: list[Row], after: int
) -> None:
    with pytest.raises(Killed):
        run_drift(job(log, bundle, tmp_path), NOW_S, judging=killed_after(after))
    assert len(rows(tmp_path)) == after // AT_ONCE * AT_ONCE
    run_drift(job(log, bundle, tmp_path), NOW_S)
    assert rows(tmp_path) == once
    again = run_drift(job(log, bundle, tmp_path), NOW_S)
    assert {change.value for change in again.changes.values()} == {"unchanged"}
    assert rows(tmp_path) == once


@pytest.mark.parametrize("after", [0, 3, 20])
def test_a_change_of_settings_that_is_killed_is_continued(
    log: Path, bundle: Path, tmp_path: Path, after: int
) -> None:
    other = Thresholds(false_alarm_windows=20.0)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    for out in (straight, broken):
        run_drift(job(log, bundle, out), NOW_S)
    run_drift(job(log, bundle, straight, thresholds=other), NOW_S)
    with pytest.raises(Killed):
        run_drift(job(log, bundle, broken, thresholds=other), NOW_S, judging=killed_after(after))
    run_drift(job(log, bundle, broken, thresholds=other), NOW_S)
    assert rows(broken) == rows(straight)
    assert len(rows(straight)) == 2 * DAYS


def test_late_rows_move_the_verdicts_that_hang_on_them(
    tiny: Tiny, bundle: Path, tmp_path: Path
) -> None:
    """Late rows of one day, in the end, are as if they had been there at first."""
    days = {}
    for i in range(12):
        records = make_records(200, seed=200 + i)
        days[f"{FIRST + timedelta(days=i):%F}"] = dearer(records, SHIFT)
    log = days_into_log(tiny, tmp_path / "requests", days, bundle)
    now_s = (FIRST + timedelta(days=13)).timestamp()
    late = job(log, bundle, tmp_path / "late", lateness_s=30 * 86_400)
    run_drift(late, now_s)
    other = dearer(make_records(400, seed=400), -3 * SHIFT)
    days_into_log(tiny, log, {f"{FIRST + timedelta(days=1):%F}": other}, bundle)
    found = run_drift(late, now_s)
    reasons = {r.reason.value for r in found.revisions if r.number > 1}
    assert reasons == {"more_rows", "earlier_window"}
    straight = run_drift(job(log, bundle, tmp_path / "straight", lateness_s=30 * 86_400), now_s)
    assert standing(found) == standing(straight)
    with_kill = job(log, bundle, tmp_path / "late", lateness_s=30 * 86_400)
    assert standing(run_drift(with_kill, now_s)) == standing(straight)


def standing(run: DriftRun) -> list[Any]:
    return [record.to_json() for record in run.history]


# ---- processes ---------------------------------------------------------------------------------


def start(tiny: Tiny, log: Path, bundle: Path, out: Path) -> subprocess.Popen[bytes]:
    words = ["drift", "run", log, "--bundle", bundle, "--out", out, "--window", "1h",
             "--min-rows", "1"]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "samescore", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(tiny),
    )  # fmt: skip


def environment(tiny: Tiny) -> dict[str, str]:
    return {**os.environ, **tiny.environment()}


@pytest.fixture(scope="module")
def hours(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred hours with two rows each."""
    records = make_records(2, seed=7)
    times = (FIRST + timedelta(hours=i) for i in range(400))
    folder = tmp_path_factory.mktemp("hours") / "requests"
    return days_into_log(tiny, folder, {f"{t:%FT%H}:30:00Z": records for t in times})


def judged(out: Path) -> int:
    try:
        return len(rows(out, "start_s"))
    except sqlite3.OperationalError:
        return 0  # the tables are not there yet


def test_killed_and_started_again_ends_with_the_same_history(
    tiny: Tiny, hours: Path, tmp_path: Path
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    done = start(tiny, hours, tiny.bundle, straight)
    assert (done.communicate()[0], done.returncode in (0, 1)) == (None, True)
    broken.mkdir()
    kills = 0
    for goal in (5, 60, 120):
        process = start(tiny, hours, tiny.bundle, broken)
        while judged(broken) < goal and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 3
    assert 120 <= judged(broken) < 400
    last = start(tiny, hours, tiny.bundle, broken)
    assert last.communicate()[1] is not None
    assert last.returncode == done.returncode
    assert rows(broken) == rows(straight)
    assert len(rows(broken)) == 400


def test_two_runs_at_once_end_with_one_history(tiny: Tiny, hours: Path, tmp_path: Path) -> None:
    straight, shared = tmp_path / "straight", tmp_path / "shared"
    start(tiny, hours, tiny.bundle, straight).communicate()
    both = [start(tiny, hours, tiny.bundle, shared) for _ in range(2)]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "Traceback" not in "".join(said)
    assert rows(shared) == rows(straight)
