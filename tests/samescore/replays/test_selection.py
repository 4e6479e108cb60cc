"""Replaying a chosen part of a log, and one whose payloads are redacted."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from consistency.log import LoggedRequest, LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.front import LogIncidents, open_front
from consistency.log.redaction import Redaction
from consistency.log.sampling import keeps
from consistency.scored import Payload
from serving.dataplane import DataPlane
from tests.fakes.serving import Shelf
from tests.fixtures.cli import Ran, samescore
from tests.fixtures.tiny import PACKAGE, Tiny, record_body
from tests.samescore.conftest import Log, load


def replay(log: Path, tiny: Tiny, *more: object) -> Ran:
    return samescore("replay", log, "--bundles", tiny.base, "--pipeline", PACKAGE, "--json", *more)


def write(tiny: Tiny, settings: LogSettings, bodies: list[Any]) -> Path:
    """Serve into a log that is written as the settings say."""
    log = open_front(RequestLogWriter(settings), settings, LogIncidents(), refuses=True)
    plane = DataPlane(Shelf({("tiny", 1): load(tiny)}), log)
    for body in bodies:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        asyncio.run(plane.score("tiny", 1, Payload(raw, "tione/1", "application/json")))
    log.close()
    return settings.folder


def requests(folder: Path) -> list[LoggedRequest]:
    return [item for item in RequestLogReader(folder) if isinstance(item, LoggedRequest)]


def replayed(ran: Ran) -> int:
    assert ran.code in {0, 1}, ran.err
    return sum(model["requests"] for model in ran.json["models"].values())


def test_the_outcome_the_version_and_the_id_choose(log: Log, tiny: Tiny) -> None:
    outcomes = Counter(r.outcome.value for r in log.requests)
    ran = replay(log.folder, tiny, "--outcome", "data_error")
    assert replayed(ran) == outcomes["data_error"] == ran.json["models"]["tiny/1"]["rejected"]
    assert ran.json["selection"] == {"outcomes": ["data_error"]}
    one = log.requests[3].request_id
    ran = replay(log.folder, tiny, "--request-id", one)
    assert (ran.code, replayed(ran)) == (0, 1)
    assert replayed(replay(log.folder, tiny, "--version", 1)) == len(log.requests)
    nothing = replay(log.folder, tiny, "--version", 2)
    assert (nothing.code, nothing.json["models"]) == (1, {})


def test_a_span_of_time_is_told_with_its_offset(log: Log, tiny: Tiny) -> None:
    times = sorted(r.ingest_time_us for r in log.requests)
    middle = times[len(times) // 2]
    later = sum(t >= middle for t in times)
    offset = "+01:00"
    text = datetime.fromtimestamp((middle + 3_600_000_000) / 1e6, UTC).isoformat()[:-6]
    at = text + ("" if "." in text else ".000000") + offset
    assert replayed(replay(log.folder, tiny, "--since", at)) == later
    assert replayed(replay(log.folder, tiny, "--until", at)) == len(times) - later


def test_a_sample_is_the_one_that_the_log_itself_would_keep(log: Log, tiny: Tiny) -> None:
    chosen = sum(keeps(r.request_id, 0.5) for r in log.requests)
    assert 0 < chosen < len(log.requests)
    assert replayed(replay(log.folder, tiny, "--sample", "0.5")) == chosen


def test_a_key_chooses_its_requests(tiny: Tiny, tmp_path: Path) -> None:
    settings = LogSettings(tmp_path / "log", key_field="city")
    folder = write(tiny, settings, [record_body(r) for r in tiny.records[:20]])
    bonn = sum(r["city"] == "Bonn" for r in tiny.records[:20])
    assert 0 < bonn < 20
    assert replayed(replay(folder, tiny, "--key", "Bonn")) == bonn


# --------------------------------------------------------------------------------------- redacted


@pytest.fixture
def redacted(tiny: Tiny, tmp_path: Path) -> Path:
    """Ten requests of which the city is redacted, a malformed one, and two of feature rows."""
    settings = LogSettings(
        tmp_path / "log", redaction=Redaction(("city",), (), b"a key of 32 bytes, for the test.")
    )
    bodies: list[Any] = [record_body(r) for r in tiny.records[:10]]
    bodies += [b"{", record_body({"city": "Bonn"})]
    return write(tiny, settings, bodies)


def test_what_is_redacted_is_replayed_from_its_features(redacted: Path, tiny: Tiny) -> None:
    assert b"Bonn" not in b"".join(p.read_bytes() for p in redacted.iterdir())
    ran = replay(redacted, tiny)
    assert ran.code == 0, ran.out
    model = ran.json["models"]["tiny/1"]
    assert model["started_at"] == {"features": 10}
    assert list(model["stages"]) == ["outputs", "scores"]
    assert model["rows"] == 10
    assert model["not_replayable"] == {"redacted": 2}, "refusals cannot be reproduced"
    said = samescore("replay", redacted, "--bundles", tiny.base, "--pipeline", PACKAGE)
    assert "replayed from logged features: no payload was decoded" in said.words


def test_a_redacted_log_without_features_cannot_be_replayed(tiny: Tiny, tmp_path: Path) -> None:
    names = ("city_rate",)
    redaction = Redaction(("city",), names, b"a key of 32 bytes, for the test.")
    bodies = [record_body(r) for r in tiny.records[:4]]
    folder = write(tiny, LogSettings(tmp_path / "log", redaction=redaction), bodies)
    assert requests(folder)[0].redacted_features == names
    ran = replay(folder, tiny)
    assert ran.code == 1, "nothing was compared"
    assert ran.json["models"]["tiny/1"]["not_replayable"] == {"redacted": 4}


def test_the_pipeline_alone_cannot_be_replayed_from_hashes(redacted: Path, tiny: Tiny) -> None:
    ran = replay(redacted, tiny, "--mode", "pipeline")
    assert ran.code == 1
    assert ran.json["models"]["tiny/1"]["not_replayable"] == {"redacted": 12}


def test_a_log_that_is_redacted_in_part_says_how_much(redacted: Path, log: Log, tiny: Tiny) -> None:
    for path in log.folder.iterdir():
        (redacted / path.name).write_bytes(path.read_bytes())
    ran = samescore("replay", redacted, "--bundles", tiny.base, "--pipeline", PACKAGE)
    assert ran.code == 0
    scored = sum(r.scores is not None for r in log.requests)
    assert f"10 of {10 + scored} requests were replayed from their logged features" in ran.words
