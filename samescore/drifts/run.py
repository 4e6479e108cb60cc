"""A drift job, and what a run of it found."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from consistency.jsontype import Json
from monitors.drift.baseline import Baseline
from monitors.drift.judgement import FALSE_DISCOVERIES, Thresholds, Verdict
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.revision import Revision
from monitors.drift.store import Change
from monitors.drift.windows import TimeBasis, Window, WindowLength, gaps, utc_text
from monitors.reference import ReferenceSet
from samescore.drifts.causes import RootCause
from samescore.drifts.counted import Skipped

DAY_S: Final = 86_400
MOST_WINDOWS: Final = 1_000
"""Judged in one run: a job that was down for long comes to an end, and the next run goes on."""


class Outcome(StrEnum):
    """What a run ended with; the exit code follows from it."""

    NO_DRIFT = "no_drift"
    DRIFT = "drift"
    NOTHING_TO_JUDGE = "nothing_to_judge"


EXIT_CODES: Final = {Outcome.NO_DRIFT: 0, Outcome.DRIFT: 1, Outcome.NOTHING_TO_JUDGE: 2}


@dataclass(frozen=True, slots=True)
class DriftJob:
    """What to judge.

    Attributes:
        log: the request log's folder.
        bundle: the bundle that served, `<base>/<model>/<version>`.
        length: of the windows.
        by: which time puts a request into its window.
        out: folder of summary and report; None for the folder `drift` beside the log.
        history: URL of the database that keeps judged windows; None for an SQLite file in `out`.
        thresholds: when a window has drifted.
        baseline: what says how windows vary without drift.
        include_open: also judge the window that is not over yet.
        last: so many of the latest windows decide how the run ends.
        lateness_s: how long after its end a window takes late rows, seconds.
        until_s: judge as if it were then, seconds since the epoch; None for now.
        most_windows: that are judged in this run.
    """

    log: Path
    bundle: Path
    length: WindowLength
    by: TimeBasis = TimeBasis.EVENT
    out: Path | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    baseline: Baseline = Baseline.REFERENCE
    include_open: bool = False
    last: int = 1
    history: str | None = None
    lateness_s: int = DAY_S
    until_s: float | None = None
    most_windows: int = MOST_WINDOWS

    @property
    def folder(self) -> Path:
        """Where summaries and reports are, of all jobs that share it."""
        return self.log.resolve().parent / "drift" if self.out is None else self.out


@dataclass(frozen=True, slots=True)
class DriftRun:
    """What a run found.

    Attributes:
        job: what was asked; subject: what was judged.
        reference: the bundle's frozen reference.
        folder: where this job's summary and report are.
        place: where its history is, without user and password.
        revisions: every judgement of the latest windows, those included that the log no longer
            holds, by window and number.
        earlier: windows in the history before these.
        changes: what this run did, by window that the log holds.
        kept: windows of which the log now holds fewer requests than before; they stay as they were.
        waiting: windows that were not judged since they are not over yet.
        behind: windows that are left for the next run.
        too_late: requests that came after their window was settled, by window; not counted.
        skipped: what of the log was not counted.
        uncalibrated: why thresholds are not calibrated on the reference's days; empty if they are.
        root_cause: why the score of the latest window is what it is; None before it is explained.
    """

    job: DriftJob
    subject: Subject
    reference: ReferenceSet
    folder: Path
    place: str
    revisions: tuple[Revision, ...]
    earlier: int
    changes: dict[Window, Change]
    kept: tuple[Window, ...]
    waiting: tuple[Window, ...]
    behind: int
    too_late: Mapping[Window, int]
    skipped: Skipped
    uncalibrated: str = ""
    root_cause: RootCause | None = None

    @property
    def history(self) -> tuple[WindowRecord, ...]:
        """The latest windows as they stand, the earliest first."""
        return tuple(r.record for r in self.revisions if r.latest)

    @property
    def judged(self) -> tuple[WindowRecord, ...]:
        """The windows of this run, the earliest first."""
        return tuple(r for r in self.history if r.window in self.changes)

    @property
    def deciding(self) -> tuple[WindowRecord, ...]:
        """The windows that decide how the run ends."""
        return self.judged[-self.job.last :]

    @property
    def outcome(self) -> Outcome:
        """How the run ends: drift if a deciding window drifted; a verdict needs enough rows."""
        verdicts = {record.verdict for record in self.deciding}
        if Verdict.DRIFT in verdicts:
            return Outcome.DRIFT
        return Outcome.NO_DRIFT if Verdict.NO_DRIFT in verdicts else Outcome.NOTHING_TO_JUDGE

    @property
    def latest(self) -> WindowRecord | None:
        """The last deciding window that has a verdict: the one that the metrics tell of."""
        held = [r for r in self.deciding if r.verdict is not Verdict.TOO_FEW_ROWS]
        return held[-1] if held else None

    def to_json(self) -> dict[str, Json]:
        """Return the summary: the same for the same log, windows and settings."""
        return {
            "model": self.subject.model,
            "version": self.subject.version,
            "bundle_digest": self.subject.bundle_digest,
            "reference_digest": self.subject.reference_digest,
            "by": self.subject.by.value,
            "window": str(self.job.length),
            "baseline": self.job.baseline.value,
            "uncalibrated": self.uncalibrated,
            "outcome": self.outcome.value,
            "decided_by": [r.window.start for r in self.deciding],
            "windows": [window_summary(record) for record in self.history],
            "earlier_windows": self.earlier,
            "revisions": [
                revision_summary(before, after)
                for before, after in itertools.pairwise(self.revisions)
                if after.record.window == before.record.window
            ],
            "gaps": [
                {"start": utc_text(g.start_s), "end": utc_text(g.end_s), "windows": g.windows}
                for g in gaps(r.window for r in self.history)
            ],
            "waiting": [w.start for w in self.waiting],
            "kept": [w.start for w in self.kept],
            "behind": self.behind,
            "too_late": {w.start: requests for w, requests in self.too_late.items()},
            "skipped": self.skipped.to_json(),
            "root_cause": None if self.root_cause is None else self.root_cause.to_json(),
        }


def window_summary(record: WindowRecord) -> dict[str, Json]:
    """Return a window's figures without its counts."""
    features = record.judgement.features
    return {
        "start": record.window.start,
        "end": record.window.end,
        "complete": record.complete,
        "verdict": record.verdict.value,
        "drifted": [m.name for m in record.judgement.drifted],
        "reasons": {m.name: m.reason for m in record.judgement.drifted if m.reason},
        "moved": [m.name for m in record.judgement.moved],
        "false_discovery_rate": FALSE_DISCOVERIES,
        "bands": {m.name: m.band.value for m in record.judgement.measures},
        "min_rows": record.thresholds.min_rows,
        "requests": record.counts.requests,
        "refused": record.counts.refused,
        "rows": record.counts.rows,
        "score_psi": record.judgement.score_psi,
        "feature_psi": {m.name: m.psi for m in features},
        "missing_ratio": {m.name: m.missing_ratio for m in features if m.missing_ratio},
        "unseen_ratio": {m.name: m.unseen_ratio for m in features if m.unseen_ratio},
    }


def revision_summary(before: Revision, after: Revision) -> dict[str, Json]:
    """Return how a window's judgement has changed, and why."""
    return {
        "start": after.record.window.start,
        "revision": after.number,
        "reason": after.reason.value,
        "judged_at": utc_text(int(after.judged_at_s)),
        "verdict": after.record.verdict.value,
        "verdict_before": before.record.verdict.value,
        "rows": after.record.counts.rows,
        "rows_before": before.record.counts.rows,
        "score_psi": after.record.judgement.score_psi,
        "score_psi_before": before.record.judgement.score_psi,
    }
