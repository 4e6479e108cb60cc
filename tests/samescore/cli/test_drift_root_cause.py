"""The root-cause section: the feature and the segments that were planted are found and proven."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.cli import Ran, mistake, samescore
from tests.fixtures.days import Records, days_into_log, dearer
from tests.fixtures.tiny import Tiny, make_records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def log(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight usual days, and one with higher amounts in Berlin and Bonn."""
    days: dict[str, Records] = {
        f"2026-01-{day:02}": make_records(400, seed=day) for day in range(1, 9)
    }
    last = make_records(1_500, seed=9)
    days["2026-01-09"] = [
        dearer([r], 80.0)[0] if r["city"] in ("Berlin", "Bonn") else r for r in last
    ]
    folder = tmp_path_factory.mktemp("causes") / "requests"
    return days_into_log(tiny, folder, days)


def drift(log: Path, tiny: Tiny, out: Path, *more: object) -> Ran:
    return samescore("drift", "run", log, "--bundle", tiny.bundle, "--out", out, *more)


def cause(log: Path, tiny: Tiny, out: Path, *more: object) -> Any:
    return drift(log, tiny, out, "--json", *more).json["root_cause"]


def test_the_feature_that_moved_the_score_is_proven(log: Path, tiny: Tiny, tmp_path: Path) -> None:
    found = cause(log, tiny, tmp_path, "--root-cause")
    assert (found["window"], found["unproven"]) == ("2026-01-09T00:00:00Z", "")
    attribution = found["attribution"]
    first = attribution["causes"][0]
    assert (first["name"], first["proven"]) == ("amount_centred", True)
    assert first["psi_alone"] < attribution["psi"]
    total = sum(c["contribution"] for c in attribution["causes"])
    assert total == pytest.approx(attribution["mean"] - attribution["mean_back"], abs=1e-12)
    assert attribution["mean"] > found["training_mean"]
    again = cause(log, tiny, tmp_path, "--root-cause")
    assert again == found


def test_without_the_model_it_is_a_ranking_and_says_so(
    log: Path, tiny: Tiny, tmp_path: Path
) -> None:
    found = cause(log, tiny, tmp_path)
    assert found["attribution"] is None
    assert "--root-cause" in found["unproven"]
    assert found["ranking"][0]["name"] in ("amount_centred", "amount_log")
    assert found["ranking"][0]["correlation"] > 0
    assert "root cause" not in drift(log, tiny, tmp_path).out, "no drift, and nobody asked"
    told = drift(log, tiny, tmp_path, "--threshold", 0.05)
    assert told.code == 1
    assert "unproven, by counts: amount_" in told.words


def test_segments_that_moved_are_told_from_those_that_did_not(
    log: Path, tiny: Tiny, tmp_path: Path
) -> None:
    found = cause(
        log, tiny, tmp_path, "--root-cause", "--segment", "city", "--segment", "city_code"
    )
    cities = {each["name"]: each for each in found["segments"]["city"]}
    assert {name for name, each in cities.items() if each["moved"]} == {"Berlin", "Bonn"}
    assert set(cities) == {"Berlin", "Bonn", "Kiel", "Ulm", "Atlantis"}
    for name in ("Berlin", "Bonn"):
        attribution = cities[name]["attribution"]
        assert attribution["causes"][0]["name"] == "amount_centred"
        assert attribution["causes"][0]["proven"]
    codes = {each["name"]: each["moved"] for each in found["segments"]["city_code"]}
    assert codes == {"0": True, "1": True, "2": False, "3": False, "missing": False}


def test_the_page_tells_it_with_plots(log: Path, tiny: Tiny, tmp_path: Path) -> None:
    words = ("--root-cause", "--segment", "city", "--html")
    drift(log, tiny, tmp_path, *words)
    path = tmp_path / "tiny/1/1d-event/report.html"
    page = path.read_text()
    assert "Root cause: which features' drift moved the score in 2026-01-09" in page
    assert "Putting back amount_centred" in page
    assert "proven: alone it brings the index from" in page
    assert "Budhathoki et al., AISTATS 2021" in page
    assert "By city" in page
    assert page.count("data:image/svg+xml;base64,") == 5
    before = path.stat().st_mtime_ns
    drift(log, tiny, tmp_path, *words)
    assert path.stat().st_mtime_ns == before, "the same run makes the same page"
    told = drift(log, tiny, tmp_path, *words).out
    assert "by city: the score moved in 2 of 5 segments" in told
    plain = drift(log, tiny, tmp_path, "--html")
    assert "Unproven: the model was not asked" in path.read_text()
    assert plain.code in (0, 1)


def test_a_segment_that_there_is_not_is_told(log: Path, tiny: Tiny, tmp_path: Path) -> None:
    said = mistake("drift", "run", log, "--bundle", tiny.bundle, "--out", tmp_path,
                   "--segment", "airline")  # fmt: skip
    assert "segment 'airline': no raw record holds a field and no feature is called so" in said
    assert "age, age_years" in said


def test_a_model_that_answers_otherwise_proves_nothing(
    log: Path, tiny: Tiny, tmp_path: Path
) -> None:
    """A log whose scores this bundle does not give: replay is the tool for that."""
    changed = tmp_path / "requests"
    changed.mkdir()
    for segment in log.iterdir():
        os.link(segment, changed / segment.name)
    ran = cause(changed, tiny, tmp_path / "out", "--root-cause")
    assert ran["attribution"] is not None, "the same log, so far"
    wrong = relogged(tiny, tmp_path / "wrong")
    found = cause(wrong, tiny, tmp_path / "out2", "--root-cause")
    assert found["attribution"] is None
    assert "does not give the logged scores again" in found["unproven"]


def relogged(tiny: Tiny, folder: Path) -> Path:
    """A log in which every score is a tenth off."""
    from dataclasses import replace

    from consistency.log import LogSettings, RequestLogWriter
    from serving.core.state import ServableId
    from serving.servable import BundleLoader, LoadSettings
    from tests.fixtures.tiny import PACKAGE, record_body
    from tests.fixtures.traffic import serve_into_log

    settings = LoadSettings(frozenset({PACKAGE}), tiny.store)
    servable = BundleLoader(ServableId("tiny", 1), tiny.bundle, settings).load()
    body = record_body(make_records(300, seed=3), event_time="2026-01-01T12:00:00Z")
    answered = serve_into_log(servable, folder / "first", [body])
    writer = RequestLogWriter(LogSettings(folder / "second"))
    for request in answered:
        assert request.scores is not None
        writer.write(replace(request, scores=request.scores * 0.9))
    writer.close()
    return folder / "second"
