"""A bundle whose reference knows its days: what the drift job makes of it, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.bundle import open_bundle
from monitors.reference import ReferenceSet
from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings
from tests.fixtures.cli import samescore
from tests.fixtures.tiny import Tiny, make_records, record_body
from tests.fixtures.traffic import serve_into_log

pytestmark = pytest.mark.slow

DAY_US = 86_400_000_000
DAYS, ROWS = 30, 200


@pytest.fixture(scope="module")
def timed(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle, its reference frozen from thirty days."""
    base = tmp_path_factory.mktemp("timed")
    times = np.repeat(np.arange(DAYS), ROWS) * DAY_US + 10
    return tiny.build(base, reference=make_records(DAYS * ROWS, seed=9), reference_times=times)


def serve(tiny: Tiny, bundle: Path, log: Path, days: dict[str, list[dict[str, Any]]]) -> None:
    settings = LoadSettings(frozenset({"tiny_features"}), tiny.store)
    servable = BundleLoader(ServableId("tiny", 1), bundle, settings).load()
    serve_into_log(
        servable,
        log,
        [
            record_body(records[i : i + 50], event_time=f"{day}T12:00:00Z")
            for day, records in days.items()
            for i in range(0, len(records), 50)
        ],
    )


def test_the_bundle_holds_its_days(timed: Path) -> None:
    reference = ReferenceSet.from_bytes(open_bundle(timed).reference())
    assert reference.blocks is not None
    assert len(reference.blocks) == DAYS
    assert reference.score_means


def test_the_job_judges_by_the_days_of_the_reference(
    tiny: Tiny, timed: Path, tmp_path: Path
) -> None:
    usual = make_records(ROWS, seed=31)
    dearer = [{**r, "amount": r["amount"] + 40.0} for r in make_records(ROWS, seed=32)]
    days = {"2026-01-01": usual, "2026-01-02": dearer}
    serve(tiny, timed, tmp_path / "requests", days)
    ran = samescore("drift", "run", tmp_path / "requests", "--bundle", timed, "--json")
    assert ran.code == 1
    first, last = ran.json["windows"]
    assert (first["verdict"], last["verdict"]) == ("no_drift", "drift")
    assert ran.json["uncalibrated"] == ""
    assert "deviations" in last["reasons"]["amount_centred"]
    told = samescore("drift", "run", tmp_path / "requests", "--bundle", timed, "--html")
    page = (Path(ran.json["folder"]) / "report.html").read_text()
    assert "one false alarm of the whole model\n    in 60 windows" in page
    assert "</span> location" in page
    assert "location" in told.words
    assert "days apart" not in told.err
    # A shift of one standard deviation is far below the classic limit's certainty.
    noise = ("--baseline", "noise", "--threshold", "5")
    assert samescore("drift", "run", tmp_path / "requests", "--bundle", timed, *noise).code == 0
    hours = samescore("drift", "run", tmp_path / "requests", "--bundle", timed, "--window", "6h")
    assert "no multiple of the reference's blocks of 1d" in hours.err


def test_a_bundle_without_times_says_so(tiny: Tiny, tmp_path: Path) -> None:
    serve(tiny, tiny.bundle, tmp_path / "requests", {"2026-01-01": tiny.records})
    ran = samescore("drift", "run", tmp_path / "requests", "--bundle", tiny.bundle)
    assert "does not tell its days apart" in ran.err
    assert "bundle anew with the times of the reference" in ran.err


def test_the_rate_is_checked(tiny: Tiny, timed: Path, tmp_path: Path) -> None:
    serve(tiny, timed, tmp_path / "requests", {"2026-01-01": tiny.records})
    ran = samescore("drift", "run", tmp_path / "requests", "--bundle", timed,
                    "--false-alarm-windows", "0")  # fmt: skip
    assert ran.code == 2
    assert "false-alarm-windows 0.0" in ran.err


def test_a_time_must_be_a_timestamp_of_every_record(tiny: Tiny, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"\n".join(orjson.dumps(r) for r in tiny.records))
    ran = samescore(
        "bundle", "build", tmp_path / "base", "--name", "t", "--version", 1, "--format", "xgboost",
        "--model", tiny.request.model, "--pipeline", "tiny_features:pipeline", "--golden", rows,
        "--reference", rows, "--reference-time", "amount", "--snapshots", tiny.store.root,
    )  # fmt: skip
    assert ran.code == 2
    assert "--reference-time 'amount': no timestamp that every record has" in ran.err


def by_hour(hours: range, seed: int, rows: int = 30) -> tuple[list[dict[str, Any]], list[int]]:
    """Return records whose amounts are higher after noon, and the hour of each."""
    records, number = [], [hour for hour in hours for _ in range(rows)]
    for hour, record in zip(number, make_records(len(number), seed=seed), strict=True):
        records.append({**record, "amount": record["amount"] + 80.0 * (hour % 24 >= 12)})
    return records, number


@pytest.mark.parametrize("baseline", ["reference", "rolling"])
def test_an_hour_is_compared_with_its_hour_of_the_day(
    tiny: Tiny, tmp_path: Path, baseline: str
) -> None:
    records, number = by_hour(range(14 * 24), seed=11)
    times = np.array(number) * 3_600_000_000 + 10
    bundle = tiny.build(
        tmp_path / "base", reference=records, reference_times=times, reference_block_s=3_600
    )
    morning, evening = (by_hour(range(h, h + 1), seed=h)[0] for h in (3, 15))
    hours = {
        "1970-01-15T03:00:00Z": morning,
        "1970-01-15T15:00:00Z": evening,
        "1970-01-16T03:00:00Z": evening,  # usual amounts, at an unusual hour
    }
    settings = LoadSettings(frozenset({"tiny_features"}), tiny.store)
    servable = BundleLoader(ServableId("tiny", 1), bundle, settings).load()
    serve_into_log(servable, tmp_path / "requests",
                   [record_body(r, event_time=at) for at, r in hours.items()])  # fmt: skip
    ran = samescore("drift", "run", tmp_path / "requests", "--bundle", bundle, "--window", "1h",
                    "--min-rows", "20", "--baseline", baseline, "--json")  # fmt: skip
    assert ran.json["uncalibrated"] == ""
    verdicts = {w["start"]: w["verdict"] for w in ran.json["windows"]}
    assert verdicts == dict(zip(hours, ["no_drift", "no_drift", "drift"], strict=True))
    assert "amount_centred" in ran.json["windows"][-1]["drifted"]
    days = samescore("drift", "run", tmp_path / "requests", "--bundle", bundle, "--json")
    assert days.json["uncalibrated"] == "", "hours add up to days"
