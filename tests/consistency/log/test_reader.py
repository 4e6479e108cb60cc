from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.json as pj
import pytest

from consistency.errors import LogError
from consistency.features import FeatureBatch
from consistency.log import LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.reader import CUT_LINES, CUT_SEALED, TORN_TAIL, verify_log
from consistency.protocols import Damage
from consistency.schema import FeatureSchema
from consistency.scored import Outcome
from tests.fixtures.scored import make_request

LINES = [encode_line(make_request(f"r-{i}")) for i in range(3)]


def put(folder: Path, content: bytes, name: str = "20260101T000000Z-1-a.jsonl") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def read(folder: Path) -> tuple[list[str], list[Damage]]:
    items = list(RequestLogReader(folder))
    requests = [i.request_id for i in items if isinstance(i, LoggedRequest)]
    return requests, [i for i in items if isinstance(i, Damage)]


# ------------------------------------------------------------------------------------------ reading


def test_a_log_is_read_in_the_order_of_writing_over_all_segments(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder, segment_bytes=2 * len(LINES[0])))
    for i in range(7):
        log.write(make_request(f"r-{i}"))
    assert read(folder) == ([f"r-{i}" for i in range(7)], [])
    log.close()
    assert read(folder) == ([f"r-{i}" for i in range(7)], [])


@pytest.mark.parametrize(
    ("content", "ids", "line", "problem"),
    [
        (LINES[0] + LINES[1].replace(b"r-1", b"r-9") + LINES[2], ["r-0", "r-2"], 2, "crc mismatch"),
        (LINES[0] + b"garbage\n" + LINES[2], ["r-0", "r-2"], 2, "no crc field"),
        (LINES[0] + b"\n" + LINES[2], ["r-0", "r-2"], 2, "no crc field"),
        (LINES[0] + b"\xff\x00\n" + LINES[2], ["r-0", "r-2"], 2, "no crc field"),
        (LINES[1].replace(b"0.25", b"0.26") + LINES[2], ["r-2"], 1, "crc mismatch"),
        (LINES[0] + LINES[1][:-1] + LINES[2], ["r-0"], 2, "crc mismatch"),
    ],
)
def test_a_damaged_line_is_reported_and_the_rest_is_read(
    folder: Path, content: bytes, ids: list[str], line: int, problem: str
) -> None:
    put(folder, content)
    requests, damage = read(folder)
    assert requests == ids
    assert [(d.line, d.problem) for d in damage] == [(line, problem)]
    assert damage[0].segment == "20260101T000000Z-1-a.jsonl"
    assert damage[0].size_bytes == len(content.splitlines(keepends=True)[line - 1])


@pytest.mark.parametrize("cut", [1, 20, len(LINES[2]) - 1])
def test_a_torn_tail_of_an_open_segment_is_reported(folder: Path, cut: int) -> None:
    put(folder, LINES[0] + LINES[1] + LINES[2][:cut], "20260101T000000Z-1-a.jsonl.open")
    requests, damage = read(folder)
    assert requests == ["r-0", "r-1"]
    assert [(d.line, d.problem, d.size_bytes) for d in damage] == [(3, TORN_TAIL, cut)]


@pytest.mark.parametrize("cut", [1, 20, len(LINES[2]) - 1])
def test_a_sealed_segment_without_its_end_has_lost_requests(folder: Path, cut: int) -> None:
    put(folder, LINES[0] + LINES[1] + LINES[2][:cut])
    requests, damage = read(folder)
    assert requests == ["r-0", "r-1"]
    assert [(d.line, d.problem, d.size_bytes) for d in damage] == [(3, CUT_SEALED, cut)]
    verdict = verify_log(folder)
    assert not verdict.intact
    assert verdict.lost == 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.open", "a.torn"])
def test_what_is_no_segment_is_a_mistake_that_is_named(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    with pytest.raises(LogError, match=f"{name}: Is a directory; make it readable, or move it"):
        list(RequestLogReader(folder))


def test_an_empty_log_holds_nothing(folder: Path) -> None:
    folder.mkdir()
    assert read(folder) == ([], [])
    put(folder, b"")
    assert read(folder) == ([], [])


def test_a_log_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(LogError, match="no such folder"):
        RequestLogReader(folder)


def test_a_segment_that_is_sealed_while_the_log_is_read_is_still_read(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    log.write(make_request())
    reader = RequestLogReader(folder)
    log.close()
    assert [item.request_id for item in reader if isinstance(item, LoggedRequest)] == ["r-1"]
    assert reader.size_bytes >= 0


def test_an_empty_segment_that_is_removed_while_the_log_is_read_is_no_error(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    reader = RequestLogReader(folder)
    log.close()
    assert list(reader) == []


def test_the_size_is_that_of_all_segments(folder: Path) -> None:
    put(folder, LINES[0])
    put(folder, LINES[1], "20260102T000000Z-1-a.jsonl.open")
    put(folder, b"torn", "20260102T000000Z-1-a.torn")
    assert RequestLogReader(folder).size_bytes == len(LINES[0]) + len(LINES[1])


# ---------------------------------------------------------------------------------------- verifying


def test_an_intact_log_is_counted(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    log.write(make_request("a", rows=3))
    log.write(make_request("b", outcome=Outcome.DATA_ERROR, rows=0))
    log.close()
    verdict = verify_log(folder)
    assert verdict.intact
    assert (verdict.requests, verdict.rows) == (2, 3)
    assert verdict.outcomes == {"ok": 1, "data_error": 1}
    assert verdict.models == {"m/1": 2}
    assert (verdict.segments_open, verdict.segments_sealed) == (0, 1)


def test_a_request_that_is_there_twice_is_found_also_across_segments(folder: Path) -> None:
    put(folder, LINES[0] + LINES[1])
    put(folder, LINES[1] + LINES[2], "20260102T000000Z-1-a.jsonl")
    verdict = verify_log(folder)
    assert verdict.repeated == ["r-1"]
    assert not verdict.intact


def test_a_damaged_line_makes_a_log_not_intact(folder: Path) -> None:
    put(folder, LINES[0] + b"garbage\n" + LINES[1])
    verdict = verify_log(folder)
    assert not verdict.intact
    assert verdict.requests == 2


def test_a_torn_tail_is_told_and_is_no_loss(folder: Path) -> None:
    put(folder, LINES[0] + LINES[1][:30], "20260101T000000Z-1-a.jsonl.open")
    verdict = verify_log(folder)
    assert verdict.intact
    assert [d.problem for d in verdict.damage] == [TORN_TAIL]
    assert verdict.segments_open == 1


def test_a_tail_that_was_cut_off_is_told_with_its_size(folder: Path) -> None:
    put(folder, LINES[0] + LINES[1][:30], "20260101T000000Z-1-a.jsonl.open")
    RequestLogWriter(LogSettings(folder)).close()
    verdict = verify_log(folder)
    assert verdict.intact
    assert verdict.damage == [Damage("20260101T000000Z-1-a.torn", 1, TORN_TAIL, 30)]


def test_complete_lines_that_were_cut_off_are_a_loss(folder: Path) -> None:
    put(folder, LINES[0] + b"{}\n", "20260101T000000Z-1-a.jsonl.open")
    RequestLogWriter(LogSettings(folder)).close()
    verdict = verify_log(folder)
    assert not verdict.intact
    assert verdict.damage == [Damage("20260101T000000Z-1-a.torn", 1, CUT_LINES, 3)]


# -------------------------------------------------------------------------- readers of other houses

HARD = np.array([0.1, 1 / 3, 1.7976931348623157e308, -2.2250738585072014e-308, 2**53 + 2.0, -0.0])
HARDER = np.random.default_rng(11).random(500) * 10.0 ** np.arange(-250, 250)


@pytest.fixture
def sealed(folder: Path) -> Path:
    """A sealed segment with scores that only an exact reader reads."""
    log = RequestLogWriter(LogSettings(folder))
    schema = FeatureSchema.float64(("x", "gap"))
    for i, score in enumerate([*HARD, *HARDER]):
        features = FeatureBatch(schema, 1, np.array([[score, math.nan]], order="F"))
        log.write(make_request(f"r-{i}", scores=np.array([score]), features=features))
    log.close()
    (path,) = folder.iterdir()
    return path


def test_pandas_reads_a_sealed_segment_with_exact_floats(sealed: Path) -> None:
    frame = pd.read_json(sealed, lines=True, precise_float=True)
    assert frame["request_id"].tolist() == [f"r-{i}" for i in range(len(frame))]
    scores = np.array([row[0] for row in frame["scores"]])
    np.testing.assert_array_equal(scores, [*HARD, *HARDER])
    assert frame["feature_names"][0] == ["x", "gap"]
    assert [row[0][0] for row in frame["feature_rows"]] == scores.tolist()
    assert {row[0][1] for row in frame["feature_rows"]} == {None}


def test_pyarrow_reads_a_sealed_segment_with_exact_floats(sealed: Path) -> None:
    table = pj.read_json(sealed)
    scores = [row[0] for row in table["scores"].to_pylist()]
    np.testing.assert_array_equal(scores, [*HARD, *HARDER])
    assert [row[0][0] for row in table["feature_rows"].to_pylist()] == scores
    assert set(table["servable"].to_pylist()[0]) >= {"gate", "bundle_digest", "execution"}


def test_pandas_needs_the_option_that_the_guide_gives(sealed: Path) -> None:
    frame = pd.read_json(sealed, lines=True)
    scores = np.array([row[0] for row in frame["scores"]])
    assert (scores != [*HARD, *HARDER]).any(), "then the guide may drop precise_float"
