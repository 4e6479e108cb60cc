from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from consistency.log import LogSettings, RequestLogWriter
from consistency.snapshots import SnapshotStore
from monitors.drift.windows import WindowLength
from samescore.drifts.job import run_drift
from samescore.drifts.run import DriftJob
from serving.core.state import ServableId
from serving.servable import BundleLoader, LoadSettings
from tests.fixtures.cli import Ran, mistake, samescore
from tests.fixtures.prometheus import component
from tests.fixtures.pushgateway import pushgateway, scrape
from tests.fixtures.scored import make_request
from tests.fixtures.tiny import Tiny, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import load

ROOT = Path(__file__).parents[3]
Records = list[dict[str, Any]]


def bodies(days: Mapping[str, Records]) -> Iterable[Any]:
    for time_text, records in days.items():
        text = time_text if "T" in time_text else f"{time_text}T12:00:00Z"
        for i in range(0, len(records), 50):
            yield record_body(records[i : i + 50], event_time=text)


def serve_days(tiny: Tiny, folder: Path, days: Mapping[str, Records]) -> Path:
    serve_into_log(load(tiny), folder, bodies(days))
    return folder


def dearer(tiny: Tiny) -> Records:
    """The training records, all amounts 200 higher."""
    return [{**record, "amount": record["amount"] + 200.0} for record in tiny.records]


def drift(log: Path, tiny: Tiny, *more: object) -> Ran:
    return samescore("drift", "run", log, "--bundle", tiny.bundle, *more)


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and modification time."""
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture
def three_days(tiny: Tiny, tmp_path: Path) -> Path:
    """A day as in training, a day without a request, a day of higher amounts."""
    days = {"2026-01-01": tiny.records, "2026-01-03": dearer(tiny)}
    return serve_days(tiny, tmp_path / "requests", days)


# ---- verdicts ----------------------------------------------------------------------------------


def test_drift_in_the_latest_window_ends_with_1(three_days: Path, tiny: Tiny) -> None:
    ran = drift(three_days, tiny)
    assert ran.code == 1
    assert "drift (population stability index) in 2026-01-03: score" in ran.words
    assert "amount_centred" in ran.words
    assert "1 windows hold no request; the longest gap is from 2026-01-02T00:00:00Z to" in ran.err
    value = drift(three_days, tiny, "--json").json
    assert (value["model"], value["version"], value["outcome"]) == ("tiny", 1, "drift")
    first, last = value["windows"]
    assert (first["verdict"], last["verdict"]) == ("no_drift", "drift")
    assert (first["rows"], first["requests"], first["start"]) == (300, 6, "2026-01-01T00:00:00Z")
    assert value["decided_by"] == ["2026-01-03T00:00:00Z"]
    assert value["gaps"] == [
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-03T00:00:00Z", "windows": 1}
    ]


def test_the_training_records_have_an_index_of_0(three_days: Path, tiny: Tiny) -> None:
    first, last = drift(three_days, tiny, "--json").json["windows"]
    assert set(first["feature_psi"].values()) == {0.0}
    assert first["score_psi"] == 0.0
    still = {name for name, psi in last["feature_psi"].items() if psi == 0.0}
    assert still == {"age_years", "city_code", "city_rate", "score_before"}
    atlantis = sum(record["city"] == "Atlantis" for record in tiny.records)
    assert last["unseen_ratio"] == first["unseen_ratio"] == {"city_code": atlantis / 300}


def test_no_drift_in_the_latest_window_ends_with_0(tiny: Tiny, tmp_path: Path) -> None:
    days = {"2026-01-01": dearer(tiny), "2026-01-02": tiny.records}
    log = serve_days(tiny, tmp_path / "requests", days)
    ran = drift(log, tiny)
    assert ran.code == 0
    assert "no drift in 2026-01-02" in ran.words
    assert drift(log, tiny, "--last", 2).code == 1


def test_thresholds_decide(three_days: Path, tiny: Tiny) -> None:
    assert drift(three_days, tiny, "--threshold", 1000).code == 0
    spared = ("--report-only", "amount_*", "--threshold", 20)
    assert drift(three_days, tiny, *spared).code == 0
    few = drift(three_days, tiny, "--min-rows", 301)
    assert few.code == 2
    assert "too few rows: 2026-01-03 has 300, a verdict needs 301" in few.words


def test_hours_are_windows_too_and_late_hours_of_the_day_are_apart(
    tiny: Tiny, tmp_path: Path
) -> None:
    days = {
        "2026-01-01T05:59:59.999999Z": tiny.records[:150],
        "2026-01-01T06:00:00Z": tiny.records[150:],
        "2026-01-01T08:59:59+03:00": tiny.records[:50],
    }
    log = serve_days(tiny, tmp_path / "requests", days)
    value = drift(log, tiny, "--window", "6h", "--min-rows", 10, "--json").json
    assert [(w["start"][11:13], w["rows"]) for w in value["windows"]] == [("00", 200), ("06", 150)]


def test_by_ingest_time_all_came_now(three_days: Path, tiny: Tiny) -> None:
    value = drift(three_days, tiny, "--by", "ingest", "--include-open", "--json").json
    assert sum(w["rows"] for w in value["windows"]) == 600
    assert all(w["start"] >= "2026-01-04" or w["start"] < "2026-01-01" for w in value["windows"])


def test_requests_without_an_event_time_are_told(log: Any, tiny: Tiny) -> None:
    ran = drift(log.folder, tiny, "--include-open", "--min-rows", 5, "--out", log.folder / "../d")
    assert "16 requests without an event time went by their ingest time" in ran.err
    assert ran.code in (0, 1)


# ---- idempotence -------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(three_days: Path, tiny: Tiny) -> None:
    first = drift(three_days, tiny, "--html", "--json")
    folder = three_days.parent / "drift"
    before = files(folder)
    assert set(before) == {
        "history.sqlite",
        "tiny/1/1d-event/report.html",
        "tiny/1/1d-event/summary.json",
    }
    second = drift(three_days, tiny, "--html", "--json")
    assert files(folder) == before
    assert (first.code, second.code) == (1, 1)
    assert set(first.json["changes"].values()) == {"new"}
    assert set(second.json["changes"].values()) == {"unchanged"}
    summary = orjson.loads(before["tiny/1/1d-event/summary.json"][0])
    assert summary == {k: second.json[k] for k in summary}


def test_late_requests_count_to_their_window_on_the_next_run(three_days: Path, tiny: Tiny) -> None:
    drift(three_days, tiny)
    serve_days(tiny, three_days, {"2026-01-01": dearer(tiny)})
    value = drift(three_days, tiny, "--lateness", "366d", "--json").json
    assert value["changes"] == {
        "2026-01-01T00:00:00Z": "changed",
        "2026-01-03T00:00:00Z": "unchanged",
    }
    assert [(w["rows"], w["verdict"]) for w in value["windows"]] == [(600, "drift"), (300, "drift")]


def test_other_lengths_and_time_bases_are_kept_apart(three_days: Path, tiny: Tiny) -> None:
    drift(three_days, tiny)
    before = files(three_days.parent / "drift")
    del before["history.sqlite"]
    drift(three_days, tiny, "--window", "7d")
    drift(three_days, tiny, "--by", "ingest", "--include-open")
    after = files(three_days.parent / "drift")
    assert {name: after[name] for name in before} == before
    del after["history.sqlite"]
    assert {name.split("/")[2] for name in after} == {"1d-event", "7d-event", "1d-ingest"}
    jobs = samescore("drift", "show", three_days.parent / "drift", "--json").json
    assert [(job["window"], job["by"]) for job in jobs] == [
        ("1d", "event"), ("1d", "ingest"), ("7d", "event"),
    ]  # fmt: skip


def test_windows_that_the_log_has_lost_stay_as_they_were(three_days: Path, tiny: Tiny) -> None:
    """Retention removes old segments; damage takes lines."""
    drift(three_days, tiny)
    before = files(three_days.parent / "drift")
    (segment,) = three_days.iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[8:]))
    ran = drift(three_days, tiny, "--json")
    assert ran.code == 1
    assert ran.json["kept"] == ["2026-01-03T00:00:00Z"]
    assert [w["rows"] for w in ran.json["windows"]] == [300, 300]
    assert files(three_days.parent / "drift")["history.sqlite"] == before["history.sqlite"]
    assert "the log now holds fewer requests than were counted before" in ran.err


def test_an_open_window_waits_until_it_is_over(tiny: Tiny, tmp_path: Path) -> None:
    log = serve_days(tiny, tmp_path / "requests", {f"{datetime.now(UTC):%FT%TZ}": dearer(tiny)})
    wide = ("--window", "300d")
    ran = drift(log, tiny, *wide)
    assert ran.code == 2
    assert "no window is over yet, the first ends at" in ran.words
    opened = drift(log, tiny, *wide, "--include-open", "--json")
    assert opened.code == 1
    assert [w["complete"] for w in opened.json["windows"]] == [False]
    job = DriftJob(log, tiny.bundle, WindowLength.parse("300d"))
    later = run_drift(job, time.time() + 301 * 86_400)
    assert [(r.complete, c.value) for r, c in zip(later.judged, later.changes.values(), strict=True)
            ] == [(True, "changed")]  # fmt: skip


def test_clocks_that_are_wrong_end_no_run(three_days: Path, tiny: Tiny) -> None:
    """A client may send any event time: the year 1 is judged, the year 9999 waits."""
    odd = {"0001-01-01T00:00:00Z": tiny.records[:3], "9999-12-31T23:59:59Z": tiny.records[:3]}
    serve_days(tiny, three_days, odd)
    ran = drift(three_days, tiny, "--window", "7d", "--include-open", "--html", "--json")
    assert ran.code == 1
    assert ran.json["windows"][0]["verdict"] == "too_few_rows"
    assert ran.json["waiting"] == ["9999-12-30T00:00:00Z"]


def test_hundreds_of_windows_stay_readable(tiny: Tiny, tmp_path: Path) -> None:
    hours = [f"2026-01-{day:02}T{hour:02}:00:00Z" for day in (1, 2, 3) for hour in range(6, 22)]
    log = serve_days(tiny, tmp_path / "requests", dict.fromkeys(hours, tiny.records[:5]))
    ran = drift(log, tiny, "--window", "1h", "--min-rows", 5, "--html")
    assert ran.err.count("warning:") == 2  # the gaps, and that days are not told apart
    assert "16 windows hold no request; the longest gap is from 2026-01-01T22:00:00Z" in ran.err
    assert "17 earlier windows: samescore drift show" in ran.words
    shown = samescore("drift", "show", tmp_path / "drift")
    assert shown.out.count("2026-01-0") == 48


# ---- unusable input ----------------------------------------------------------------------------


def test_damaged_lines_are_told_and_the_verdict_stands(three_days: Path, tiny: Tiny) -> None:
    (segment,) = three_days.iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"rows":', b'"Rows":')
    lines[7] = b"nothing of use\n"
    segment.write_bytes(b"".join(lines))
    (three_days / "cut.jsonl.open").write_bytes(lines[0][:80])
    ran = drift(three_days, tiny)
    assert ran.code == 1
    assert f"2 damaged lines were skipped: {segment.name} line 2 (crc mismatch)" in ran.err
    assert "line 8 (no crc field); see samescore log verify" in ran.err
    assert "1 torn tails were skipped; they were never answered" in ran.err
    skipped = drift(three_days, tiny, "--json").json["skipped"]
    assert (skipped["damaged_lines"], skipped["torn_tails"]) == (2, 1)
    assert [d["line"] for d in skipped["damage"]] == [2, 8]


def test_an_empty_log_is_no_success(tiny: Tiny, tmp_path: Path) -> None:
    log = tmp_path / "requests"
    RequestLogWriter(LogSettings(log)).close()
    ran = drift(log, tiny)
    assert (ran.code, "nothing to judge: the log holds no request" in ran.words) == (2, True)
    said = drift(log, tiny, "--json", "--html", "--textfile", tmp_path / "d.prom")
    assert said.code == 2
    assert said.json["outcome"] == "nothing_to_judge"
    assert "nothing to judge" in said.err
    assert not (tmp_path / "d.prom").exists(), "its age is what raises the alert"


def test_requests_of_others_are_skipped_and_told(three_days: Path, tiny: Tiny) -> None:
    writer = RequestLogWriter(LogSettings(three_days))
    writer.write(make_request())  # of model m
    writer.close()
    assert drift(three_days, tiny, "--json").json["skipped"]["other_models"] == 1


def test_requests_that_another_bundle_of_the_version_served_are_told(
    three_days: Path, tiny: Tiny, tmp_path: Path
) -> None:
    base = tmp_path / "rebuilt"
    other = tiny.build(base, gate_decimals=10, execution="padded:8")
    ran = samescore("drift", "run", three_days, "--bundle", other)
    assert ran.code == 2
    assert "no request that this bundle of tiny/1 served, only 12 others" in ran.words
    assert "12 requests were skipped: another bundle of this version served them" in ran.err


def test_a_bundle_without_a_reference_is_refused(
    three_days: Path, tiny: Tiny, tmp_path: Path
) -> None:
    bare = tiny.build(tmp_path / "bare", reference=())
    said = mistake("drift", "run", three_days, "--bundle", bare)
    assert "no frozen reference to compare with; bundle the model anew" in said


def test_a_changed_bundle_is_refused(three_days: Path, tiny: Tiny, tmp_path: Path) -> None:
    base = tiny.copy(tmp_path / "copy")
    path = base / "tiny" / "1" / "samescore" / "reference.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    assert "expected digest" in mistake("drift", "run", three_days, "--bundle", base / "tiny" / "1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--window", "1month"), "window '1month': give a number and one of s, m, h, d, w"),
        (("--threshold", "nan"), "threshold nan"),
        (("--significance", "1"), "significance 1.0"),
        (("--min-rows", "0"), "0 is not in the range"),
        (("--last", "0"), "0 is not in the range"),
        (("--by", "arrival"), "'arrival' is not one of event, ingest"),
        (("--report-only", "weekday"), "report-only 'weekday' fits no feature of the bundle"),
        (("--textfile", "drift.txt"), "must end in .prom"),
        (("--pushgateway", "localhost:9091"), "give a URL, for example http://127.0.0.1:9091"),
        (("--out", __file__), "name a writable folder with --out"),
    ],
)
def test_a_wrong_setting_is_told_with_its_remedy(
    three_days: Path, tiny: Tiny, options: tuple[str, ...], said: str
) -> None:
    assert said in mistake("drift", "run", three_days, "--bundle", tiny.bundle, *options)
    assert not (three_days.parent / "drift").exists()


def test_a_bundle_that_is_none_is_told(three_days: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = mistake("drift", "run", three_days, "--bundle", tmp_path / "empty")
    assert "is this a bundle?" in said
    assert "Missing option '--bundle'" in mistake("drift", "run", three_days)


# ---- outputs -----------------------------------------------------------------------------------


def test_metrics_go_to_a_textfile_that_promtool_takes(
    three_days: Path, tiny: Tiny, tmp_path: Path
) -> None:
    path = tmp_path / "drift.prom"
    before = time.time()
    assert drift(three_days, tiny, "--textfile", path).code == 1
    checked = subprocess.run(
        [component("promtool"), "check", "metrics"],
        input=path.read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, b"")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    held = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    labels = 'model="tiny",version="1"'
    assert held[f"samescore_drift_rows{{{labels}}}"] == 300
    assert held[f"samescore_drift_window_end_timestamp_seconds{{{labels}}}"] == 1_767_484_800
    assert held[f"samescore_drift_last_success_timestamp_seconds{{{labels}}}"] >= before
    assert held[f'samescore_drift_feature_psi{{feature="age_years",{labels}}}'] == 0.0
    assert held[f"samescore_drift_score_psi{{{labels}}}"] > 1


def test_a_real_pushgateway_gets_the_same_from_a_second_run(three_days: Path, tiny: Tiny) -> None:
    with pushgateway() as url:
        seen = []
        for _ in range(2):
            assert drift(three_days, tiny, "--pushgateway", url).code == 1
            seen.append(scrape(url))
    success = [s for s in seen[0] if s.startswith("samescore_drift_last_success")]
    first, second = ({k: v for k, v in s.items() if k not in success} for s in seen)
    assert first == second
    assert len(first) == 4 + 6
    assert all('job="samescore_drift"' in series for series in first)
    assert seen[0][success[0]] < seen[1][success[0]]


def test_a_pushgateway_that_is_away_loses_no_window(three_days: Path, tiny: Tiny) -> None:
    ran = drift(three_days, tiny, "--pushgateway", "http://127.0.0.1:9")
    assert ran.code == 2
    assert "Error: pushgateway http://127.0.0.1:9: " in ran.err
    assert "Traceback" not in ran.err
    assert samescore("drift", "show", three_days.parent / "drift").code == 0


def test_the_report_needs_no_network_and_tells_what_was_skipped(
    three_days: Path, tiny: Tiny
) -> None:
    (three_days / "cut.jsonl.open").write_bytes(b"{")
    assert drift(three_days, tiny, "--html").code == 1
    page = (three_days.parent / "drift/tiny/1/1d-event/report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "Drift in 2026-01-03" in page
    assert "1 torn tails were skipped" in page
    assert "the longest gap is from 2026-01-02T00:00:00Z" in page


def test_show_lists_what_was_judged(three_days: Path, tiny: Tiny) -> None:
    drift(three_days, tiny)
    folder = three_days.parent / "drift"
    ran = samescore("drift", "show", folder)
    assert ran.code == 0
    assert "tiny/1/1d-event" in ran.words
    assert "2026-01-01" in ran.words
    assert "no drift" in ran.words
    (job,) = samescore("drift", "show", folder, "--json").json
    assert [w["verdict"] for w in job["windows"]] == ["no_drift", "drift"]
    assert "no judged window in it" in mistake("drift", "show", three_days)


# ---- for real ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_weather_of_july_is_not_that_of_spring_and_december_is_nearer(tmp_path: Path) -> None:
    """A whole run on real flights: trained on January to May, asked from July to December."""
    example = ROOT / "examples" / "flights"
    models, log = tmp_path / "models", tmp_path / "requests"
    subprocess.run(
        [sys.executable, example / "train.py", "--out", models, "--small"],
        check=True, capture_output=True, cwd=ROOT,
    )  # fmt: skip
    flights = _flights(example)
    settings = LoadSettings(frozenset({"flights_features"}), SnapshotStore(models / ".snapshots"))
    bundle = models / "xgboost" / "1"
    servable = BundleLoader(ServableId("xgboost", 1), bundle, settings).load()
    bodies = [
        record_body(part, event_time=part[0]["scheduled_departure"])
        for part in (flights[i : i + 20] for i in range(0, len(flights), 20))
    ]
    serve_into_log(servable, log, bodies)
    calendar = ("--report-only", "month_*", "--report-only", "weekday_*")
    ran = samescore("drift", "run", log, "--bundle", bundle, "--window", "28d", "--html", *calendar,
                    "--json")  # fmt: skip
    assert ran.code == 1, ran.err
    windows = {w["start"][:10]: w for w in ran.json["windows"]}
    july, december = windows["2013-07-18"], windows["2013-12-05"]
    assert 0.25 < december["feature_psi"]["temp"] < 1.5 < july["feature_psi"]["temp"]
    assert "temp" in july["drifted"]
    assert not {"month_sin", "month_cos"} & set(july["drifted"])
    assert july["feature_psi"]["carrier_code"] < 0.05
    assert ran.json["skipped"]["damaged_lines"] == 0
    assert sum(w["rows"] for w in windows.values()) == len(flights)
    shutil.rmtree(log)
    shown = samescore("drift", "show", tmp_path / "drift", "--json").json
    assert len(shown[0]["windows"]) == len(windows)


def _flights(example: Path) -> Records:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(example)
        from flights_data import load_flights

        return list(load_flights().months(7, 12).thinned(8_000).records)
