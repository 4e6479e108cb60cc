"""The history of a drift job: every judgement that was ever made of a window, in a database.

Windows are kept in a transaction together with how far the job has come. Who keeps a window says
which state of the job that follows from (`epoch`); if another run has been there in between,
nothing is written and `OvertakenError` says so: two runs at once cannot mix their results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Self

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.exc import IntegrityError

from monitors.drift.database import Database
from monitors.drift.plan import Known, Reason
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.revision import JobState, Judged, Point, Revision
from monitors.drift.rows import (
    SUBJECT_COLUMNS,
    insert,
    is_latest,
    is_subject,
    is_window,
    point_of,
    revision_of,
    settle_windows,
    state_of,
)
from monitors.drift.tables import JOBS, MEASURES, WINDOWS
from monitors.drift.windows import Window, WindowLength
from monitors.errors import MonitorError


class OvertakenError(MonitorError):
    """Another run of the same job has written since its state was read."""


class DriftHistory:
    """A database of drift histories; a context manager that closes it.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def place(self) -> str:
        """Where it is, without user and password."""
        return self._database.place

    # ---- jobs --------------------------------------------------------------------------------

    def open_job(
        self, subject: Subject, length: WindowLength, former: Callable[[], Iterable[WindowRecord]]
    ) -> JobState:
        """Return a job's state; made when it is new, with the windows of an earlier release.

        Args:
            subject: what is judged.
            length: of the windows.
            former: returns the windows that an earlier release has kept in files.

        Raises:
            MonitorError: the database, or one of the files, is unusable.
        """
        self._database.create()
        found = self._job(subject, length)
        if found is not None:
            return found
        records = sorted((r for r in former() if r.subject == subject), key=lambda r: r.window)
        with suppress(IntegrityError):  # another run was quicker
            self._create_job(subject, length, records)
        made = self._job(subject, length)
        assert made is not None
        return made

    def jobs(self) -> list[JobState]:
        """Return every job, by name; none when the database holds no history."""
        if not self._database.holds_tables():
            return []
        with self._database.reading() as connection:
            rows = connection.execute(select(JOBS)).all()
        return sorted((state_of(row) for row in rows), key=lambda job: (job.name, job.id))

    def _job(self, subject: Subject, length: WindowLength) -> JobState | None:
        with self._database.reading() as connection:
            row = connection.execute(select(JOBS).where(is_subject(subject, length))).one_or_none()
        return None if row is None else state_of(row)

    def _create_job(
        self, subject: Subject, length: WindowLength, records: Sequence[WindowRecord]
    ) -> None:
        cursor_s = records[-1].window.end_s if records else None
        facts = {name: getattr(subject, name) for name in SUBJECT_COLUMNS}
        with self._database.writing() as connection:
            done = connection.execute(
                JOBS.insert().values(
                    **facts, length_s=length.seconds, time_basis=subject.by.value, epoch=0,
                    cursor_s=cursor_s, settings="",
                )
            )  # fmt: skip
            assert done.inserted_primary_key is not None
            for record in records:
                first = Revision(1, Reason.IMPORTED, 0.0, False, 0, True, "", record)
                insert(connection, int(done.inserted_primary_key[0]), first)

    # ---- writing -----------------------------------------------------------------------------

    def begin(self, job: JobState, cursor_s: int | None, settings: str) -> JobState:
        """Note from where on windows are judged again, and with what settings.

        Raises:
            OvertakenError: another run has written.
        """
        return self._advance(job, cursor_s, settings, lambda _: None)

    def keep(self, job: JobState, judged: Sequence[Judged]) -> JobState:
        """Keep the judgements of some windows, all or none, and go on behind the last of them.

        Args:
            job: its state before.
            judged: neighbours in the order of time, at least one.

        Raises:
            OvertakenError: another run has written.
        """

        def write(connection: Connection) -> None:
            for each in judged:
                of_window = is_window(job.id, each.window.start_s)
                if each.revision is not None:
                    connection.execute(WINDOWS.update().where(of_window).values(latest=False))
                    insert(connection, job.id, each.revision)
                elif each.settled:
                    settle_windows(connection, job.id, [each.window])

        return self._advance(job, judged[-1].window.end_s, job.settings, write)

    def mark(
        self, job: JobState, settle: Sequence[Window], too_late: Mapping[Window, int]
    ) -> JobState:
        """Note windows whose lateness has passed, and requests that came after that.

        Raises:
            OvertakenError: another run has written.
        """
        held = self._too_late(job)
        more = {w.start_s: n for w, n in too_late.items() if n > held.get(w.start_s, n)}
        if not settle and not more:
            return job

        def write(connection: Connection) -> None:
            settle_windows(connection, job.id, settle)
            for start_s, requests in more.items():
                latest = and_(is_window(job.id, start_s), WINDOWS.c.latest)
                connection.execute(WINDOWS.update().where(latest).values(too_late=requests))

        return self._advance(job, job.cursor_s, job.settings, write)

    def _advance(
        self, job: JobState, cursor_s: int | None, settings: str,
        write: Callable[[Connection], None],
    ) -> JobState:  # fmt: skip
        """Write something and the job's next state, if it still is in the given one."""
        after = replace(job, epoch=job.epoch + 1, cursor_s=cursor_s, settings=settings)
        still = and_(JOBS.c.id == job.id, JOBS.c.epoch == job.epoch)
        values = {"epoch": after.epoch, "cursor_s": cursor_s, "settings": settings}
        with self._database.writing() as connection:
            if connection.execute(JOBS.update().where(still).values(values)).rowcount != 1:
                raise OvertakenError(
                    f"{self.place}: another run judges {job.name} at this moment; let it end"
                )
            write(connection)
        return after

    def _too_late(self, job: JobState) -> dict[int, int]:
        wanted = select(WINDOWS.c.start_s, WINDOWS.c.too_late).where(is_latest(job.id))
        with self._database.reading() as connection:
            return {row.start_s: row.too_late for row in connection.execute(wanted)}

    # ---- reading -----------------------------------------------------------------------------

    def known(self, job: JobState) -> dict[Window, Known]:
        """Return what is known of each judged window, the earliest first."""
        columns = (WINDOWS.c.start_s, WINDOWS.c.requests, WINDOWS.c.complete, WINDOWS.c.settled)
        wanted = select(*columns).where(is_latest(job.id)).order_by(WINDOWS.c.start_s)
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
        return {
            Window(row.start_s, job.length.seconds): Known(row.requests, row.complete, row.settled)
            for row in rows
        }

    def records(self, job: JobState, last: int, before_s: int | None = None) -> list[WindowRecord]:
        """Return the last windows as they stand, the earliest first.

        Args:
            job: whose.
            last: so many of them.
            before_s: only those that begin before.
        """
        return [r.record for r in self.revisions(job, last, before_s=before_s, every=False)]

    def standing(self, job: JobState, window: Window) -> Revision | None:
        """Return the judgement of a window that stands; None when there is none."""
        found = self.revisions(job, 1, before_s=window.end_s, every=False)
        return found[-1] if found and found[-1].record.window == window else None

    def revisions(
        self, job: JobState, last: int, *, before_s: int | None = None, every: bool = True
    ) -> list[Revision]:
        """Return the judgements of the last windows, by window and number.

        Args:
            job: whose.
            last: how many windows.
            before_s: only those that begin before.
            every: those that stand no more included.
        """
        starts = select(WINDOWS.c.start_s).where(is_latest(job.id))
        if before_s is not None:
            starts = starts.where(WINDOWS.c.start_s < before_s)
        with self._database.reading() as connection:
            newest = starts.order_by(WINDOWS.c.start_s.desc()).limit(last)
            held = sorted(connection.scalars(newest))
            if not held:
                return []
            between = WINDOWS.c.start_s.between(held[0], held[-1])
            chosen = WINDOWS.c.job_id == job.id if every else is_latest(job.id)
            ordered = select(WINDOWS).where(chosen, between).order_by(
                WINDOWS.c.start_s, WINDOWS.c.revision
            )  # fmt: skip
            return [revision_of(row, self.place) for row in connection.execute(ordered)]

    def trend(self, job: JobState, name: str, last: int) -> list[Point]:
        """Return a feature or score in the last windows, the earliest first.

        Raises:
            MonitorError: no window has measured it.
        """
        same = and_(
            MEASURES.c.job_id == WINDOWS.c.job_id,
            MEASURES.c.start_s == WINDOWS.c.start_s,
            MEASURES.c.revision == WINDOWS.c.revision,
        )
        wanted = (
            select(MEASURES).join(WINDOWS, same).where(is_latest(job.id), MEASURES.c.name == name)
        ).order_by(MEASURES.c.start_s.desc()).limit(last)  # fmt: skip
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
            if not rows:
                every = select(MEASURES.c.name).where(MEASURES.c.job_id == job.id).distinct()
                names = sorted(connection.scalars(every))
                raise MonitorError(
                    f"{job.name}: nothing called {name!r} was measured; there is "
                    f"{', '.join(names) or 'nothing yet'}"
                )
        return [point_of(row, job.length) for row in reversed(rows)]

    def count(self, job: JobState) -> int:
        """Return how many windows were judged."""
        wanted = select(func.count()).select_from(WINDOWS).where(is_latest(job.id))
        with self._database.reading() as connection:
            return connection.scalar(wanted) or 0
