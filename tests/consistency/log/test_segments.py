from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from consistency.errors import LogError
from consistency.log import LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.segments import (
    OPEN_SUFFIX,
    Sealed,
    list_segments,
    seal_abandoned,
    segment_name,
)
from tests.fixtures.scored import make_request

LINES = [encode_line(make_request(f"r-{i}")) for i in range(3)]
INTACT = b"".join(LINES)
NAME = "20260101T000000.000000Z-1-abcdef"


def abandoned(folder: Path, content: bytes, name: str = NAME) -> Path:
    """Make the open segment of a writer that died."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{OPEN_SUFFIX}"
    path.write_bytes(content)
    return path


def seal_all(folder: Path) -> Sequence[Sealed]:
    return list(seal_abandoned(folder))


# --------------------------------------------------------------------------------------- torn tails


def test_wherever_the_last_line_is_cut_the_lines_before_it_are_kept_and_the_rest_is_put_aside(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a thousand times
    kept = len(INTACT) - len(LINES[-1])
    for end in range(kept + 1, len(INTACT)):
        path = abandoned(folder, INTACT[:end])
        (sealed,) = seal_all(folder)
        torn = folder / f"{NAME}.torn"
        assert not path.exists()
        assert sealed.path == folder / f"{NAME}.jsonl"
        assert sealed.path.read_bytes() == INTACT[:kept]
        assert torn.read_bytes() == INTACT[kept:end]
        assert sealed.torn_bytes == end - kept
        sealed.path.unlink()
        torn.unlink()


def test_a_whole_segment_is_sealed_as_it_is(folder: Path) -> None:
    abandoned(folder, INTACT)
    (sealed,) = seal_all(folder)
    assert sealed.torn_bytes == 0
    assert sealed.path.read_bytes() == INTACT
    assert [p.name for p in folder.iterdir()] == [f"{NAME}.jsonl"]


@pytest.mark.parametrize(
    "tail",
    [
        b"x",
        b"\x00" * 4096,
        b"\n",
        b"{}\n",
        LINES[0][:-2] + b"\n",
        LINES[0].replace(b"r-0", b"r-9"),
        b"\x00" * 100 + b"\n" + LINES[0][:50],
        bytes(range(256)) * 300,
        b"y" * 200_000 + b"\n" + b"z" * 70_000,
    ],
    ids=lambda tail: f"{tail[:6]!r}... {len(tail)} bytes",
)
def test_whatever_stands_behind_the_last_intact_line_is_put_aside(
    folder: Path, tail: bytes
) -> None:
    abandoned(folder, INTACT + tail)
    (sealed,) = seal_all(folder)
    assert sealed.path.read_bytes() == INTACT
    assert (folder / f"{NAME}.torn").read_bytes() == tail


def test_a_segment_of_nothing_but_a_torn_line_keeps_the_bytes(folder: Path) -> None:
    abandoned(folder, LINES[0][:40])
    (sealed,) = seal_all(folder)
    assert sealed.path.read_bytes() == b""
    assert (folder / f"{NAME}.torn").read_bytes() == LINES[0][:40]


def test_damage_before_the_last_intact_line_is_left_for_the_reader_to_report(folder: Path) -> None:
    damaged = LINES[0] + LINES[1].replace(b"r-1", b"r-9") + LINES[2]
    abandoned(folder, damaged)
    (sealed,) = seal_all(folder)
    assert sealed.path.read_bytes() == damaged
    assert sealed.torn_bytes == 0


def test_the_last_line_is_found_in_a_segment_of_any_size(folder: Path) -> None:
    long_lines = [
        encode_line(make_request(f"r-{i}", message="m" * size))
        for i, size in enumerate((1 << 16, (1 << 16) - 1, 3 << 16, 10))
    ]
    for count in range(1, len(long_lines) + 1):
        abandoned(folder, b"".join(long_lines[:count]) + b"torn")
        (sealed,) = seal_all(folder)
        assert sealed.torn_bytes == 4
        assert sealed.path.read_bytes() == b"".join(long_lines[:count])
        sealed.path.unlink()


# ------------------------------------------------------------------------------------------- owners


def test_a_living_writers_segment_is_not_sealed(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    log.write(make_request())
    (path,) = folder.iterdir()
    with path.open("ab") as other:
        other.write(b"torn")  # what another process sees of a line that is being written
    assert seal_all(folder) == []
    assert path.exists()
    log.close()


def test_an_empty_segment_of_a_dead_writer_is_removed(folder: Path) -> None:
    abandoned(folder, b"")
    assert seal_all(folder) == []
    assert list(folder.iterdir()) == []


def test_sealed_segments_and_other_files_are_left_alone(folder: Path) -> None:
    abandoned(folder, INTACT)
    (folder / "20260101T000001Z-1-a.jsonl").write_bytes(b"sealed")
    (folder / "notes.txt").write_bytes(b"mine")
    assert len(seal_all(folder)) == 1
    assert (folder / "20260101T000001Z-1-a.jsonl").read_bytes() == b"sealed"
    assert (folder / "notes.txt").read_bytes() == b"mine"


def test_every_dead_writers_segment_is_sealed(folder: Path) -> None:
    for i in range(3):
        abandoned(folder, LINES[i], f"2026010{i + 1}T000000Z-1-a")
    assert [s.path.name for s in seal_all(folder)] == [
        f"2026010{i + 1}T000000Z-1-a.jsonl" for i in range(3)
    ]
    found = [i.request_id for i in RequestLogReader(folder) if isinstance(i, LoggedRequest)]
    assert found == ["r-0", "r-1", "r-2"]


# -------------------------------------------------------------------------------------------- names


def test_names_differ_and_sort_by_the_time_they_were_made() -> None:
    names = [segment_name() for _ in range(200)]
    assert len(set(names)) == 200
    stamps = [name.partition("-")[0] for name in names]
    assert stamps == sorted(stamps)
    assert all(name.endswith(OPEN_SUFFIX) for name in names)


def test_segments_are_listed_oldest_first_whether_open_or_sealed(folder: Path) -> None:
    abandoned(folder, b"", "20260102T000000Z-1-a")
    (folder / "20260101T000000Z-1-a.jsonl").write_bytes(b"")
    (folder / "20260103T000000Z-1-a.jsonl").write_bytes(b"")
    (folder / "20260101T000000Z-1-a.torn").write_bytes(b"")
    assert [p.name.partition("T")[0] for p in list_segments(folder)] == [
        "20260101", "20260102", "20260103"
    ]  # fmt: skip


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        LogError, match="no such folder; name the folder that `samescore serve` wrote"
    ):
        list_segments(tmp_path / "nowhere")
