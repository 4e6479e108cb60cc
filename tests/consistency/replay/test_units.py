"""A log cut into units: every line in one of them, whatever becomes of its segment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from consistency.errors import LogError
from consistency.log import LoggedRequest, LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.columnar.compaction import compact_log
from consistency.log.reader import CUT_SEALED, cut_tails
from consistency.log.selection import LogSelection
from consistency.protocols import Damage
from consistency.replay.units import LogUnit, UnitReader, cut_log, unit_digest
from tests.fixtures.scored import make_request

HOUR_US = 3_600_000_000
START_US = 1_767_225_600_000_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two segments of 30 lines, of all lengths."""
    folder = tmp_path / "log"
    for segment in range(2):
        writer = RequestLogWriter(LogSettings(folder))
        for i in range(30):
            at = START_US + (100 * segment + i) * HOUR_US // 60
            writer.write(make_request(f"r-{segment}-{i}", message="x" * i**2, ingest_time_us=at))
        writer.close()
    return folder


def ids(folder: Path, units: list[LogUnit]) -> list[str]:
    items = [item for unit in units for item in UnitReader(folder, unit)]
    assert all(isinstance(item, LoggedRequest) for item in items)
    return [item.request_id for item in items if isinstance(item, LoggedRequest)]


def expected(folder: Path) -> list[str]:
    return [i.request_id for i in RequestLogReader(folder) if isinstance(i, LoggedRequest)]


@pytest.mark.parametrize("unit_bytes", [1, 97, 1000, 4096, 1 << 20])
def test_every_line_is_in_exactly_one_unit(log: Path, unit_bytes: int) -> None:
    units = cut_log(log, unit_bytes=unit_bytes)
    assert ids(log, units) == expected(log)
    size = sum(p.stat().st_size for p in log.iterdir())
    assert sum(u.size_bytes for u in units) == size


def test_progress_tells_every_byte_once(log: Path) -> None:
    told: list[int] = []
    units = cut_log(log, unit_bytes=5000)
    for unit in units:
        list(UnitReader(log, unit, told.append))
    assert sum(told) == sum(p.stat().st_size for p in log.iterdir())


@pytest.mark.parametrize("merge", [False, True])
def test_sealing_and_compaction_change_no_unit(log: Path, merge: bool) -> None:
    units = cut_log(log, unit_bytes=3000)
    before = [(ids(log, [u]), unit_digest(log, u)) for u in units]
    compact(log, merge=merge)
    assert not list(log.glob("*.jsonl")), "the log is compacted"
    assert cut_log(log, unit_bytes=3000) == units
    assert [(ids(log, [u]), unit_digest(log, u)) for u in units] == before
    (first, *_) = cut_log(log, unit_bytes=1 << 20)
    assert len(ids(log, [first])) == 30


def compact(folder: Path, *, merge: bool) -> None:
    list(compact_log(folder, 1 << 30 if merge else 1))


def test_an_open_segment_is_read_as_far_as_it_was_when_it_was_cut(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    writer = RequestLogWriter(LogSettings(folder))
    writer.write(make_request("r-1"))
    units = cut_log(folder, unit_bytes=100)
    digests = [unit_digest(folder, u) for u in units]
    writer.write(make_request("r-2"))
    assert ids(folder, units) == ["r-1"]
    assert ids(folder, cut_log(folder)) == ["r-1", "r-2"]
    writer.close()
    assert ids(folder, units) == ["r-1"]
    assert [unit_digest(folder, u) for u in units] == digests


def test_damage_is_numbered_within_the_unit(log: Path) -> None:
    (path, _) = sorted(log.iterdir())
    lines = path.read_bytes().splitlines(keepends=True)
    lines[7] = lines[7].replace(b'"rows":1', b'"rows":7')
    path.write_bytes(b"".join(lines) + b'{"half')
    unit_of_five = LogUnit(path.name.removesuffix(".jsonl"), len(lines[0]), 1 << 30)
    reader = UnitReader(log, unit_of_five)
    damage = [item for item in reader if isinstance(item, Damage)]
    assert [(d.line, d.problem) for d in damage] == [(7, "crc mismatch"), (30, CUT_SEALED)]
    assert reader.lines == 30


def test_a_compacted_segment_that_cannot_be_read_is_told(log: Path) -> None:
    compact(log, merge=True)
    (path,) = log.glob("*.parquet")
    path.write_bytes(b"no parquet")
    (unit,) = cut_log(log)
    (damage,) = UnitReader(log, unit)
    assert isinstance(damage, Damage)
    assert damage.segment == path.name
    assert "not a readable Parquet file" in damage.problem


def test_a_segment_that_retention_took_is_empty(log: Path) -> None:
    units = cut_log(log)
    for path in log.iterdir():
        path.unlink()
    assert ids(log, units) == []


def test_the_torn_tail_of_an_open_segment_is_no_loss(log: Path) -> None:
    path = max(log.iterdir())
    path.with_name(path.name + ".open").write_bytes(path.read_bytes() + b'{"half')
    path.unlink()
    damage = [d for u in cut_log(log) for d in UnitReader(log, u) if isinstance(d, Damage)]
    assert [d.problem for d in damage] == ["torn tail"]


def test_what_is_no_segment_is_a_mistake(log: Path) -> None:
    (log / "20270101T000000Z-1-a.jsonl").mkdir()
    (unit,) = cut_log(log)[-1:]
    with pytest.raises(LogError, match=r"20270101T000000Z-1-a\.jsonl: Is a directory; make it"):
        list(UnitReader(log, unit))


def test_what_was_cut_off_is_told(log: Path) -> None:
    (log / "20260101T000000.000000Z-1-abcdef.torn").write_bytes(b'{"v"')
    (tail,) = cut_tails(log)
    assert (tail.problem, tail.size_bytes) == ("torn tail", 4)


@pytest.mark.parametrize("compacted", [False, True])
def test_segments_of_other_times_are_left_out(log: Path, compacted: bool) -> None:
    if compacted:
        compact(log, merge=False)
    stems = sorted({u.stem for u in cut_log(log)})
    assert len(stems) == 2

    def left(since_us: int | None = None, until_us: int | None = None) -> list[str]:
        return sorted({u.stem for u in cut_log(log, LogSelection(since_us, until_us))})

    assert left(since_us=START_US) == stems
    assert left(since_us=START_US + 4 * HOUR_US) == [], "both ended more than an hour before"
    # the first segment's last line is 29 minutes in, and an hour is allowed for
    assert left(since_us=START_US + 2 * HOUR_US) == stems[1:]
    assert left(until_us=START_US + HOUR_US // 2) == stems[:1]
    assert left(until_us=START_US - 2 * HOUR_US) == []


def test_a_segment_whose_times_are_not_known_is_read(log: Path) -> None:
    for path in log.iterdir():
        path.write_bytes(b"broken\n" + path.read_bytes())
    late = LogSelection(since_us=START_US + 1000 * HOUR_US)
    assert cut_log(log, late) == cut_log(log)


def test_a_request_of_another_shape_is_still_found(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    writer = RequestLogWriter(LogSettings(folder))
    plain = make_request("r-1")
    writer.write(replace(plain, payload=replace(plain.payload, body=b"\xff\x00\n")))
    writer.close()
    assert ids(folder, cut_log(folder, unit_bytes=10)) == ["r-1"]
