"""Counts alarms on days that nothing was tuned on, and finds the smallest shifts that are seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.alarm_days import DAY_S, SCORE, Days, date_of, window_of
from benchmarks.alarm_rules import RULES, FeatureRules
from monitors.drift.baseline import Baseline, WindowJudge
from monitors.drift.judgement import Thresholds
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.windows import TimeBasis, WindowLength
from monitors.reference import NumericReference, ReferenceSet
from monitors.thresholds.calibration import Calibration, Effects, FeatureCalibration
from monitors.thresholds.multiplicity import AlarmRate
from monitors.thresholds.sequential import SequentialDetector
from monitors.thresholds.statistics import Statistic

SHIFTS: Final = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""In standard deviations of the feature in the reference."""

ASKED: Final = 0.3
POWER: Final = 0.95
DAYS_A_MONTH: Final = 365.25 / 12
WEEK: Final = 7
_WAIT_DAYS: Final = 30
_SUBJECT: Final = Subject("flights", 1, "", "", TimeBasis.EVENT)


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms of one rule.

    Attributes:
        days: that were judged.
        by_day: for each day with an alarm, feature to the reason ("" when the rule has none).
    """

    days: tuple[str, ...]
    by_day: Mapping[str, Mapping[str, str]]

    @property
    def a_month(self) -> float:
        """Days with an alarm, of any feature, a month."""
        return len(self.by_day) / len(self.days) * DAYS_A_MONTH

    @property
    def features_a_month(self) -> float:
        """Alarms a month when each feature of each day is one."""
        return sum(map(len, self.by_day.values())) / len(self.days) * DAYS_A_MONTH

    def of(self, names: Collection[str]) -> Alarms:
        """Return the alarms of some features."""
        kept = {day: {n: r for n, r in found.items() if n in names}
                for day, found in self.by_day.items()}  # fmt: skip
        return Alarms(self.days, {day: found for day, found in kept.items() if found})

    @property
    def incidents(self) -> int:
        """Runs of days with an alarm: what somebody is woken for once."""
        held = [day in self.by_day for day in self.days]
        return sum(now and not before for before, now in pairwise([False, *held]))


@dataclass(frozen=True, slots=True)
class FeaturePower:
    """What is seen of a feature.

    Attributes:
        name: of the feature, or `score`.
        day_deviation: standard deviation of its day means, in its own standard deviations.
        within_day: smallest shift of `SHIFTS` found with 95% power in one day; None beyond them.
        within_week: the same within seven days.
        asked_day: share of the days on which a shift of +0.3 is found at once.
        asked_week: share of the weeks.
        delay_days: median days until +0.3 is found; None when half of the starts never are.
        peers: share of the days on which each of the other rules finds +0.3.
    """

    name: str
    day_deviation: float
    within_day: float | None
    within_week: float | None
    asked_day: float
    asked_week: float
    delay_days: float | None
    peers: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Study:
    """What was found in the reference's season, each week judged by all the others.

    Attributes:
        ours: alarms of the calibrated thresholds, single days and lasting shifts.
        peers: alarms of the other rules, by rule.
        powers: by feature; those with two values or fewer are left out.
    """

    ours: Alarms
    peers: Mapping[str, Alarms]
    powers: tuple[FeaturePower, ...]


@dataclass(slots=True)
class _Seen:
    """Day by day, what a shift of one feature would have done."""

    alarms: list[bool] = field(default_factory=list)
    deviations: list[float | None] = field(default_factory=list)
    detectors: list[SequentialDetector] = field(default_factory=list)


def held_out_study(days: Days, shifts: Sequence[float] = SHIFTS) -> Study:
    """Judge each week of the days by a reference of all the others.

    Buckets, baselines, limits and the peers' references are made anew for each week, from the rows
    of the other weeks alone.
    """
    records: list[WindowRecord] = []
    peers: dict[str, dict[str, dict[str, str]]] = {rule: {} for rule in RULES}
    seen: dict[tuple[str, float], _Seen] = {}
    found: dict[str, list[NDArray[np.bool_]]] = {}
    names = [n for n in days.names if len(np.unique(days.columns[n])) > 2]
    for rest, week in _weeks(days):
        reference = rest.frozen()
        judge = WindowJudge(reference, WindowLength(DAY_S), Thresholds())
        rules = {n: FeatureRules.of(rest, n, _numeric(reference, n)) for n in days.names}
        thresholds = _thresholds(reference)
        for day in week:
            records.append(judged(judge, reference, days, day, records))
            _ask_peers(peers, rules, days, day)
            for name in names:
                _shift(seen, name, shifts, thresholds[name], reference, days, day, rest)
                shifted = days.of(name, day) + ASKED * float(np.nanstd(rest.columns[name]))
                found.setdefault(name, []).append(rules[name].alarms(shifted))
    dates = tuple(date_of(int(day)) for day in days.days)
    powers = tuple(
        _power(days, name, {s: seen[name, s] for s in shifts}, found[name]) for name in names
    )
    return Study(
        alarms_of(records), {rule: Alarms(dates, by_day) for rule, by_day in peers.items()}, powers
    )


def held_out_alarms(days: Days, min_rows: int = 100) -> Alarms:
    """Judge each week of the days by a reference of all the others, our alarms only."""
    records: list[WindowRecord] = []
    for rest, week in _weeks(days):
        reference = rest.frozen()
        judge = WindowJudge(reference, WindowLength(DAY_S), Thresholds(min_rows=min_rows))
        for day in week:
            records.append(judged(judge, reference, days, day, records))
    return alarms_of(records)


def later_study(
    season: Days, later: Days, baseline: Baseline, report_only: tuple[str, ...] = ()
) -> Alarms:
    """Judge later days by a reference that was frozen once, as the drift job does."""
    reference = season.frozen()
    thresholds = Thresholds(report_only=report_only)
    judge = WindowJudge(reference, WindowLength(DAY_S), thresholds, baseline)
    records: list[WindowRecord] = []
    for day in later.days.tolist():
        records.append(judged(judge, reference, later, day, records))
    return alarms_of(records)


def judged(
    judge: WindowJudge,
    reference: ReferenceSet,
    days: Days,
    day: int,
    earlier: Sequence[WindowRecord],
) -> WindowRecord:
    """Return a day as the drift job would have kept it."""
    counts = days.counted(reference, day)
    found = judge.judge(window_of(day), counts, earlier)
    return WindowRecord(_SUBJECT, window_of(day), True, counts, Thresholds(), found)


def alarms_of(records: Sequence[WindowRecord]) -> Alarms:
    """Return the alarms of judged days."""
    named = {
        r.window.label: {m.name: m.reason for m in r.judgement.drifted}
        for r in records
        if r.judgement.drifted
    }
    return Alarms(tuple(r.window.label for r in records), named)


def _weeks(days: Days) -> Iterator[tuple[Days, list[int]]]:
    weeks = days.number // WEEK
    for week in np.unique(weeks):
        yield days.chosen(weeks != week), np.unique(days.number[weeks == week]).tolist()


def _numeric(reference: ReferenceSet, name: str) -> NumericReference:
    held = reference.scores[0] if name == SCORE else reference.features[name]
    assert isinstance(held, NumericReference)
    return held


def _thresholds(reference: ReferenceSet) -> dict[str, FeatureCalibration]:
    assert reference.blocks is not None
    blocks = reference.blocks.without_ends()
    learned = Calibration.learn(reference, blocks, AlarmRate(), Effects())
    assert learned is not None
    held = dict(learned.features) | {SCORE: learned.scores[0]}
    return {name: each for name, each in held.items() if each is not None}


def _ask_peers(
    peers: dict[str, dict[str, dict[str, str]]],
    rules: Mapping[str, FeatureRules],
    days: Days,
    day: int,
) -> None:
    raised = {name: rule.alarms(days.of(name, day)) for name, rule in rules.items()}
    for i, rule in enumerate(RULES):
        names = {name: "" for name, alarms in raised.items() if alarms[i]}
        if names:
            peers[rule][date_of(day)] = names


def _shift(
    seen: dict[tuple[str, float], _Seen],
    name: str,
    shifts: Sequence[float],
    held: FeatureCalibration,
    reference: ReferenceSet,
    days: Days,
    day: int,
    rest: Days,
) -> None:
    values, scale = days.of(name, day), float(np.nanstd(rest.columns[name]))
    phase = (day - 4) % 7  # 1970-01-05 was a Monday
    model = held.models[Statistic.LOCATION]
    length = AlarmRate().run_length(len(days.names))
    detector = SequentialDetector.tuned(length, model.blocks, model.memory)
    for shift in shifts:
        counts = _numeric(reference, name).counts(values + shift * scale)
        found = held.judge(counts, phase, Effects())
        moved = [f.deviation for f in found if f.statistic is Statistic.LOCATION]
        each = seen.setdefault((name, shift), _Seen())
        each.alarms.append(any(f.alarm for f in found))
        each.deviations.append(moved[0] if moved else None)
        each.detectors.append(detector)


def _power(
    days: Days, name: str, seen: Mapping[float, _Seen], peers: Sequence[NDArray[np.bool_]]
) -> FeaturePower:
    values = days.columns[name]
    means = [
        float(np.nanmean(v)) for d in days.days.tolist() if np.isfinite(v := days.of(name, d)).any()
    ]
    day = {shift: float(np.mean(each.alarms)) for shift, each in seen.items()}
    delays = {shift: _delays(each) for shift, each in seen.items()}
    week = {
        shift: float(np.mean([wait <= WEEK for wait in found[: len(found) - WEEK + 1]]))
        for shift, found in delays.items()
    }
    waits = delays[ASKED]
    half = float(np.median(waits[: max(len(waits) - _WAIT_DAYS, 1)]))
    found = np.mean(np.stack(peers), axis=0)
    return FeaturePower(
        name,
        float(np.std(means, ddof=1) / np.nanstd(values)),
        next((s for s, power in day.items() if power >= POWER), None),
        next((s for s, power in week.items() if power >= POWER), None),
        day[ASKED],
        week[ASKED],
        half if np.isfinite(half) else None,
        dict(zip(RULES, found.tolist(), strict=True)),
    )


def _delays(seen: _Seen) -> list[float]:
    """Return for each day on which the shift could begin how many days it takes to be found."""
    waits = []
    for start in range(len(seen.alarms)):
        end = start + _WAIT_DAYS
        states = seen.detectors[start].follow(seen.deviations[start:end])
        pairs = enumerate(zip(seen.alarms[start:end], states, strict=True), 1)
        waits.append(next((float(n) for n, (alarm, s) in pairs if alarm or s.alarm), np.inf))
    return waits
