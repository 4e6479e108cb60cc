"""Baselines of the drift job: the reference's days, the windows before, or noise alone."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.drift.baseline import Baseline, WindowJudge
from monitors.drift.counting import WindowCounts
from monitors.drift.judgement import Thresholds, Verdict
from monitors.drift.record import Subject, WindowRecord
from monitors.drift.windows import TimeBasis, Window, WindowLength
from monitors.reference import ReferenceSet

DAY_S = 86_400
ROWS = 1_000
DAYS = 70
SUBJECT = Subject("m", 1, "", "", TimeBasis.EVENT)
DAILY = WindowLength(DAY_S)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(21)


@pytest.fixture
def reference(rng: np.random.Generator) -> ReferenceSet:
    number = np.repeat(np.arange(DAYS), ROWS)
    columns = {"x": rng.normal(size=DAYS * ROWS), "wild": rng.normal(size=DAYS * ROWS)}
    columns["wild"] += rng.normal(size=DAYS)[number]
    scores = rng.random(DAYS * ROWS)
    built = ReferenceSet.build(columns, scores)
    return built.with_blocks(columns, scores, number * DAY_S * 10**6)


def follow(
    judge: WindowJudge, reference: ReferenceSet, rng: np.random.Generator, shifts: list[float]
) -> list[WindowRecord]:
    records: list[WindowRecord] = []
    for day, shift in enumerate(shifts, DAYS):
        columns = {
            "x": rng.normal(size=ROWS) + shift,
            "wild": rng.normal(size=ROWS) + rng.normal(),
        }
        scores = reference.score_counts(rng.random(ROWS))
        counts = WindowCounts(ROWS, rows=ROWS, features=reference.counts(columns), scores=scores)
        window = Window(day * DAY_S, DAY_S)
        found = judge.judge(window, counts, records)
        records.append(WindowRecord(SUBJECT, window, True, counts, Thresholds(), found))
    return records


def verdicts(records: list[WindowRecord]) -> list[Verdict]:
    return [record.verdict for record in records]


def test_the_days_of_the_reference_decide(
    reference: ReferenceSet, rng: np.random.Generator
) -> None:
    judge = WindowJudge(reference, DAILY, Thresholds())
    assert judge.note == ""
    records = follow(judge, reference, rng, [0.0] * 10 + [0.4])
    assert verdicts(records) == [Verdict.NO_DRIFT] * 10 + [Verdict.DRIFT]
    assert [m.name for m in records[-1].judgement.drifted] == ["x"]
    assert "location 0." in records[-1].judgement.drifted[0].reason
    classic = WindowJudge(reference, DAILY, Thresholds(), Baseline.NOISE)
    again = follow(classic, reference, rng, [0.0] * 10)
    assert Verdict.DRIFT in verdicts(again)  # its wild feature drifts on wild days


def test_a_small_shift_that_stays_is_found_over_days(
    reference: ReferenceSet, rng: np.random.Generator
) -> None:
    judge = WindowJudge(reference, DAILY, Thresholds())
    records = follow(judge, reference, rng, [0.0] * 5 + [0.12] * 15)
    first = next(r for r in records if r.verdict is Verdict.DRIFT)
    assert first.judgement.drifted[0].name == "x"
    assert first.judgement.drifted[0].lasting
    assert "a small shift that stays" in first.judgement.drifted[0].reason


def test_a_rolling_baseline_follows_the_world(
    reference: ReferenceSet, rng: np.random.Generator
) -> None:
    shifts = [0.5 * min(day / 60, 1.0) for day in range(100)]
    judges = (WindowJudge(reference, DAILY, Thresholds(), b)
              for b in (Baseline.REFERENCE, Baseline.ROLLING))  # fmt: skip
    fixed, rolling = (
        sum(v is Verdict.DRIFT for v in verdicts(follow(judge, reference, rng, shifts))[-30:])
        for judge in judges
    )
    assert fixed >= 25
    assert rolling <= 3


def test_windows_survive_their_json(reference: ReferenceSet, rng: np.random.Generator) -> None:
    judge = WindowJudge(reference, DAILY, Thresholds())
    record = follow(judge, reference, rng, [0.5])[0]
    assert record.judgement.measures[1].findings
    assert WindowRecord.from_json(record.to_json(), "w").to_json() == record.to_json()


def test_a_window_of_an_earlier_release_is_read(
    reference: ReferenceSet, rng: np.random.Generator
) -> None:
    value = follow(WindowJudge(reference, DAILY, Thresholds()), reference, rng, [0.0])[0].to_json()
    for measure in value["measures"]:
        del measure["findings"], measure["lasting"]
    del value["thresholds"]["false_alarm_windows"]
    assert WindowRecord.from_json(value, "w").judgement.measures[0].findings == ()


@pytest.mark.parametrize(
    ("length", "said"),
    [("6h", "no multiple of the reference's blocks of 1d"), ("7d", "holds 8 whole windows of 7d")],
)
def test_windows_that_the_blocks_do_not_fit_are_judged_by_noise(
    reference: ReferenceSet, length: str, said: str
) -> None:
    judge = WindowJudge(reference, WindowLength.parse(length), Thresholds())
    assert said in judge.note
    assert "sampling noise and --threshold decide" in judge.note


def test_a_reference_without_blocks_says_so(reference: ReferenceSet) -> None:
    bare = ReferenceSet.from_bytes(reference.distributions().to_bytes())
    assert "bundle anew with the times" in WindowJudge(bare, DAILY, Thresholds()).note
