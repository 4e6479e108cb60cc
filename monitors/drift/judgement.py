"""Decides whether a window has drifted: more than windows of the reference do without drift.

Where the reference tells its days apart, its calibrated thresholds decide. Where it does not
(bundles of earlier releases, references without times, windows that are no multiple of its blocks),
only sampling noise is known, and an effect that matters has to stand in for the days.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final, Self

import numpy as np

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.drift.counting import WindowCounts
from monitors.drift.windows import Window
from monitors.psi import population_stability_index
from monitors.reference import CategoryReference, Counts, Reference, ReferenceSet
from monitors.thresholds.calibration import Calibration, Finding, thresholds_by_name
from monitors.thresholds.multiplicity import SHARES, AlarmRate, discoveries
from monitors.thresholds.sampling import effect_psi_limit, exceeding_chance, noise_psi
from monitors.thresholds.statistics import Statistic

MODERATE_PSI: Final = 0.1
MAJOR_PSI: Final = 0.25
FALSE_DISCOVERIES: Final = 0.1
"""Share of the list of what has moved in a window with an alarm that chance may have put there."""


class Verdict(StrEnum):
    """What a window was judged to be."""

    NO_DRIFT = "no_drift"
    DRIFT = "drift"
    TOO_FEW_ROWS = "too_few_rows"
    """No verdict: noise would decide."""


class Band(StrEnum):
    """The classic reading of the index (Siddiqi 2006), shown beside the verdict."""

    STABLE = "stable"
    """Below 0.1."""
    MODERATE = "moderate"
    """From 0.1."""
    MAJOR = "major"
    """From 0.25."""


class Kind(StrEnum):
    """What was compared."""

    FEATURE = "feature"
    SCORE = "score"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a window has drifted.

    Attributes:
        effect_psi: the least index that matters, in nats, however sure one is of it.
        significance: the chance at which sampling noise alone makes a false alarm of a window, all
            its comparisons together (Bonferroni).
        min_rows: a window with fewer scored rows gets no verdict.
        report_only: features that are measured but do not decide, by name or shell pattern:
            `month_*` moves with the calendar, `*` leaves the verdict to the scores.
        false_alarm_windows: with calibrated thresholds, how many windows lie between two false
            alarms of the model on average; see `AlarmRate`. They leave `effect_psi` and
            `significance` aside.
    """

    effect_psi: float = 0.25
    significance: float = 0.001
    min_rows: int = 200
    report_only: tuple[str, ...] = ()
    false_alarm_windows: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.effect_psi < np.inf:
            raise ConfigError(f"threshold {self.effect_psi}: an index is 0 or more, mostly 0.25")
        if not 0 < self.significance < 1:
            raise ConfigError(f"significance {self.significance}: give a chance between 0 and 1")
        if self.min_rows < 1:
            raise ConfigError(f"min-rows {self.min_rows}: give 1 or more")
        AlarmRate(self.false_alarm_windows)


@dataclass(frozen=True, slots=True)
class Measure:
    """One comparison of a window with the reference.

    Attributes:
        name: of the feature; `score`, or `score[i]` where there are several outputs.
        psi: population stability index, in nats.
        noise_psi: what the index of an unchanged world stays below; see `noise_psi`.
        limit_psi: without calibrated thresholds at or above is drift: what noise stays below while
            the true index is no more than the effect that matters. With them, see `findings`.
        decides: false for a feature that is only reported.
        missing_ratio: rows without a value (not counting unseen ones), 0 to 1.
        unseen_ratio: rows with a category that training never saw, 0 to 1.
        reference_missing_ratio: the same of the training sample; reference_unseen_ratio likewise.
        findings: what the calibrated thresholds say, one for each statistic; none without them.
        lasting: whether a small shift that stays has passed its limit in this window.
        chance: that a window without drift is as far off; with findings, of any of them.
    """

    name: str
    kind: Kind
    psi: float
    noise_psi: float
    limit_psi: float
    band: Band
    drifted: bool
    decides: bool
    missing_ratio: float
    reference_missing_ratio: float
    unseen_ratio: float
    reference_unseen_ratio: float
    findings: tuple[Finding, ...] = ()
    lasting: bool = False
    chance: float = 1.0

    @property
    def reason(self) -> str:
        """What drifted, in a few words; empty without drift or without calibrated thresholds."""
        found = [
            f"{f.statistic.value} {f.value:.3g} (expected {f.expected:.3g}, {f.deviation:+.1f} of "
            f"{f.limit:.1f} deviations)"
            for f in self.findings
            if f.alarm
        ]
        return ", ".join([*found, *["a small shift that stays"] * self.lasting])

    @property
    def followed(self) -> float | None:
        """The deviation that the sequential detector adds up: the location, else the shape."""
        held = {f.statistic: f.deviation for f in self.findings}
        return held.get(Statistic.LOCATION, held.get(Statistic.SHAPE))

    @property
    def missing_change(self) -> float:
        """How the share of missing values has changed against the reference."""
        return self.missing_ratio - self.reference_missing_ratio

    @property
    def unseen_change(self) -> float:
        """How the share of unseen categories has changed against the reference."""
        return self.unseen_ratio - self.reference_unseen_ratio

    def to_json(self) -> dict[str, Json]:
        """Return JSON types; the changes are there for readers, `from_json` computes them anew."""
        changes = {"missing_change": self.missing_change, "unseen_change": self.unseen_change}
        return {**asdict(self), **changes}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build the measure that `to_json` described."""
        facts = {name: value[name] for name in cls.__slots__ if name in value}
        found = (f | {"statistic": Statistic(f["statistic"])} for f in value.get("findings", ()))
        read = {"kind": Kind(value["kind"]), "band": Band(value["band"])}
        return cls(**facts | read | {"findings": tuple(Finding(**f) for f in found)})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a window was judged to be, and why.

    Attributes:
        measures: scores first, then features in schema order; none for a window without rows.
    """

    verdict: Verdict
    measures: tuple[Measure, ...]

    @property
    def drifted(self) -> tuple[Measure, ...]:
        """The measures that decided for drift."""
        if self.verdict is not Verdict.DRIFT:
            return ()
        return tuple(m for m in self.measures if m.drifted and m.decides)

    @property
    def moved(self) -> tuple[Measure, ...]:
        """All measures that have moved, when there is an alarm: a list to look into.

        At most the share `FALSE_DISCOVERIES` of it is expected to be there by chance, however many
        measures there are and however they depend on each other.
        """
        if self.verdict is not Verdict.DRIFT:
            return ()
        found = discoveries([m.chance for m in self.measures], FALSE_DISCOVERIES)
        pairs = zip(self.measures, found, strict=True)
        return tuple(m for m, is_found in pairs if is_found or (m.drifted and m.decides))

    @property
    def features(self) -> tuple[Measure, ...]:
        """The comparisons of features, in schema order."""
        return tuple(m for m in self.measures if m.kind is Kind.FEATURE)

    @property
    def scores(self) -> tuple[Measure, ...]:
        """The comparisons of the score's outputs."""
        return tuple(m for m in self.measures if m.kind is Kind.SCORE)

    @property
    def score_psi(self) -> float | None:
        """The index of the scores; of several outputs the largest."""
        return max((m.psi for m in self.scores), default=None)


def judge(
    counts: WindowCounts,
    reference: ReferenceSet,
    thresholds: Thresholds,
    calibration: Calibration | None = None,
    window: Window | None = None,
) -> Judgement:
    """Compare a window with the reference.

    Args:
        counts: of the window, in the reference's buckets.
        reference: the frozen training distribution.
        thresholds: when it has drifted.
        calibration: what windows of this length do without drift, if that is known.
        window: when; it tells the weekday that a calibration compares with.

    Returns:
        The verdict and every comparison.

    Raises:
        ConfigError: `report_only` names a feature that there is not.
    """
    reported = reported_only(reference, thresholds.report_only)
    held = reference.measures
    named = score_names(reference)
    scores = zip(named, reference.scores, counts.scores, strict=False)
    features = [(n, held[n], each) for n, each in counts.features.items()]
    tests = len(named) + sum(n not in reported for n, _, _ in features)
    chance = thresholds.significance / max(tests, 1)
    test = _Test(chance, thresholds.effect_psi, reported)
    measures = [test.measure(n, Kind.SCORE, r, c, 0) for n, r, c in scores]
    measures += [
        test.measure(n, Kind.FEATURE, r, c, counts.unseen.get(n, 0)) for n, r, c in features
    ]
    if calibration is not None and window is not None:
        every = counts.features | dict(zip(named, counts.scores, strict=False))
        measures = _calibrated(measures, every, calibration, named, window)
    few = counts.rows < thresholds.min_rows
    return concluded(measures, too_few=few)


def concluded(measures: Sequence[Measure], *, too_few: bool) -> Judgement:
    """Return the verdict that follows from some comparisons."""
    verdict = Verdict.DRIFT if any(m.drifted and m.decides for m in measures) else Verdict.NO_DRIFT
    return Judgement(Verdict.TOO_FEW_ROWS if too_few else verdict, tuple(measures))


def score_names(reference: ReferenceSet) -> list[str]:
    """Return what the outputs are called."""
    several = len(reference.scores) > 1
    return [(f"score[{i}]" if several else "score") for i in range(len(reference.scores))]


def _calibrated(
    measures: Sequence[Measure],
    counts: Mapping[str, Counts],
    calibration: Calibration,
    named: Sequence[str],
    window: Window,
) -> list[Measure]:
    """Return the comparisons as the calibrated thresholds decide them, where there are some."""
    phase = calibration.calendar.phase_of(window.start_s)
    known = thresholds_by_name(calibration, named)
    decided = []
    for measure in measures:
        held = known.get(measure.name)
        if held is None:
            decided.append(measure)
            continue
        found = held.judge(counts[measure.name], phase, calibration.effects)
        drifted = any(f.alarm for f in found)
        chance = min((f.chance / SHARES[f.statistic] for f in found), default=1.0)
        decided.append(replace(measure, findings=found, drifted=drifted, chance=min(chance, 1.0)))
    return decided


@dataclass(frozen=True, slots=True)
class _Test:
    """What each comparison of a window is held against."""

    chance: float
    effect_psi: float
    reported: frozenset[str]

    def measure(
        self, name: str, kind: Kind, reference: Reference, counts: Counts, unseen_rows: int
    ) -> Measure:
        training = reference.training_counts
        psi = population_stability_index(training, counts)
        held = int(((training + counts) > 0).sum())
        rows = int(training.sum()), int(counts.sum())
        noise = noise_psi(held, *rows, self.chance)
        limit = effect_psi_limit(held, *rows, self.chance, self.effect_psi)
        missing, unseen = _ratios(reference, counts, unseen_rows)
        missing_before, unseen_before = _ratios(reference, training, 0)
        return Measure(
            name=name,
            kind=kind,
            psi=psi,
            noise_psi=noise,
            limit_psi=limit,
            band=band(psi),
            drifted=psi >= limit and psi > 0,
            decides=kind is Kind.SCORE or name not in self.reported,
            missing_ratio=missing,
            reference_missing_ratio=missing_before,
            unseen_ratio=unseen,
            reference_unseen_ratio=unseen_before,
            chance=exceeding_chance(held, *rows, psi, self.effect_psi),
        )


def reported_only(reference: ReferenceSet, patterns: Sequence[str]) -> frozenset[str]:
    """Return the features that do not decide.

    Raises:
        ConfigError: a pattern fits none.
    """
    found = {p: fnmatch.filter(reference.measures, p) for p in patterns}
    useless = sorted(p for p, names in found.items() if not names)
    if useless:
        raise ConfigError(
            f"report-only {useless[0]!r} fits no feature of the bundle; it has "
            f"{', '.join(sorted(reference.measures))}"
        )
    return frozenset(name for names in found.values() for name in names)


def band(psi: float) -> Band:
    """Return the classic reading of an index.

    >>> band(0.05).value, band(0.1).value, band(0.3).value
    ('stable', 'moderate', 'major')
    """
    if psi < MODERATE_PSI:
        return Band.STABLE
    return Band.MODERATE if psi < MAJOR_PSI else Band.MAJOR


def _ratios(reference: Reference, counts: Counts, unseen_rows: int) -> tuple[float, float]:
    """Return the shares of missing and of unseen values.

    A category feature has buckets for both. An encoded one is NaN for both: its status tells them
    apart.
    """
    total = int(counts.sum())
    if isinstance(reference, CategoryReference):
        return int(counts[-1]) / total, int(counts[-2]) / total
    return max(int(counts[-1]) - unseen_rows, 0) / total, unseen_rows / total
