"""A drift job, and what a run of it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from consistency.jsontype import Json
from consistency.log.reader import TORN_TAIL
from consistency.protocols import Damage
from monitors.drift.baseline import Baseline
from monitors.drift.judgement import Thresholds, Verdict
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.store import Change
from monitors.drift.windows import TimeBasis, Window, WindowLength, gaps, utc_text
from monitors.reference import ReferenceSet

MOST_DAMAGE_LISTED: Final = 20


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
        out: where judged windows are kept; None for the folder `drift` beside the log.
        thresholds: when a window has drifted.
        baseline: what says how windows vary without drift.
        include_open: also judge the window that is not over yet.
        last: so many of the latest windows decide how the run ends.
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


@dataclass(slots=True)
class Skipped:
    """What of the log was not counted.

    Attributes:
        damaged_lines: that cannot be read; `damage` lists the first ones.
        torn_tails: unfinished last lines; they were never answered.
        other_models: requests of other models and versions.
        other_bundles: requests that another bundle of this very version served, by its digest.
    """

    damaged_lines: int = 0
    torn_tails: int = 0
    damage: list[Damage] = field(default_factory=list)
    other_models: int = 0
    other_bundles: dict[str, int] = field(default_factory=dict)

    def take(self, damage: Damage) -> None:
        """Note a line that cannot be read."""
        if damage.problem == TORN_TAIL:
            self.torn_tails += 1
            return
        self.damaged_lines += 1
        if len(self.damage) < MOST_DAMAGE_LISTED:
            self.damage.append(damage)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        listed = [{n: getattr(d, n) for n in Damage.__slots__} for d in self.damage]
        return {
            "damaged_lines": self.damaged_lines,
            "torn_tails": self.torn_tails,
            "damage": listed,
            "other_models": self.other_models,
            "other_bundles": dict(sorted(self.other_bundles.items())),
        }


@dataclass(frozen=True, slots=True)
class DriftRun:
    """What a run found.

    Attributes:
        job: what was asked; subject: what was judged.
        reference: the bundle's frozen reference.
        folder: where this job's windows, summary and report are.
        history: every window judged so far, those included that the log no longer holds.
        changes: what this run did, by window that the log holds.
        kept: windows of which the log now holds fewer requests than before; they stay as they were.
        waiting: windows that were not judged since they are not over yet.
        skipped: what of the log was not counted.
        uncalibrated: why thresholds are not calibrated on the reference's days; empty if they are.
    """

    job: DriftJob
    subject: Subject
    reference: ReferenceSet
    folder: Path
    history: tuple[WindowRecord, ...]
    changes: dict[Window, Change]
    kept: tuple[Window, ...]
    waiting: tuple[Window, ...]
    skipped: Skipped
    uncalibrated: str = ""

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
            "gaps": [
                {"start": utc_text(g.start_s), "end": utc_text(g.end_s), "windows": g.windows}
                for g in gaps(r.window for r in self.history)
            ],
            "waiting": [w.start for w in self.waiting],
            "kept": [w.start for w in self.kept],
            "skipped": self.skipped.to_json(),
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
        "requests": record.counts.requests,
        "refused": record.counts.refused,
        "rows": record.counts.rows,
        "score_psi": record.judgement.score_psi,
        "feature_psi": {m.name: m.psi for m in features},
        "missing_ratio": {m.name: m.missing_ratio for m in features if m.missing_ratio},
        "unseen_ratio": {m.name: m.unseen_ratio for m in features if m.unseen_ratio},
    }
