from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consistency.errors import LogError
from consistency.log import LoggedRequest, LogSettings, RequestLogWriter
from consistency.log.columnar.compaction import compact_log
from consistency.log.lines.encoding import encode_line
from consistency.log.segments import list_segments
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.log.tail import LogTail
from consistency.protocols import Damage
from consistency.scored import Outcome
from tests.fixtures.scored import make_request

START_US = 1_767_225_600_000_000


class Log:
    """A log with several writers and a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.time_us = folder, START_US
        self.writers = {name: self.open() for name in "ab"}

    def open(self) -> RequestLogWriter:
        return RequestLogWriter(LogSettings(self.folder, segment_bytes=4_000))

    def write(self, name: str, count: int = 1, outcome: Outcome = Outcome.OK) -> list[str]:
        ids = []
        for _ in range(count):
            self.time_us += 1
            request = make_request(
                f"{name}-{self.time_us - START_US}", ingest_time_us=self.time_us, outcome=outcome
            )
            self.writers[name].write(request)
            ids.append(request.request_id)
        return ids

    def compact(self, target_bytes: int = 1 << 20) -> None:
        for _ in compact_log(self.folder, target_bytes):
            pass


@pytest.fixture
def log(folder: Path) -> Iterator[Log]:
    made = Log(folder)
    yield made
    for writer in made.writers.values():
        writer.close()


def last(count: int, folder: Path, selection: LogSelection = EVERYTHING) -> list[LoggedRequest]:
    with closing(LogTail(folder, selection)) as tail:
        return tail.last(count)


def ids(items: list[LoggedRequest | Damage] | list[LoggedRequest]) -> list[str]:
    assert not [i for i in items if isinstance(i, Damage)]
    return [i.request_id for i in items if isinstance(i, LoggedRequest)]


# ------------------------------------------------------------------------------------ the last ones


@pytest.mark.parametrize("count", [1, 3, 10, 40, 500])
def test_the_last_requests_of_all_writers_are_in_the_order_of_their_times(
    log: Log, count: int
) -> None:
    written = [i for name in "abbaab" for i in log.write(name, 7)]
    assert ids(last(count, log.folder)) == written[-count:]
    log.writers["a"].close()
    log.compact()
    assert ids(last(count, log.folder)) == written[-count:]


def test_a_torn_last_line_is_not_there_yet(log: Log) -> None:
    written = log.write("a", 3)
    (path,) = [p for p in list_segments(log.folder) if p.stat().st_size]
    with path.open("ab") as stream:
        stream.write(b'{"torn')
    assert ids(last(2, log.folder)) == written[-2:]


def test_lines_longer_than_a_block_are_read_backwards(folder: Path) -> None:
    folder.mkdir()
    lines = [encode_line(make_request(f"r-{i}", message="m" * 100_000)) for i in range(5)]
    (folder / "20260101T000000Z-1-a.jsonl").write_bytes(b"".join(lines))
    assert ids(last(3, folder)) == ["r-2", "r-3", "r-4"]


def test_only_chosen_requests_are_the_last_ones(log: Log) -> None:
    refused = [log.write("a", 1, Outcome.DATA_ERROR)[0] for _ in range(4) if log.write("b", 30)]
    selection = LogSelection(outcomes=frozenset({Outcome.DATA_ERROR}))
    assert ids(last(3, log.folder, selection)) == refused[-3:]


def test_segments_that_ended_long_ago_are_not_read(folder: Path) -> None:
    folder.mkdir()
    for name, time_us in (("old", START_US + 9), ("new", START_US)):
        path = folder / f"2026010{1 + (name == 'new')}T000000Z-1-a.jsonl"
        path.write_bytes(encode_line(make_request(name, ingest_time_us=time_us)))
        if name == "old":
            os.utime(path, (1, 1))  # which contradicts its line: whoever reads it, prints it
    assert ids(last(1, folder)) == ["new"]
    assert ids(last(2, folder)) == ["new", "old"]


def test_an_empty_log_has_no_last_request(folder: Path) -> None:
    folder.mkdir()
    tail = LogTail(folder)
    assert (tail.last(5), tail.new()) == ([], [])


def test_a_log_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(LogError, match="no such folder"):
        LogTail(folder)


# ------------------------------------------------------------------------------------- the new ones


def test_each_new_request_is_seen_once_over_rotation_sealing_and_compaction(log: Log) -> None:
    log.write("a", 5)
    tail = LogTail(log.folder)
    seen, written = [], []
    for step in range(12):
        for name in "ab":
            written += log.write(name, 9)  # a segment is full after five
        if step % 3 == 1:
            log.compact()
        if step % 4 == 2:
            log.writers["a"].close()
            log.writers["a"] = log.open()
        if step % 5 == 4:
            seen += ids(tail.new())
    seen += ids(tail.new())
    assert sorted(seen) == sorted(written)
    assert tail.new() == []
    tail.close()


def test_a_line_is_seen_when_it_is_whole(folder: Path) -> None:
    folder.mkdir()
    line = encode_line(make_request("r-1"))
    path = folder / "20260101T000000Z-1-a.jsonl.open"
    path.write_bytes(line[:50])
    tail = LogTail(folder)
    assert tail.new() == []
    with path.open("ab") as stream:
        stream.write(line[50:])
    assert ids(tail.new()) == ["r-1"]
    assert tail.new() == []
    tail.close()


def test_new_damage_is_told_with_its_line(folder: Path) -> None:
    folder.mkdir()
    path = folder / "20260101T000000Z-1-a.jsonl.open"
    path.write_bytes(encode_line(make_request("r-1")))
    tail = LogTail(folder)
    with path.open("ab") as stream:
        stream.write(b"garbage\n" + encode_line(make_request("r-2")))
    damage, request = tail.new()
    assert isinstance(damage, Damage)
    assert (damage.line, damage.problem) == (2, "no crc field")
    assert isinstance(request, LoggedRequest)
    tail.close()


def test_what_was_there_is_not_new_also_when_it_is_compacted_later(log: Log) -> None:
    log.write("a", 30)
    tail = LogTail(log.folder)
    log.writers["a"].close()
    log.compact()
    assert tail.new() == []
    assert len(tail.last(100)) == 30
    tail.close()
