"""Logs of version 1 stay readable: the same facts, and the same verdicts as when they were new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from consistency.log import LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.columnar.compaction import Compacted, compact_log
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.log.reader import verify_log
from consistency.log.shaping import LineShaper
from consistency.protocols import Damage
from consistency.replay import BatchPlan, ReplayMode, ReplaySettings, replay
from consistency.scored import ScoredRequest
from tests.fixtures import first_format
from tests.fixtures.first_format import LOG

VERDICTS: dict[str, Any] = json.loads((LOG / "verdicts.json").read_text())


def shaped(settings: LogSettings, request: ScoredRequest) -> bytes:
    line = LineShaper(settings).line(request)
    assert line is not None
    return line


@pytest.fixture(scope="module")
def todays() -> list[bytes]:
    """The same requests as this version logs them."""
    return list(first_format.lines(encode_line, shaped))


@pytest.fixture(scope="module")
def first() -> list[bytes]:
    (path,) = LOG.glob("*.jsonl")
    return path.read_bytes().splitlines(keepends=True)


def verdict(items: Iterable[LoggedRequest | Damage], mode: str) -> str:
    settings = ReplaySettings(mode=ReplayMode(mode), batch=BatchPlan(None))
    report = replay(items, lambda *_: first_format.target(), settings)
    return json.dumps(report.to_json(), sort_keys=True)


def plain(request: LoggedRequest) -> dict[str, Any]:
    """A request's facts, but for what belongs to the line."""
    return {k: v for k, v in request.fields.items() if k not in ("v", "crc")}


@pytest.mark.parametrize("mode", VERDICTS)
def test_a_log_of_version_1_is_judged_as_it_was(mode: str) -> None:
    assert verdict(RequestLogReader(LOG), mode) == json.dumps(VERDICTS[mode], sort_keys=True)


@pytest.mark.parametrize("mode", VERDICTS)
def test_the_same_requests_in_todays_lines_get_the_same_verdict(
    mode: str, todays: list[bytes]
) -> None:
    found = verdict([decode_line(line[:-1]) for line in todays], mode)
    assert found == json.dumps(VERDICTS[mode], sort_keys=True)


def test_both_versions_say_the_same_facts(first: list[bytes], todays: list[bytes]) -> None:
    assert len(first) == len(todays)
    for old, new in zip(first, todays, strict=True):
        before, now = decode_line(old[:-1]), decode_line(new[:-1])
        assert (before.fields["v"], now.fields["v"]) == (1, 2)
        assert plain(now) == plain(before)
        assert list(now.fields["features"] or ()) == list(before.fields["features"] or ())
        own, context = before.parts
        assert json.loads(json.dumps(own)) == now.parts[0]
        assert {**context.facts, "v": 2} == now.parts[1].facts


def test_both_versions_live_in_one_folder(tmp_path: Path, first: list[bytes]) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    (segment,) = LOG.glob("*.jsonl")
    shutil.copy(segment, folder)
    log = RequestLogWriter(LogSettings(folder))
    made = list(first_format.requests())
    for request in made:
        log.write(request)
    log.close()
    written = [decode_line(line[:-1]) for line in [*first, *map(encode_line, made)]]
    assert list(RequestLogReader(folder)) == written
    (compacted,) = compact_log(folder)
    assert isinstance(compacted, Compacted)
    assert list(RequestLogReader(folder)) == written
    assert verify_log(folder).requests == len(written)
    assert verify_log(folder).lost == 0
