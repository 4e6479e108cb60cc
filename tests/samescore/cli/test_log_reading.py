"""`samescore log compact|export|tail`, and the filters that all readers share."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from consistency.log import LogSettings, RequestLogWriter
from consistency.log.columnar.compaction import LOCK_NAME
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.scored import make_request
from tests.samescore.conftest import Log

COMMAND = Path(sys.executable).with_name("samescore")
START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
HOUR_US = 3_600_000_000


@pytest.fixture
def copied(log: Log, tmp_path: Path) -> Path:
    return shutil.copytree(log.folder, tmp_path / "requests")


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """Six requests, one an hour."""
    folder = tmp_path / "hours"
    writer = RequestLogWriter(LogSettings(folder))
    for i in range(6):
        writer.write(make_request(f"h-{i}", ingest_time_us=START_US + i * HOUR_US))
    writer.close()
    return folder


# ------------------------------------------------------------------------------------------ filters


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--since", "2026-01-01T03:00Z"), [3, 4, 5]),
        (("--since", "2026-01-01T03:00"), [3, 4, 5]),
        (("--until", "2026-01-01T03:00:00+00:00"), [0, 1, 2]),
        (("--since", "2026-01-01T02:00:00+01:00", "--until", "2026-01-01T02:00Z"), [1]),
        (("--since", "2026-01-02"), []),
        (("--until", "1s"), [0, 1, 2, 3, 4, 5]),
        (("--version", "1", "--model", "m"), [0, 1, 2, 3, 4, 5]),
        (("--version", "2"), []),
        (("--key", "ada"), []),
        (("--request-id", "h-2"), [2]),
    ],
)
def test_each_filter_chooses_the_same_in_lines_and_in_parquet(
    hours: Path, options: tuple[str, ...], ids: list[int]
) -> None:
    for _ in range(2):
        out = samescore("log", "cat", hours, *options).out
        found = [orjson.loads(line)["request_id"] for line in out.splitlines()]
        assert found == [f"h-{i}" for i in ids]
        tail = samescore("log", "tail", hours, "--json", *options).out
        assert len(tail.splitlines()) == len(ids)
        assert samescore("log", "compact", hours).code == 0


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", "5 hours", "-1h"])
def test_a_time_that_cannot_be_read_is_a_mistake(hours: Path, time: str) -> None:
    assert "write 2026-01-31T12:00:00Z" in mistake("log", "cat", hours, f"--since={time}")


def test_a_span_without_anything_between_is_a_mistake(hours: Path) -> None:
    said = mistake("log", "cat", hours, "--since", "2026-01-02", "--until", "2026-01-01")
    assert "nothing lies between them" in said


def test_statistics_take_the_filters(hours: Path) -> None:
    found = samescore("log", "stats", hours, "--json", "--since", "2026-01-01T04:00Z").json
    assert found["m/1"]["requests"] == 2


# --------------------------------------------------------------------------------------- compacting


def test_a_compacted_log_reads_as_before(copied: Path) -> None:
    before = samescore("log", "cat", copied).out
    ran = samescore("log", "compact", copied)
    assert ran.code == 0
    assert "16 requests: 1 segments" in ran.words
    assert [p.suffix for p in copied.iterdir() if p.name != LOCK_NAME] == [".parquet"]
    assert samescore("log", "cat", copied).out == before
    assert "1 compacted and 0 open segments" in samescore("log", "verify", copied).words
    assert "0 requests: 0 segments" in samescore("log", "compact", copied).words


def test_a_damaged_segment_is_named_and_ends_with_1(copied: Path) -> None:
    (segment,) = copied.iterdir()
    segment.write_bytes(segment.read_bytes() + b"garbage\n")
    ran = samescore("log", "compact", copied)
    assert ran.code == 1
    assert f"stays JSON Lines: {segment.name} line 17: no crc field" in ran.words
    machine = samescore("log", "compact", copied, "--json")
    assert machine.json["compacted"] == []
    assert machine.json["kept"] == [
        {"segment": segment.name, "line": 17, "problem": "no crc field"}
    ]


def test_what_was_compacted_is_told_to_machines(copied: Path) -> None:
    (done,) = samescore("log", "compact", copied, "--json").json["compacted"]
    assert done["lines"] == 16
    assert (copied / done["path"]).stat().st_size == done["bytes_after"]


def test_a_second_compaction_is_told_to_wait(copied: Path) -> None:
    import fcntl

    with (copied / LOCK_NAME).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another compaction is running" in mistake("log", "compact", copied)


# ---------------------------------------------------------------------------------------- exporting


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_the_name_says_the_format(log: Log, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"rows.{form}"
    ran = samescore("log", "export", log.folder, "--out", out, "--outcome", "ok")
    assert ran.code == 0
    rows = sum(r.rows for r in log.requests if r.scores is not None)
    assert f"{rows} rows of 14 requests" in ran.words
    if form == "parquet":
        table = pq.read_table(out)
        assert table.num_rows == rows
        assert {"request_id", "row", "score", "feature_city_rate"} <= set(table.column_names)


def test_what_json_cannot_hold_is_said(log: Log, tmp_path: Path) -> None:
    ran = samescore("log", "export", log.folder, "--out", tmp_path / "rows.jsonl")
    assert "NaN or infinite values are null in this format; Parquet holds them" in ran.words
    machine = samescore("log", "export", log.folder, "--out", tmp_path / "r.jsonl", "--json").json
    assert sum(machine["nulled"].values()) > 0
    assert "have no row" in ran.words


@pytest.mark.parametrize("name", ["rows", "rows.txt"])
def test_a_name_without_a_format_is_a_mistake(log: Log, tmp_path: Path, name: str) -> None:
    said = mistake("log", "export", log.folder, "--out", tmp_path / name)
    assert "say which with --format" in said
    assert (
        samescore("log", "export", log.folder, "--out", tmp_path / name, "--format", "csv").code
        == 0
    )


def test_a_table_within_the_log_is_a_mistake(copied: Path) -> None:
    assert "lies within the log" in mistake("log", "export", copied, "--out", copied / "r.csv")


# ------------------------------------------------------------------------------------------ tailing


def test_the_last_requests_have_a_line_each(log: Log) -> None:
    lines = samescore("log", "tail", log.folder, "-n", 3).out.splitlines()
    assert len(lines) == 3
    for line, request in zip(lines, log.requests[-3:], strict=True):
        assert request.request_id in line
        assert request.outcome.value in line
        assert "tiny/1" in line


def test_whole_requests_are_printed_for_machines(log: Log) -> None:
    (line,) = samescore("log", "tail", log.folder, "-n", 1, "--json").out.splitlines()
    assert orjson.loads(line)["payload"] == log.requests[-1].payload.body.decode()
    assert samescore("log", "tail", log.folder, "-n", 0).out == ""


@contextmanager
def following(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, "log", "tail", folder, "-f", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_it_follows_several_writers_and_ends_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    folder = tmp_path / "requests"
    writers = [RequestLogWriter(LogSettings(folder, segment_bytes=3_000)) for _ in range(2)]
    writers[0].write(make_request("first"))
    with following(folder, "--json") as process:
        assert process.stdout is not None
        assert orjson.loads(process.stdout.readline())["request_id"] == "first"
        for i in range(20):
            writers[i % 2].write(make_request(f"r-{i}"))
            if i == 10:
                assert samescore("log", "compact", folder).code == 0
                time.sleep(0.3)
        seen = [orjson.loads(process.stdout.readline())["request_id"] for _ in range(20)]
        assert sorted(seen) == sorted(f"r-{i}" for i in range(20))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
    for writer in writers:
        writer.close()
