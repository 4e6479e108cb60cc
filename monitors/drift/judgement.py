"""Decides whether a window has drifted: an effect that matters, and more than its own noise."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.drift.counting import WindowCounts
from monitors.psi import population_stability_index
from monitors.reference import CategoryReference, Counts, Reference, ReferenceSet

MODERATE_PSI: Final = 0.1
MAJOR_PSI: Final = 0.25


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
    """

    effect_psi: float = 0.25
    significance: float = 0.001
    min_rows: int = 200
    report_only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.effect_psi < np.inf:
            raise ConfigError(f"threshold {self.effect_psi}: an index is 0 or more, mostly 0.25")
        if not 0 < self.significance < 1:
            raise ConfigError(f"significance {self.significance}: give a chance between 0 and 1")
        if self.min_rows < 1:
            raise ConfigError(f"min-rows {self.min_rows}: give 1 or more")


@dataclass(frozen=True, slots=True)
class Measure:
    """One comparison of a window with the reference.

    Attributes:
        name: of the feature; `score`, or `score[i]` where there are several outputs.
        psi: population stability index, in nats.
        noise_psi: what the index of an unchanged world stays below; see `noise_psi`.
        limit_psi: the larger of the noise and the effect that matters: at or above is drift.
        decides: false for a feature that is only reported.
        missing_ratio: rows without a value (not counting unseen ones), 0 to 1.
        unseen_ratio: rows with a category that training never saw, 0 to 1.
        reference_missing_ratio: the same of the training sample; reference_unseen_ratio likewise.
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
        facts = {name: value[name] for name in cls.__slots__}
        return cls(**facts | {"kind": Kind(value["kind"]), "band": Band(value["band"])})


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


def judge(counts: WindowCounts, reference: ReferenceSet, thresholds: Thresholds) -> Judgement:
    """Compare a window with the reference.

    Args:
        counts: of the window, in the reference's buckets.
        reference: the frozen training distribution.
        thresholds: when it has drifted.

    Returns:
        The verdict and every comparison.

    Raises:
        ConfigError: `report_only` names a feature that there is not.
    """
    reported = _reported(reference, thresholds.report_only)
    several = len(reference.scores) > 1
    named = [(f"score[{i}]" if several else "score") for i in range(len(reference.scores))]
    scores = zip(named, reference.scores, counts.scores, strict=False)
    features = [(n, reference.features[n], held) for n, held in counts.features.items()]
    tests = len(named) + sum(n not in reported for n, _, _ in features)
    chance = thresholds.significance / max(tests, 1)
    test = _Test(chance, thresholds.effect_psi, reported)
    measures = [test.measure(n, Kind.SCORE, r, c, 0) for n, r, c in scores]
    measures += [
        test.measure(n, Kind.FEATURE, r, c, counts.unseen.get(n, 0)) for n, r, c in features
    ]
    verdict = Verdict.DRIFT if any(m.drifted and m.decides for m in measures) else Verdict.NO_DRIFT
    few = counts.rows < thresholds.min_rows
    return Judgement(Verdict.TOO_FEW_ROWS if few else verdict, tuple(measures))


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
        noise = noise_psi(held, int(training.sum()), int(counts.sum()), self.chance)
        limit = max(noise, self.effect_psi)
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
        )


def _reported(reference: ReferenceSet, patterns: Sequence[str]) -> frozenset[str]:
    found = {p: fnmatch.filter(reference.features, p) for p in patterns}
    useless = sorted(p for p, names in found.items() if not names)
    if useless:
        raise ConfigError(
            f"report-only {useless[0]!r} fits no feature of the bundle; it has "
            f"{', '.join(sorted(reference.features))}"
        )
    return frozenset(name for names in found.values() for name in names)


def noise_psi(buckets: int, reference_rows: int, current_rows: int, chance: float) -> float:
    """Return what the index exceeds with a given chance although nothing has changed.

    B. Yurdakul, *Statistical Properties of Population Stability Index* (Western Michigan
    University, 2018): for independent samples of N and M rows of one distribution in B buckets the
    index is about (1/N + 1/M) * chi2(B - 1).

    Example: chi2(9) exceeds 27.88 once in a thousand, times (1/10,000 + 1/1,000):

    >>> round(noise_psi(10, 10_000, 1_000, 0.001), 4)
    0.0307

    Args:
        buckets: B, those that at least one side holds; 1 or more.
        reference_rows: N.
        current_rows: M.
        chance: between 0 and 1.
    """
    if buckets < 2:
        return 0.0  # one bucket cannot move
    from scipy.special import chdtri

    return float(chdtri(buckets - 1, chance)) * (1 / reference_rows + 1 / current_rows)


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
