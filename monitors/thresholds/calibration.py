"""The thresholds of a model: learned from the blocks of its reference, applied to a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from monitors.psi import population_stability_index
from monitors.reference import Counts, Reference, ReferenceSet
from monitors.reference_blocks import BlockCounts, ReferenceBlocks
from monitors.thresholds.days import FEWEST_BLOCKS, DayModel
from monitors.thresholds.held_out import HeldOut, folds_of, stretch
from monitors.thresholds.multiplicity import AlarmRate
from monitors.thresholds.statistics import Frame, Measured, Statistic, indices

_DAY: Final = 86_400
_WEEK: Final = 7 * _DAY
_FIRST_MONDAY: Final = 4 * _DAY
_ONE: Final = np.ones(1, np.bool_)
_SIDES: Final = {Statistic.LOCATION: 2, Statistic.SHAPE: 1, Statistic.GAPS: 2}


@dataclass(frozen=True, slots=True)
class Effects:
    """Shifts that are too small to matter, however sure one is of them.

    Attributes:
        location: of the mean normal score; in a normal feature, standard deviations.
        psi: of the index; 0.01 is a shift of a normal feature by 0.1 standard deviations.
        gaps: of the share of missing, infinite and unseen values.
    """

    location: float = 0.1
    psi: float = 0.01
    gaps: float = 0.01


@dataclass(frozen=True, slots=True)
class Finding:
    """One statistic of a window, beside what it is without drift.

    Attributes:
        statistic: what was measured.
        value: in the statistic's own unit; for the shape the index itself, for gaps their share.
        expected: without drift, in the same unit.
        deviation: from it, in standard deviations of windows without drift.
        limit: what the deviation exceeds with a known small chance.
        alarm: whether it did, and the shift is large enough to matter.
        chance: that a window without drift deviates as far; at the limit, what the statistic is
            granted. 1 of a shift that is too small to matter, and in windows that were judged by an
            earlier release.
    """

    statistic: Statistic
    value: float
    expected: float
    deviation: float
    limit: float
    alarm: bool
    chance: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class FeatureCalibration:
    """The thresholds of one feature or output.

    Attributes:
        frame: its buckets, with the baseline's counts.
        models: how each statistic varies from block to block.
        limits: the largest deviation of each.
        stretches: by how much each limit is larger than that of normal days.
        needed: by how much each block exceeds the worst of the other weeks, 0 for those that raise
            no alarm; see `held_out`. Shape (D,).
    """

    frame: Frame
    models: Mapping[Statistic, DayModel]
    limits: Mapping[Statistic, float]
    stretches: Mapping[Statistic, float]
    needed: NDArray[np.float64]

    @classmethod
    def learn(
        cls, reference: Reference, blocks: BlockCounts, calendar: Calendar,
        rate: AlarmRate, comparisons: int, effects: Effects,
    ) -> Self | None:  # fmt: skip
        """Return the thresholds, not yet stretched, or None when too few blocks hold a row.

        Args:
            reference: tells the buckets; its own counts are not used.
            blocks: counts of the blocks, shape (D, B); together they are the baseline.
            calendar: of the blocks.
            rate: of the model's false alarms.
            comparisons: that share it.
            effects: that do not matter.
        """
        rows = blocks.sum(axis=1)
        if (rows > 0).sum() < FEWEST_BLOCKS:
            return None
        frame = Frame.of(reference, blocks.sum(axis=0), int((rows > 0).sum()))
        psi = indices(blocks, frame.counts, inside=True)
        held = np.isfinite(psi)
        frame = frame.with_days(psi[held], rows[held].astype(np.float64))
        models, limits, needed = {}, {}, np.zeros(len(blocks))
        for statistic, each in _measured(frame, blocks, psi).items():
            model = DayModel.learn(each, calendar.phase, calendar.phases)
            if model is None:
                continue
            chance, sides = rate.chance(statistic, comparisons), _SIDES[statistic]
            models[statistic], limits[statistic] = model, model.limit(chance, sides)
            matters = _Matters(statistic, effects, _sizes(frame, statistic, each, blocks, psi))
            needed = np.maximum(needed, calendar.held_out.needed(each, chance, sides, matters))
        return cls(frame, models, limits, dict.fromkeys(limits, 1.0), needed)

    def stretched(self, by: float) -> Self:
        """Return it with limits of at least so many times the worst deviation of a block."""
        limits = {s: max(each, by * self.models[s].worst) for s, each in self.limits.items()}
        stretches = {s: each / self.limits[s] for s, each in limits.items()}
        return replace(self, limits=limits, stretches=stretches)

    def judge(self, counts: Counts, phase: int, effects: Effects) -> tuple[Finding, ...]:
        """Compare a window with the baseline; nothing for a window without rows."""
        if not counts.any():
            return ()
        psi = population_stability_index(self.frame.counts, counts)
        found = []
        for statistic, each in _window(self.frame, counts, psi).items():
            model = self.models.get(statistic)
            value, sampling = float(each.values[0]), float(each.sampling[0])
            if model is None or not np.isfinite(value):
                continue
            shown = self._shown(statistic, counts, psi, value, model.expected(phase))
            deviation = model.deviation(value, sampling, phase)
            limit = self.limits[statistic]
            far = deviation if _SIDES[statistic] == 1 else abs(deviation)
            sizes = _sizes(self.frame, statistic, each, counts[None, :], np.array([psi]))
            matters = _Matters(statistic, effects, sizes)
            enough = bool(matters(_ONE, np.array([model.expected(phase)]))[0])
            alarm = far > limit and enough
            sure = model.chance(far / self.stretches[statistic], _SIDES[statistic])
            chance = sure if enough else 1.0
            found.append(Finding(statistic, *shown, deviation, limit, alarm, chance))
        return tuple(found)

    def _shown(
        self, statistic: Statistic, counts: Counts, psi: float, value: float, expected: float
    ) -> tuple[float, float]:
        """Return value and expectation in units that people know."""
        if statistic is Statistic.SHAPE:
            rows = np.array([counts.sum()], np.float64)
            usual = self.frame.expected_psi(float(self.frame.counts.sum()), rows)
            return psi, float(np.exp(expected) * usual[0])
        if statistic is Statistic.GAPS:
            share = int(counts[self.frame.gaps].sum()) / int(counts.sum())
            return share, float(_share(np.array(expected)))
        return value, expected


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """The phase of each block in a cycle: its weekday, or its hour of the week.

    Attributes:
        phase: of each block, shape (D,).
        phases: of the cycle; 1 for blocks that are no part of a week.
        length_s: of the blocks.
        folds: week of each block, shape (D,); see `held_out`.
    """

    phase: NDArray[np.int64]
    phases: int
    length_s: int
    folds: NDArray[np.int64]

    @property
    def held_out(self) -> HeldOut:
        """How the blocks are judged by each other."""
        return HeldOut(self.folds, self.phase, self.phases)

    @classmethod
    def of(cls, starts_s: NDArray[np.int64], length_s: int) -> Self:
        """Return the calendar of blocks that begin at these moments.

        A week's phases while there are three blocks for each on average, else a day's, else none.
        """
        folds = folds_of(starts_s)
        for cycle in (_WEEK, _DAY):
            phases = cycle // length_s if length_s < cycle and cycle % length_s == 0 else 1
            if phases > 1 and len(starts_s) >= 3 * phases:
                return cls(_phase(starts_s, cycle, length_s), phases, length_s, folds)
        return cls(np.zeros(len(starts_s), np.int64), 1, length_s, folds)

    def phase_of(self, start_s: int) -> int:
        """Return the phase of a window."""
        if self.phases == 1:
            return 0
        cycle = self.phases * self.length_s
        return int(_phase(np.array([start_s]), cycle, self.length_s)[0])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The thresholds of a model version for windows of one length.

    Attributes:
        length_s: of the windows.
        blocks: that they were learned from.
        calendar: of those blocks.
        rate: of the model's false alarms.
        effects: shifts that are too small to matter.
        features: by name; scores: by output. None where too little is known.
        stretch: how many times its reference's worst deviation a limit is, at least.
    """

    length_s: int
    blocks: int
    calendar: Calendar
    rate: AlarmRate
    effects: Effects
    features: Mapping[str, FeatureCalibration | None]
    scores: tuple[FeatureCalibration | None, ...] = field(default=())
    stretch: float = 1.0

    @property
    def comparisons(self) -> int:
        """How many share the alarm rate."""
        return len(self.features) + len(self.scores)

    @classmethod
    def learn(
        cls, reference: ReferenceSet, blocks: ReferenceBlocks, rate: AlarmRate,
        effects: Effects, *, silent: frozenset[str] = frozenset(),
    ) -> Self | None:  # fmt: skip
        """Return the thresholds, or None when there are fewer than `FEWEST_BLOCKS` blocks.

        Args:
            reference: the buckets.
            blocks: of the length of the windows; of the reference, or of later windows.
            rate: of false alarms.
            effects: that do not matter.
            silent: features that raise no alarm, and so need no share of the rate.
        """
        if len(blocks) < FEWEST_BLOCKS:
            return None
        calendar = Calendar.of(blocks.starts_s, blocks.length_s)
        comparisons = len(blocks.scores) + len(blocks.features.keys() - silent)

        def learned(each: Reference, counts: BlockCounts) -> FeatureCalibration | None:
            return FeatureCalibration.learn(each, counts, calendar, rate, comparisons, effects)

        held = reference.measures
        features = {n: learned(held[n], c) for n, c in blocks.features.items()}
        pairs = zip(reference.scores, blocks.scores, strict=True)
        scores = tuple(learned(r, c) for r, c in pairs)
        deciding = [*scores, *(f for n, f in features.items() if n not in silent)]
        needed = np.max(
            [np.zeros(len(blocks)), *(f.needed for f in deciding if f is not None)], axis=0
        )
        chance, tests = rate.chance_of_a_window, comparisons * len(Statistic)
        by = stretch(needed, calendar.folds, chance, tests)
        return cls(
            blocks.length_s, len(blocks), calendar, rate, effects,
            {n: f and f.stretched(by) for n, f in features.items()},
            tuple(f and f.stretched(by) for f in scores), by,
        )  # fmt: skip


def _measured(
    frame: Frame, blocks: BlockCounts, psi: NDArray[np.float64]
) -> dict[Statistic, Measured]:
    rows = blocks.sum(axis=1).astype(np.float64)
    found = {}
    if not np.isnan(frame.scores).all():
        found[Statistic.LOCATION] = frame.location(blocks)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[Statistic.SHAPE] = frame.shape(psi, float(frame.counts.sum()), rows)
    found[Statistic.GAPS] = frame.share_of_gaps(blocks)
    return found


def _window(frame: Frame, counts: Counts, psi: float) -> dict[Statistic, Measured]:
    return _measured(frame, counts[None, :], np.array([psi]))


def _sizes(
    frame: Frame, statistic: Statistic, measured: Measured, counts: BlockCounts,
    psi: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Return what an effect is the size of: the location, the index, or the share of gaps."""
    if statistic is Statistic.SHAPE:
        return psi
    if statistic is Statistic.LOCATION:
        return measured.values
    share: NDArray[np.float64] = counts[:, frame.gaps].sum(axis=1) / counts.sum(axis=1).clip(1)
    return share


@dataclass(frozen=True, slots=True, eq=False)
class _Matters:
    """Tells which shifts of some windows are large enough to matter.

    Attributes:
        sizes: of the windows, shape (D,).
    """

    statistic: Statistic
    effects: Effects
    sizes: NDArray[np.float64]

    def __call__(
        self, windows: NDArray[np.bool_], expected: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        sizes = self.sizes[windows]
        with np.errstate(invalid="ignore"):
            if self.statistic is Statistic.SHAPE:
                enough = sizes >= self.effects.psi
            elif self.statistic is Statistic.LOCATION:
                enough = np.abs(sizes - expected) >= self.effects.location
            else:
                enough = np.abs(sizes - _share(expected)) >= self.effects.gaps
        found: NDArray[np.bool_] = enough
        return found


def _share(transformed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share whose arcsin(sqrt(share)) this is."""
    share: NDArray[np.float64] = np.sin(np.clip(transformed, 0.0, np.pi / 2)) ** 2
    return share


def _phase(starts_s: NDArray[np.int64], cycle: int, length_s: int) -> NDArray[np.int64]:
    phase: NDArray[np.int64] = (starts_s - _FIRST_MONDAY) % cycle // length_s
    return phase


def thresholds_by_name(
    calibration: Calibration, names: Sequence[str]
) -> dict[str, FeatureCalibration | None]:
    """Return each comparison's thresholds, the scores under the given names."""
    return dict(zip(names, calibration.scores, strict=True)) | dict(calibration.features)
