"""What a history tells: a job's state, the judgements of a window, a feature over time."""

from __future__ import annotations

from dataclasses import dataclass

from monitors.drift.plan import Reason
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.windows import Window, WindowLength


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job has come.

    Attributes:
        id: in the database.
        subject: what is judged; length: of the windows.
        epoch: goes up with everything that is written.
        cursor_s: every window before it is judged in accordance with what is known; None before
            the first one.
        settings: that it was last judged with, as JSON; empty when they are not known.
    """

    id: int
    subject: Subject
    length: WindowLength
    epoch: int
    cursor_s: int | None
    settings: str

    @property
    def name(self) -> str:
        """What a person calls it: model, version, length and time basis."""
        return f"{self.subject.model}/{self.subject.version}/{self.length}-{self.subject.by.value}"


@dataclass(frozen=True, slots=True)
class Revision:
    """One judgement of a window.

    Attributes:
        number: 1 for the first.
        reason: why it was made.
        judged_at_s: when, seconds since the epoch.
        settled: whether the window takes late rows no more.
        too_late: requests that came after that, and are not in the counts.
        latest: whether it stands.
        settings: thresholds and baseline, as JSON.
        record: the window as it was judged.
    """

    number: int
    reason: Reason
    judged_at_s: float
    settled: bool
    too_late: int
    latest: bool
    settings: str
    record: WindowRecord


@dataclass(frozen=True, slots=True)
class Judged:
    """What a run has to say of a window.

    Attributes:
        window: that was judged.
        revision: the new judgement; None when the one before stands.
        settled: whether the window takes late rows no more.
    """

    window: Window
    revision: Revision | None
    settled: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A feature or score in one window, as it was last judged.

    Attributes:
        window: when.
        psi: population stability index, in nats.
        drifted: whether it decided for drift.
        missing_ratio: rows without a value, 0 to 1; unseen_ratio: of an unseen category.
        reason: what drifted, in a few words.
    """

    window: Window
    psi: float | None
    drifted: bool
    missing_ratio: float | None
    unseen_ratio: float | None
    reason: str
