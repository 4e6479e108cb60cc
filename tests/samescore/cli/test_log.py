from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

from consistency.log.reader import TORN_TAIL
from consistency.scored import STAGES
from tests.fixtures.cli import mistake, samescore
from tests.samescore.conftest import Log


def damaged_copy(log: Log, folder: Path, change: str) -> Path:
    """Copy a log and damage it."""
    shutil.copytree(log.folder, folder)
    (segment,) = folder.iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    if change == "torn":
        segment.rename(segment.with_name(segment.name + ".open"))
        segment.with_name(segment.name + ".open").write_bytes(b"".join(lines) + lines[0][:50])
    elif change == "twice":
        segment.write_bytes(b"".join(lines) + lines[3])
    else:
        lines[2] = lines[2].replace(b'"rows":', b'"Rows":')
        segment.write_bytes(b"".join(lines))
    return folder


# ------------------------------------------------------------------------------------------- verify


def test_an_intact_log_ends_with_0(log: Log) -> None:
    ran = samescore("log", "verify", log.folder)
    assert ran.code == 0
    assert "16 requests" in ran.out
    assert ran.out.rstrip().endswith("intact")
    value = samescore("log", "verify", log.folder, "--json").json
    assert value["intact"] is True
    assert value["requests"] == 16
    assert value["outcomes"] == {"ok": 14, "data_error": 2}
    assert value["models"] == {"tiny/1": 16}
    assert value["rows"] == sum(r.rows for r in log.requests)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("torn", 0, "torn tail (50 bytes)"),
        ("twice", 1, "there twice: request"),
        ("flipped", 1, "line 3: crc mismatch"),
    ],
)
def test_damage_is_told_and_decides_the_exit_code(
    log: Log, tmp_path: Path, change: str, code: int, said: str
) -> None:
    folder = damaged_copy(log, tmp_path / "copy", change)
    ran = samescore("log", "verify", folder)
    assert ran.code == code
    assert said in ran.words
    machine = samescore("log", "verify", folder, "--json")
    assert machine.code == code
    assert machine.json["intact"] is (code == 0)
    assert bool(machine.json["damage"]) is (change != "twice")


def test_a_request_that_is_there_twice_is_named(log: Log, tmp_path: Path) -> None:
    folder = damaged_copy(log, tmp_path / "copy", "twice")
    value = samescore("log", "verify", folder, "--json").json
    assert value["repeated"] == [log.requests[3].request_id]


def test_a_torn_tail_that_was_cut_off_is_still_told(log: Log, tmp_path: Path) -> None:
    from consistency.log import LogSettings, RequestLogWriter

    folder = damaged_copy(log, tmp_path / "copy", "torn")
    RequestLogWriter(LogSettings(folder)).close()
    ran = samescore("log", "verify", folder)
    assert ran.code == 0
    assert ".torn line 1: torn tail (50 bytes)" in ran.words
    told = samescore("log", "verify", folder, "--json").json["damage"]
    assert [(d["problem"], d["size_bytes"]) for d in told] == [(TORN_TAIL, 50)]


def test_a_folder_that_holds_no_log_is_not_called_intact(tmp_path: Path) -> None:
    ran = samescore("log", "verify", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert "holds no segment of a log: nothing was verified" in ran.err
    machine = samescore("log", "verify", tmp_path, "--json")
    assert (machine.code, machine.json["intact"]) == (1, False)


@pytest.mark.parametrize("command", ["verify", "stats", "cat"])
def test_a_log_that_is_not_there_is_a_mistake(tmp_path: Path, command: str) -> None:
    assert "does not exist" in mistake("log", command, tmp_path / "nowhere")


# -------------------------------------------------------------------------------------------- stats


def test_statistics_name_outcomes_stages_and_scores(log: Log) -> None:
    ran = samescore("log", "stats", log.folder)
    assert ran.code == 0
    assert "tiny/1" in ran.words
    assert "14 ok" in ran.words
    assert ran.out.startswith("tiny/1: "), "the title is no narrower than the terminal"
    assert all(stage in ran.words for stage in STAGES)


def test_statistics_for_machines_are_the_logs_own_numbers(log: Log) -> None:
    value = samescore("log", "stats", log.folder, "--json").json["tiny/1"]
    assert value["requests"] == 16
    assert value["outcomes"] == {"ok": 14, "data_error": 2}
    assert value["latency_ms"].keys() == set(STAGES)
    times = value["latency_ms"]["total"]
    assert 0 < times["p50"] <= times["p90"] <= times["p99"]
    scores = [s for r in log.requests if r.scores is not None for s in r.scores.tolist()]
    assert value["scores"]["min"] == min(scores)
    assert value["scores"]["max"] == max(scores)


def test_an_empty_log_has_no_statistics(tmp_path: Path) -> None:
    assert "holds no request" in samescore("log", "stats", tmp_path).words
    assert samescore("log", "stats", tmp_path, "--json").json == {}


def test_statistics_say_what_could_not_be_read(log: Log, tmp_path: Path) -> None:
    ran = samescore("log", "stats", damaged_copy(log, tmp_path / "copy", "flipped"), "--json")
    assert "line 3: crc mismatch" in ran.err
    assert ran.json["tiny/1"]["requests"] == 15


# ---------------------------------------------------------------------------------------------- cat


def cat(log: Log, *options: object) -> list[dict[str, object]]:
    ran = samescore("log", "cat", log.folder, *options)
    assert ran.code == 0
    return [orjson.loads(line) for line in ran.out.splitlines()]


def test_requests_are_printed_as_json_lines_payload_included(log: Log) -> None:
    lines = cat(log)
    assert [line["request_id"] for line in lines] == [r.request_id for r in log.requests]
    assert lines[0]["payload"] == log.requests[0].payload.body.decode()


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--outcome", "data_error"), 2),
        (("--outcome", "ok", "--outcome", "data_error"), 16),
        (("--model", "tiny"), 16),
        (("--model", "other"), 0),
        (("--limit", 3), 3),
        (("--limit", 99), 16),
        (("--outcome", "ok", "--limit", 2), 2),
    ],
)
def test_what_is_printed_can_be_chosen(log: Log, options: tuple[object, ...], count: int) -> None:
    assert len(cat(log, *options)) == count


def test_one_request_is_found_by_its_id(log: Log) -> None:
    wanted = log.requests[5].request_id
    (line,) = cat(log, "--request-id", wanted)
    assert line["request_id"] == wanted


def test_an_id_that_is_not_there_ends_with_1(log: Log) -> None:
    ran = samescore("log", "cat", log.folder, "--request-id", "nowhere")
    assert ran.code == 1
    assert "0 of 1 requests found" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("options", [("--limit", 0), ("--limit", "many")])
def test_a_limit_below_one_is_a_mistake(log: Log, options: tuple[object, ...]) -> None:
    assert "--limit" in mistake("log", "cat", log.folder, *options)


def test_an_outcome_that_does_not_exist_is_a_mistake(log: Log) -> None:
    assert "--outcome" in mistake("log", "cat", log.folder, "--outcome", "okay")
