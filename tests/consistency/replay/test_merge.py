"""Reports of parts add up exactly, in any order, and survive the way through JSON bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.compare import Tolerance, compare
from consistency.diagnose import Cause, Finding
from consistency.protocols import Damage
from consistency.replay import ModelReport, ReplayReport, ReplaySettings, StageDifference
from consistency.replay.core import new_sum
from consistency.replay.partial import pack_report, unpack_report
from consistency.replay.report import MOST_DAMAGE_LISTED, FeatureMismatch
from consistency.replay.worst import keep_worst, shown_worst

SETTINGS = ReplaySettings(worst=3)
STORED = Finding(Cause.STORAGE_PRECISION, "cast to float32")
UNPROVEN = Finding(Cause.UNPROVEN, "no intervention")
NAMES = ("a", "b", "c", "d", "e", "f")
STAGES = ("payload", "features", "outputs", "scores")


def difference(rng: random.Random, at: int) -> StageDifference:
    size = rng.choice([None, 0.5, 0.25, rng.random()])
    online = rng.choice([float("nan"), float("-inf"), -0.0, "text", 2**63, 0.1, None])
    return StageDifference(
        f"r-{at}", rng.randrange(3), rng.choice(STAGES), rng.choice(NAMES), online, 1 / 3, size,
        -1 if size is None else rng.randrange(2**64),
    )  # fmt: skip


def part(rng: random.Random, at: int) -> ReplayReport:
    rows = rng.randrange(1, 50)
    online = np.round(rng.random(), 3) + np.zeros(rows)
    noise = np.array([rng.choice([0.0, 1e-16, 1e-9, np.nan]) for _ in range(rows)])
    found = compare(online, online + noise, Tolerance()).summary
    models = {
        f"m/{version}": ModelReport(
            requests=rows, rows=rows,
            stages=dict.fromkeys(rng.sample(STAGES, 2), found),
            features={
                n: FeatureMismatch(rng.randrange(9), rng.random(), rng.choice([STORED, UNPROVEN]))
                for n in rng.sample(NAMES, 2)
            },
            rejected=2, rejected_reproduced=rng.randrange(3),
            not_replayable={rng.choice(["timeout", "redacted"]): 1},
            started_at={rng.choice(["payload", "features"]): rows},
            worst=keep_worst([difference(rng, 1000 * at + i) for i in range(40)], SETTINGS.worst),
        )
        for version in rng.sample([1, 2, 10], 2)
    }  # fmt: skip
    damage = (Damage(f"s{at:02}.jsonl", at, "crc mismatch", 7),) if at % 3 else ()
    return ReplayReport("full", "2048", 10, models, damage, len(damage))


def total(parts: list[ReplayReport]) -> bytes:
    whole = new_sum(SETTINGS)
    for one in parts:
        whole.add(one)
    return orjson.dumps(whole.settled().to_json())


@pytest.mark.parametrize("seed", range(20))
def test_the_sum_is_the_same_in_any_order_and_any_grouping(seed: int) -> None:
    rng = random.Random(seed)
    parts = [part(rng, at) for at in range(8)]
    whole = total(parts)
    for _ in range(3):
        rng.shuffle(parts)
        assert total(parts) == whole
    everything = {
        (name, d.stage): [] for p in parts for name, m in p.models.items() for d in m.worst
    }  # type: dict[tuple[str, str], list[StageDifference]]
    for p in parts:
        for name, m in p.models.items():
            for d in m.worst:
                everything[name, d.stage].append(d)
    for (name, stage), found in everything.items():
        shown = orjson.loads(whole)["models"][name]["worst"]
        kept = [d for d in shown if d["stage"] == stage]
        assert len(kept) == min(SETTINGS.worst, len(found))
        expected = shown_worst(found, SETTINGS.worst)
        assert kept == orjson.loads(orjson.dumps([d.to_json() for d in expected]))


@pytest.mark.parametrize("seed", range(20))
def test_a_partial_report_comes_back_from_json_as_it_was(seed: int) -> None:
    report = part(random.Random(seed), seed)
    back = unpack_report(orjson.loads(orjson.dumps(pack_report(report))))
    assert repr(back) == repr(report), "repr tells -0.0, NaN, infinities, ints and floats apart"
    assert total([back]) == total([report])


def test_the_models_come_by_name_and_version_number() -> None:
    models = {name: ModelReport() for name in ("m/10", "m/2", "a-b/3", "m/1")}
    report = orjson.loads(total([replace(new_sum(SETTINGS).settled(), models=models)]))
    assert list(report["models"]) == ["a-b/3", "m/1", "m/2", "m/10"]


def test_a_cause_holds_only_when_every_part_says_it() -> None:
    def of(finding: Finding) -> ReplayReport:
        held = {"x": FeatureMismatch(2, 0.5, finding)}
        return ReplayReport("full", "2048", 10, {"m/1": ModelReport(features=held)}, (), 0)

    def cause(*findings: Finding) -> dict[str, Any]:
        report: dict[str, Any] = orjson.loads(total([of(f) for f in findings]))
        found: dict[str, Any] = report["models"]["m/1"]["features"]["x"]
        return found

    assert cause(STORED, STORED)["cause"] == "storage_precision"
    assert cause(STORED, STORED)["rows"] == 4
    mixed = cause(STORED, UNPROVEN)
    assert mixed["cause"] == "unproven"
    assert mixed == cause(UNPROVEN, STORED)
    assert cause(STORED, UNPROVEN, STORED)["evidence"] == mixed["evidence"]


def test_each_name_shows_its_worst_before_any_shows_its_second() -> None:
    found = [
        StageDifference("r", i, "features", name, 0.0, size, size, 1)
        for i, (name, size) in enumerate([("big", 9.0), ("big", 8.0), ("big", 7.0), ("small", 0.1)])
    ]
    shown = shown_worst(keep_worst(found, 2), 2)
    assert [(d.name, d.abs_diff) for d in shown] == [("big", 9.0), ("small", 0.1)]


def test_damage_is_listed_in_the_order_of_the_log_and_counted_beyond_the_list() -> None:
    def damaged(first: int) -> ReplayReport:
        listed = tuple(Damage("s", first + i, "crc mismatch") for i in range(MOST_DAMAGE_LISTED))
        return replace(new_sum(SETTINGS).settled(), damage=listed, lost_lines=len(listed))

    whole = new_sum(SETTINGS)
    whole.add(damaged(5000))
    whole.add(damaged(1))
    report = whole.settled()
    assert [d.line for d in report.damage] == list(range(1, MOST_DAMAGE_LISTED + 1))
    assert report.lost_lines == 2 * MOST_DAMAGE_LISTED
    assert not report.agrees
