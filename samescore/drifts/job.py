"""Judges the windows of a request log against the frozen reference of the bundle that served."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from consistency.bundle import Bundle, open_bundle, verify_files
from consistency.digest import digest_bytes
from consistency.errors import BundleError, ConfigError
from monitors.drift.baseline import WindowJudge
from monitors.drift.counting import WindowCounts
from monitors.drift.record import Subject
from monitors.drift.store import former_windows, make_folder, write_if_changed
from monitors.drift.windows import TimeBasis, Window
from monitors.reference import ReferenceSet
from samescore.drifts.counted import Counted, CountLog, count_here
from samescore.drifts.run import DriftJob, DriftRun

if TYPE_CHECKING:
    from monitors.drift.history import DriftHistory
    from monitors.drift.revision import JobState
    from samescore.drifts.walk import Walked

__all__ = ["DriftJob", "DriftRun", "open_history", "run_drift", "write_summary"]

Judging: TypeAlias = Callable[[int | None], AbstractContextManager[Callable[[], object]]]
"""Opens a progress bar of so many steps; None when their number is not known."""

_WAIT_SECONDS: Final = 0.05
_SHOWN: Final = 400


@contextmanager
def _quietly(_total: int | None) -> Iterator[Callable[[], object]]:
    yield lambda: None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A job whose settings, bundle and history are usable."""

    job: DriftJob
    subject: Subject
    reference: ReferenceSet
    judge: WindowJudge
    folder: Path


def run_drift(
    job: DriftJob, now_s: float, count: CountLog = count_here, judging: Judging = _quietly
) -> DriftRun:
    """Count a log by window, judge what is over, and keep it.

    Running it again over the same log and settings changes nothing. A run that was killed is
    continued by the next one, with the same result; two at once do not disturb each other.

    Args:
        job: what to judge.
        now_s: seconds since the epoch; a window that ends later is not over.
        count: counts the log.
        judging: opens a progress bar for the windows that are judged.

    Raises:
        LogError: no such log.
        BundleError: no such bundle, it is damaged, or has no reference.
        MonitorError: the log does not fit the reference, or the history is unusable.
        ConfigError: a setting is unusable.
    """
    ready = _prepared(job, now_s)
    with open_history(job) as history:
        # Before the log is read: a history that cannot be used is told at once.
        state = history.open_job(ready.subject, job.length, lambda: former_windows(ready.folder))
        counted = count(job.log, ready.subject, ready.reference, job.length)
        with judging(None) as step:
            walked = _walked(ready, history, state, counted.windows, now_s, step)
        return _found(ready, history, walked, counted)


def open_history(job: DriftJob) -> DriftHistory:
    """Open the history of a job; its SQLite file is made if it is not there.

    Raises:
        ConfigError: the URL is unusable.
        MonitorError: the folder cannot be made.
    """
    from monitors.drift.database import SQLITE_FILE, Database, sqlite_url
    from monitors.drift.history import DriftHistory

    if job.history is not None:
        return DriftHistory(Database(job.history))
    make_folder(job.folder)
    return DriftHistory(Database(sqlite_url(job.folder.resolve() / SQLITE_FILE)))


def _prepared(job: DriftJob, now_s: float) -> _Ready:
    if job.until_s is not None and job.until_s > now_s:
        raise ConfigError("until: give a time that is over; windows to come cannot be judged")
    bundle = open_bundle(job.bundle)
    verify_files(bundle)
    subject, reference = _subject(bundle, job.by)
    judge = WindowJudge(reference, job.length, job.thresholds, job.baseline)
    name = f"{job.length}-{job.by.value}"
    folder = job.folder / subject.model / str(subject.version) / name
    return _Ready(job, subject, reference, judge, folder)


def _subject(bundle: Bundle, by: TimeBasis) -> tuple[Subject, ReferenceSet]:
    data = bundle.reference()
    if not data:
        raise BundleError(
            bundle.path,
            "it has no frozen reference to compare with; bundle the model anew with a sample of "
            "its training records (BundleRequest.reference, or samescore bundle build --reference)",
        )
    manifest = bundle.manifest
    reference = ReferenceSet.from_bytes(data)
    digests = manifest.digest, digest_bytes(data)
    return Subject(manifest.name, manifest.version, *digests, by), reference


def _walked(
    ready: _Ready,
    history: DriftHistory,
    state: JobState,
    counted: Mapping[Window, WindowCounts],
    now_s: float,
    on_window: Callable[[], object],
) -> Walked:
    """Judge the windows; begin again whenever another run has written in between.

    It has then judged a window, so there is an end to it.
    """
    from monitors.drift.history import OvertakenError
    from samescore.drifts.walk import Walk

    walk = Walk(history, ready.judge, ready.job, counted, now_s, on_window)
    for _ in range(2 * ready.job.most_windows):
        try:
            return walk.run(state)
        except OvertakenError:
            time.sleep(_WAIT_SECONDS)
            state = history.open_job(ready.subject, ready.job.length, tuple)
    return walk.run(state)


def _found(ready: _Ready, history: DriftHistory, walked: Walked, counted: Counted) -> DriftRun:
    shown = max(_SHOWN, ready.job.last)
    plan, state = walked.plan, walked.state
    return DriftRun(
        job=ready.job,
        subject=ready.subject,
        reference=ready.reference,
        folder=ready.folder,
        place=history.place,
        revisions=tuple(history.revisions(state, shown)),
        earlier=max(history.count(state) - shown, 0),
        changes=walked.changes,
        kept=plan.kept,
        waiting=plan.waiting,
        behind=walked.behind,
        too_late=plan.too_late,
        skipped=counted.skipped,
        uncalibrated=ready.judge.note,
    )


def write_summary(run: DriftRun) -> Path:
    """Write `summary.json` into the job's folder, if it has changed.

    Raises:
        MonitorError: it cannot be written.
    """
    path = run.folder / "summary.json"
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_if_changed(path, orjson.dumps(run.to_json(), option=options))
    return path
