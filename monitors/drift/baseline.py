"""What a drift job compares windows with, and the shifts that only many windows show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from monitors.drift.counting import WindowCounts
from monitors.drift.judgement import (
    Judgement,
    Measure,
    Thresholds,
    Verdict,
    concluded,
    judge,
    reported_only,
    score_names,
)
from monitors.drift.record import WindowRecord
from monitors.drift.windows import Window, WindowLength
from monitors.reference import ReferenceSet
from monitors.reference_blocks import ReferenceBlocks
from monitors.thresholds.calibration import Calibration, Effects, thresholds_by_name
from monitors.thresholds.days import FEWEST_BLOCKS
from monitors.thresholds.multiplicity import AlarmRate
from monitors.thresholds.rolling import rolling_blocks, windows_back
from monitors.thresholds.sequential import SequentialDetector
from monitors.thresholds.statistics import Statistic

_LOOK_BACK: Final = 120
"""Windows that the sequential detector follows: a sum that is not through by then has forgotten."""


class Baseline(StrEnum):
    """What says how windows vary without drift."""

    REFERENCE = "reference"
    """The days of the training sample."""
    ROLLING = "rolling"
    """The windows before; the last days of the training sample make up for missing ones."""
    NOISE = "noise"
    """Nothing: sampling noise, and an effect that matters."""


class WindowJudge:
    """Judges the windows of a job, one after the other.

    Args:
        reference: of the bundle that served.
        length: of the windows.
        thresholds: when a window has drifted.
        baseline: what to compare with.
    """

    def __init__(
        self,
        reference: ReferenceSet,
        length: WindowLength,
        thresholds: Thresholds,
        baseline: Baseline = Baseline.REFERENCE,
    ) -> None:
        self._reference, self._length_s, self._thresholds = reference, length.seconds, thresholds
        self._baseline = baseline
        self._silent = reported_only(reference, thresholds.report_only)
        self._names = score_names(reference)
        self.note = _why_not(reference, length) if baseline is not Baseline.NOISE else ""
        """Why the reference's thresholds are not calibrated; empty when they are."""
        known = reference.blocks is not None and not self.note
        self._blocks = self._reference_blocks() if known else None
        self._frozen = None if self._blocks is None else self._learn(self._blocks)
        self._rolling: Calibration | None = None
        self._learned_from: list[WindowRecord] = []

    def judge(
        self, window: Window, counts: WindowCounts, earlier: Sequence[WindowRecord]
    ) -> Judgement:
        """Return the verdict on a window.

        Args:
            window: when.
            counts: its requests, in the reference's buckets.
            earlier: the judged windows before it, in the order of time.
        """
        if self._baseline is Baseline.NOISE:
            return judge(counts, self._reference, self._thresholds)
        calibration = self._calibration(earlier)
        found = judge(counts, self._reference, self._thresholds, calibration, window)
        if calibration is None or found.verdict is Verdict.TOO_FEW_ROWS:
            return found
        lasting = set(self._lasting(calibration, found, earlier))
        measures = [
            replace(m, lasting=True, drifted=True) if m.name in lasting else m
            for m in found.measures
        ]
        return concluded(measures, too_few=False)

    def _calibration(self, earlier: Sequence[WindowRecord]) -> Calibration | None:
        if self._baseline is not Baseline.ROLLING:
            return self._frozen
        held = [r for r in earlier if r.complete and r.verdict is not Verdict.TOO_FEW_ROWS]
        last = held[-windows_back(self._length_s) :]
        if self._rolling is None or not _very_same(last, self._learned_from):
            parts = [(r.window.start_s, r.counts.features, r.counts.scores) for r in last]
            blocks = rolling_blocks(parts, self._length_s, self._blocks)
            self._rolling = None if blocks is None else self._learn(blocks)
            self._learned_from = last
        return self._rolling or self._frozen

    def _learn(self, blocks: ReferenceBlocks) -> Calibration | None:
        rate = AlarmRate(self._thresholds.false_alarm_windows)
        return Calibration.learn(self._reference, blocks, rate, Effects(), silent=self._silent)

    def _reference_blocks(self) -> ReferenceBlocks | None:
        assert self._reference.blocks is not None
        return self._reference.blocks.without_ends().merged(self._length_s)

    def _lasting(
        self, calibration: Calibration, found: Judgement, earlier: Sequence[WindowRecord]
    ) -> Iterator[str]:
        """Yield the names of the measures whose small shifts have added up in this window."""
        held = {n: c for n, c in thresholds_by_name(calibration, self._names).items() if c}
        before = [_followed(r.judgement.measures) for r in earlier[-_LOOK_BACK:]]
        now = _followed(found.measures)
        for name, deviation in now.items():
            models = held[name].models
            model = models.get(Statistic.LOCATION, models.get(Statistic.SHAPE))
            if model is None:
                continue
            length = calibration.rate.run_length(len(now))
            detector = SequentialDetector.tuned(length, model.blocks, model.memory)
            states = list(detector.follow([*(each.get(name) for each in before), deviation]))
            if states[-1].alarm:
                yield name


def _very_same(first: Sequence[WindowRecord], second: Sequence[WindowRecord]) -> bool:
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


def _followed(measures: Sequence[Measure]) -> dict[str, float]:
    return {m.name: m.followed for m in measures if m.followed is not None}


def _why_not(reference: ReferenceSet, length: WindowLength) -> str:
    """Return why there are no calibrated thresholds, or nothing."""
    instead = "sampling noise and --threshold decide"
    if reference.blocks is None:
        return (
            f"the bundle's reference does not tell its days apart (it was made without times, or "
            f"by an earlier release): {instead}; bundle anew with the times of the reference"
        )
    merged = reference.blocks.without_ends().merged(length.seconds)
    if merged is None:
        block = WindowLength(reference.blocks.length_s)
        return (
            f"windows of {length} are no multiple of the reference's blocks of {block}: {instead}"
        )
    if len(merged) < FEWEST_BLOCKS:
        return (
            f"the reference holds {len(merged)} whole windows of {length}, calibrated thresholds "
            f"need {FEWEST_BLOCKS}: {instead}"
        )
    return ""
