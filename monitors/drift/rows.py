"""Rows of the tables, to and from what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Row, and_

from consistency.jsontype import Json
from monitors.drift.judgement import Measure
from monitors.drift.plan import Reason
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.revision import JobState, Point, Revision
from monitors.drift.tables import JOBS, MEASURES, WINDOWS
from monitors.drift.windows import TimeBasis, Window, WindowLength

SUBJECT_COLUMNS: Final = ("model", "version", "bundle_digest", "reference_digest")

AnyRow = Row[Any]  # Any: SQLAlchemy types rows by their position, we read them by name


def is_subject(subject: Subject, length: WindowLength) -> ColumnElement[bool]:
    """Return the condition of the one row that is a job."""
    same = [JOBS.c[name] == getattr(subject, name) for name in SUBJECT_COLUMNS]
    by = JOBS.c.time_basis == subject.by.value
    return and_(*same, JOBS.c.length_s == length.seconds, by)


def is_window(job_id: int, start_s: int) -> ColumnElement[bool]:
    """Return the condition of all judgements of a window."""
    return and_(WINDOWS.c.job_id == job_id, WINDOWS.c.start_s == start_s)


def is_latest(job_id: int) -> ColumnElement[bool]:
    """Return the condition of the judgements of a job that stand."""
    return and_(WINDOWS.c.job_id == job_id, WINDOWS.c.latest)


def insert(connection: Connection, job_id: int, revision: Revision) -> None:
    """Write a judgement and its measures."""
    record = revision.record
    key = {"job_id": job_id, "start_s": record.window.start_s, "revision": revision.number}
    connection.execute(
        WINDOWS.insert().values(
            **key,
            end_s=record.window.end_s,
            latest=revision.latest,
            reason=revision.reason.value,
            judged_at_s=revision.judged_at_s,
            complete=record.complete,
            settled=revision.settled,
            too_late=revision.too_late,
            verdict=record.verdict.value,
            requests=record.counts.requests,
            refused=record.counts.refused,
            scored_rows=record.counts.rows,
            score_psi=_finite(record.judgement.score_psi),
            settings=revision.settings,
            record=orjson.dumps(record.to_json()).decode(),
        )
    )
    measures = [key | _measure(measure) for measure in record.judgement.measures]
    if measures:
        connection.execute(MEASURES.insert(), measures)


def settle_windows(connection: Connection, job_id: int, windows: Sequence[Window]) -> None:
    """Mark windows that take late rows no more."""
    for window in windows:
        latest = and_(is_window(job_id, window.start_s), WINDOWS.c.latest)
        connection.execute(WINDOWS.update().where(latest).values(settled=True))


def state_of(row: AnyRow) -> JobState:
    """Return the job of a row."""
    facts = {name: getattr(row, name) for name in SUBJECT_COLUMNS}
    subject = Subject(**facts, by=TimeBasis(row.time_basis))
    length = WindowLength(row.length_s)
    return JobState(row.id, subject, length, row.epoch, row.cursor_s, row.settings)


def revision_of(row: AnyRow, place: str) -> Revision:
    """Return the judgement of a row.

    Args:
        row: of the table of windows.
        place: where it is, for messages.

    Raises:
        MonitorError: its record is damaged.
    """
    where = f"{place}: window {row.start_s} of job {row.job_id}"
    return Revision(
        number=row.revision,
        reason=Reason(row.reason),
        judged_at_s=row.judged_at_s,
        settled=row.settled,
        too_late=row.too_late,
        latest=row.latest,
        settings=row.settings,
        record=WindowRecord.from_json(orjson.loads(row.record), where),
    )


def point_of(row: AnyRow, length: WindowLength) -> Point:
    """Return the measure of a row."""
    window = Window(row.start_s, length.seconds)
    drifted = row.drifted and row.decides
    return Point(window, row.psi, drifted, row.missing_ratio, row.unseen_ratio, row.reason)


def _measure(measure: Measure) -> dict[str, Json]:
    return {
        "name": measure.name,
        "kind": measure.kind.value,
        "psi": _finite(measure.psi),
        "drifted": measure.drifted,
        "decides": measure.decides,
        "missing_ratio": _finite(measure.missing_ratio),
        "unseen_ratio": _finite(measure.unseen_ratio),
        "reason": measure.reason,
    }


def _finite(value: float | None) -> float | None:
    """Return what every database can hold: not all of them know infinity."""
    return value if value is not None and math.isfinite(value) else None
