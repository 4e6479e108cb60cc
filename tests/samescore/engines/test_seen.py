"""A worker that does not see the log is told, and is not taken for one that found it empty."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from consistency.log import LogSettings, RequestLogWriter
from consistency.log.columnar.compaction import compact_log
from consistency.log.segments import SEALED_SUFFIX
from consistency.replay.units import LogUnit, cut_log
from samescore.engines.errors import EngineError
from samescore.engines.seen import Seen, check_seen, visible_bytes
from tests.fixtures.scored import make_request


def write(folder: Path, requests: int) -> None:
    log = RequestLogWriter(LogSettings(folder, segment_bytes=10_000))
    for i in range(requests):
        log.write(make_request(f"r-{i}"))
    log.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two segments in one compacted file, and sealed ones."""
    folder = tmp_path / "log"
    write(folder, 20)
    assert [*compact_log(folder)]
    write(folder, 30)
    return folder


def units(log: Path) -> list[LogUnit]:
    return cut_log(log, unit_bytes=4_000)


def test_a_segment_is_as_large_whatever_became_of_it(log: Path) -> None:
    ends = {unit.stem: unit.end for unit in units(log)}
    assert len(ends) > 3
    assert {stem: visible_bytes(log, stem) for stem in ends} == ends
    assert visible_bytes(log, "none") == 0


def test_who_sees_the_same_log_is_believed(log: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(log, tmp_path / "copy")
    for unit in units(log):
        check_seen(log, unit, Seen.here(copy, unit))


def test_who_sees_none_of_it_or_less_is_not(log: Path, tmp_path: Path) -> None:
    for unit in units(log):
        with pytest.raises(EngineError, match=r"sees 0 bytes of segment .* same path on every"):
            check_seen(log, unit, Seen.here(tmp_path / "not_mounted", unit))
    stale = shutil.copytree(log, tmp_path / "stale")
    last = max(stale.glob(f"*{SEALED_SUFFIX}"))
    last.write_bytes(last.read_bytes()[:-1])
    *_, unit = units(log)
    with pytest.raises(EngineError, match=f"sees {last.stat().st_size} bytes of segment"):
        check_seen(log, unit, Seen.here(stale, unit))


def test_what_is_gone_here_too_is_no_error(log: Path) -> None:
    *_, unit = units(log)
    seen = Seen("worker", 0)
    max(log.glob(f"*{SEALED_SUFFIX}")).unlink()  # retention took it
    check_seen(log, unit, seen)
