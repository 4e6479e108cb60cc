from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consistency.errors import LogError
from consistency.features import feature_batch
from consistency.log import LogSettings, RequestLogReader, RequestLogWriter
from consistency.log.columnar import parquet_writer
from consistency.log.columnar.compaction import LOCK_NAME, TARGET_BYTES, Compacted, compact_log
from consistency.log.columnar.parquet import FOOTER_KEY, footer_entries, held_segments
from consistency.log.columnar.parquet_writer import Kept, write_group
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.reader import read_segment, verify_log
from consistency.log.segments import list_segments
from consistency.log.selection import LogSelection
from consistency.protocols import Damage
from consistency.replay.units import UnitReader, cut_log
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome
from tests.fixtures.scored import make_request
from tests.fixtures.strategies import FLOATS, columns

ROOT = Path(__file__).parents[4]
START_US = 1_767_225_600_000_000
LINES = [encode_line(make_request(f"r-{i}", ingest_time_us=START_US + i)) for i in range(12)]
NAMES = [f"2026010{i}T000000.000000Z-1-abcde{i}" for i in range(1, 7)]


def sealed(folder: Path, content: bytes, name: str = NAMES[0]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_bytes(content)
    return path


def three_segments(folder: Path) -> None:
    for i in range(3):
        sealed(folder, b"".join(LINES[4 * i : 4 * i + 4]), NAMES[i])


def compact(folder: Path, target_bytes: int = TARGET_BYTES) -> list[Compacted | Kept]:
    return list(compact_log(folder, target_bytes))


def ids(folder: Path) -> list[str]:
    """Return the ids as they are read; damage is an error."""
    items = list(RequestLogReader(folder))
    assert not [i for i in items if isinstance(i, Damage)]
    return [i.request_id for i in items if isinstance(i, LoggedRequest)]


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != LOCK_NAME)


ALL = [f"r-{i}" for i in range(12)]


# ------------------------------------------------------------------------------ what it makes of it


def test_small_segments_are_merged_and_the_same_requests_are_read(folder: Path) -> None:
    three_segments(folder)
    before = [r.fields for r in RequestLogReader(folder) if isinstance(r, LoggedRequest)]
    (done,) = compact(folder)
    assert isinstance(done, Compacted)
    assert files(folder) == [f"{NAMES[0]}..{NAMES[2]}.parquet"]
    assert done.segments == tuple(f"{name}.jsonl" for name in NAMES[:3])
    assert (done.lines, done.bytes_before) == (12, sum(map(len, LINES)))
    after = [r.fields for r in RequestLogReader(folder) if isinstance(r, LoggedRequest)]
    assert after == before
    assert verify_log(folder).segments_compacted == 1


def test_a_segment_of_the_target_size_stays_alone(folder: Path) -> None:
    three_segments(folder)
    assert len(compact(folder, 1)) == 3
    assert files(folder) == [f"{name}.parquet" for name in NAMES[:3]]
    assert ids(folder) == ALL


def test_every_line_is_kept_byte_for_byte(folder: Path) -> None:
    three_segments(folder)
    compact(folder)
    (path,) = list_segments(folder)
    kept = pq.read_table(path, columns=["line"])["line"].to_pylist()
    assert [line + b"\n" for line in kept] == LINES


def test_a_log_is_compacted_bit_by_bit_over_its_life(folder: Path) -> None:
    for i in range(3):
        log = RequestLogWriter(LogSettings(folder))
        for j in range(4):
            log.write(make_request(f"r-{4 * i + j}"))
        log.close()
        assert len(compact(folder)) == 1
    assert compact(folder) == []
    assert ids(folder) == ALL
    assert verify_log(folder).intact


def test_open_segments_are_left_to_their_writers_and_dead_ones_are_sealed(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder))
    log.write(make_request("living"))
    (folder / f"{NAMES[0]}.jsonl.open").write_bytes(LINES[0] + LINES[1][:40])
    (done,) = compact(folder)
    assert isinstance(done, Compacted)
    assert done.lines == 1
    assert [p.name for p in folder.glob("*.torn")] == [f"{NAMES[0]}.torn"]
    assert len(list(folder.glob("*.open"))) == 1
    log.write(make_request("still living"))
    log.close()
    assert [r.request_id for r in RequestLogReader(folder) if isinstance(r, LoggedRequest)] == [
        "r-0", "living", "still living"
    ]  # fmt: skip


def test_an_empty_log_and_an_empty_segment_are_no_trouble(folder: Path) -> None:
    folder.mkdir()
    assert compact(folder) == []
    sealed(folder, b"")
    (done,) = compact(folder)
    assert isinstance(done, Compacted)
    assert done.lines == 0
    assert ids(folder) == []


def test_a_compacted_file_is_as_old_as_its_last_request(folder: Path) -> None:
    three_segments(folder)
    os.utime(folder / f"{NAMES[0]}.jsonl", (1_000, 1_000))
    os.utime(folder / f"{NAMES[1]}.jsonl", (3_000, 3_000))
    os.utime(folder / f"{NAMES[2]}.jsonl", (2_000, 2_000))
    compact(folder)
    (path,) = list_segments(folder)
    assert path.stat().st_mtime == 3_000
    assert path.stat().st_mode & 0o777 == 0o640


# ------------------------------------------------------------------------------------ typed columns

BROKEN = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True).map(sorted)
KINDS = tuple(FeatureType)
SCHEMA = FeatureSchema(tuple(f"{kind}_feature" for kind in KINDS), KINDS)


@st.composite
def requests(draw: st.DrawFn, request_id: str) -> Any:
    rows = draw(st.integers(1, 3))
    pairs = zip(SCHEMA.names, SCHEMA.types, strict=True)
    features = feature_batch(SCHEMA, {name: draw(columns(kind, rows)) for name, kind in pairs}, {})
    scores = np.array(draw(st.lists(FLOATS, min_size=2 * rows, max_size=2 * rows))).reshape(rows, 2)
    return make_request(
        request_id, rows=rows, features=features, scores=scores, snapshots={"t": "id"},
        event_time_us=draw(st.none() | st.integers(0, 4_000_000_000_000_000)),
        flags=draw(st.dictionaries(st.text(max_size=5), BROKEN, max_size=3)),
    )  # fmt: skip


def bits(values: Sequence[float]) -> bytes:
    """Return the bits of floats; any NaN is as good as another."""
    array = np.array(values, np.float64)
    return np.where(np.isnan(array), np.nan, array).tobytes()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4).flatmap(lambda n: st.tuples(*(requests(f"r-{i}") for i in range(n)))))
def test_the_typed_columns_hold_what_was_logged_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, log: Sequence[Any]
) -> None:
    folder = tmp_path_factory.mktemp("typed")
    sealed(folder, b"".join(map(encode_line, log)))
    assert all(isinstance(done, Compacted) for done in compact(folder))
    rows = pq.read_table(list_segments(folder)[0]).to_pylist()
    for row, request in zip(rows, log, strict=True):
        assert row["request_id"] == request.request_id
        assert row["ingest_time"].timestamp() == request.ingest_time_us / 1e6
        assert (row["event_time"] is None) == (request.event_time_us is None)
        assert (row["rows"], row["scores_per_row"]) == (request.rows, 2)
        assert bits(row["scores"]) == bits(request.scores.ravel())
        floats, others = dict(row["features"]), dict(row["features_json"])
        assert floats.keys() == {"float64_feature", "float32_feature"}
        assert floats.keys() | others.keys() == set(SCHEMA.names)
        for name, values in floats.items():
            assert bits(values) == bits(request.features.column(name).astype(np.float64))
        integers = request.features.column("int64_feature").tolist()
        assert [int(text) for text in others["int64_feature"]] == integers
        assert (dict(row["snapshots"]), row["latency_total_ns"]) == ({"t": "id"}, 21)
        assert dict(row["flags"]) == request.flags
        assert (row["gate"], row["execution"], row["threads"]) == ("verified", "as_is", 1)


def test_files_of_an_earlier_release_without_flags_are_read_beside_newer_ones(
    folder: Path,
) -> None:
    import duckdb

    sealed(folder, encode_line(make_request("old")), NAMES[0])
    sealed(folder, encode_line(make_request("new", flags={"age:be_between": [0]})), NAMES[1])
    compact(folder, target_bytes=1)
    old, new = list_segments(folder)
    table = pq.read_table(old)
    pq.write_table(table.drop_columns(["flags"]), old)
    found = duckdb.sql(
        f"SELECT request_id, flags['age:be_between'] FROM read_parquet(['{old}', '{new}'], "
        "union_by_name = true) ORDER BY 1"
    )
    assert found is not None
    assert found.fetchall() == [("new", [0]), ("old", None)]


def test_a_refused_request_has_nulls_and_no_numbers(folder: Path) -> None:
    nothing: dict[str, Any] = {"rows": 0, "features": None, "outputs": None, "scores": None}
    sealed(
        folder, encode_line(make_request(outcome=Outcome.DATA_ERROR, message="数据错误", **nothing))
    )
    compact(folder)
    (row,) = pq.read_table(list_segments(folder)[0]).to_pylist()
    assert (row["outcome"], row["message"]) == ("data_error", "数据错误")
    assert (row["scores"], row["features"], row["scores_per_row"]) == (None, None, None)


def test_time_filters_skip_row_groups_by_their_statistics(folder: Path) -> None:
    wide = [
        encode_line(make_request(f"w-{i}", ingest_time_us=START_US + i, message="m" * 20_000))
        for i in range(1_000)
    ]
    sealed(folder, b"".join(wide))
    compact(folder)
    (path,) = list_segments(folder)
    assert pq.read_metadata(path).num_row_groups > 1
    late = LogSelection(since_us=START_US + 990)
    found = [r.request_id for r in read_segment(path, late) if isinstance(r, LoggedRequest)]
    assert found == [f"w-{i}" for i in range(990, 1_000)]
    early = LogSelection(until_us=START_US + 2)
    assert len(list(read_segment(path, early))) == 2


# ------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("spoilt", "line", "problem"),
    [
        (LINES[0] + LINES[1].replace(b"r-1", b"r-9") + LINES[2], 2, "crc mismatch"),
        (LINES[0] + b"garbage\n" + LINES[2], 2, "no crc field"),
        (LINES[0] + LINES[1][:30], 2, "the last line has no end"),
    ],
)
def test_a_damaged_segment_stays_as_it_is_and_the_others_are_compacted(
    folder: Path, spoilt: bytes, line: int, problem: str
) -> None:
    three_segments(folder)
    sealed(folder, spoilt, NAMES[1])
    found = compact(folder)
    assert [k for k in found if isinstance(k, Kept)] == [Kept(f"{NAMES[1]}.jsonl", line, problem)]
    assert (folder / f"{NAMES[1]}.jsonl").read_bytes() == spoilt
    assert files(folder) == [f"{NAMES[0]}..{NAMES[2]}.parquet", f"{NAMES[1]}.jsonl"]
    again = compact(folder)
    assert [type(k) for k in again] == [Kept], "it is reported each time"


def test_a_line_with_a_right_crc_and_odd_fields_is_named(folder: Path) -> None:
    import zlib

    body = b'{"v":1,"request_id":"odd"}'
    odd = b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))
    sealed(folder, LINES[0] + odd)
    assert compact(folder) == [Kept(f"{NAMES[0]}.jsonl", 2, "its fields are not those of a line")]


def test_a_damaged_compacted_file_is_reported_and_hides_no_segment(folder: Path) -> None:
    three_segments(folder)
    compact(folder, 1)
    path = folder / f"{NAMES[1]}.parquet"
    data = bytearray(path.read_bytes())
    data[100:140] = b"\x00" * 40
    path.write_bytes(data)
    items = list(RequestLogReader(folder))
    assert [i.segment for i in items if isinstance(i, Damage)] == [path.name]
    assert {f"r-{i}" for i in (0, 1, 2, 3, 8, 9, 10, 11)} <= {
        i.request_id for i in items if isinstance(i, LoggedRequest)
    }
    assert not verify_log(folder).intact
    path.write_bytes(b"not Parquet at all")
    sealed(folder, b"".join(LINES[4:8]), NAMES[1])
    found = [i.request_id for i in RequestLogReader(folder) if isinstance(i, LoggedRequest)]
    assert sorted(found) == sorted(ALL)


def read_all(folder: Path, how: str) -> tuple[list[str], list[Damage]]:
    """Read a log as `log verify` does, or in small units as a replay does."""
    items: list[LoggedRequest | Damage] = list(RequestLogReader(folder))
    if how == "units":
        units = cut_log(folder, unit_bytes=1000)
        items = [item for unit in units for item in UnitReader(folder, unit)]
    found = [i.request_id for i in items if isinstance(i, LoggedRequest)]
    return found, [i for i in items if isinstance(i, Damage)]


@pytest.mark.parametrize("how", ["whole", "units"])
def test_a_damaged_footer_never_hides_a_request(folder: Path, how: str) -> None:
    three_segments(folder)
    compact(folder)
    (path,) = folder.glob("*.parquet")
    data = path.read_bytes()
    at = data.rindex(b'[{"stem"')
    for position in range(at, data.rindex(b"}]"), 3):
        flipped = bytearray(data)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        os.utime(path, ns=(position, position))
        found, damage = read_all(folder, how)
        assert damage, flipped[position - 20 : position + 20]
        assert sorted(found) == sorted(ALL), "what can be read is read, once"


@pytest.mark.parametrize("how", ["whole", "units"])
def test_lines_that_the_footer_no_longer_counts_are_missed(folder: Path, how: str) -> None:
    """The counts of Parquet itself say 8 lines, not 12."""
    three_segments(folder)
    compact(folder)
    (path,) = folder.glob("*.parquet")
    data = path.read_bytes()
    size = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    seen = 0
    for position in (p for p in range(size, len(data) - 8) if data[p] == 24):  # zigzag of 12
        path.write_bytes(data[:position] + b"\x10" + data[position + 1 :])
        os.utime(path, ns=(position, position))
        found, damage = read_all(folder, how)
        assert damage or sorted(found) == sorted(ALL)
        seen += bool(damage)
    assert seen


@pytest.mark.parametrize("how", ["whole", "units"])
def test_a_compacted_file_under_another_name_is_told(folder: Path, how: str) -> None:
    three_segments(folder)
    compact(folder)
    (path,) = folder.glob("*.parquet")
    path.rename(folder / f"old-{path.name}")
    found, (damage,) = read_all(folder, how)
    assert "or it was renamed" in damage.problem
    assert sorted(found) == sorted(ALL)


def test_a_file_of_an_earlier_release_has_no_crc_in_its_footer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_segments(folder)
    monkeypatch.setattr(
        parquet_writer,
        "footer_entries",
        lambda held: {k: v for k, v in footer_entries(held).items() if k == FOOTER_KEY.decode()},
    )
    compact(folder)
    assert ids(folder) == ALL


def test_somebody_elses_parquet_file_is_reported(folder: Path) -> None:
    import pyarrow as pa

    three_segments(folder)
    pq.write_table(pa.table({"x": [1]}), folder / "mine.parquet")
    (damage,) = [i for i in RequestLogReader(folder) if isinstance(i, Damage)]
    assert damage.segment == "mine.parquet"
    assert "move it out of the log's folder" in damage.problem


# ------------------------------------------------------------------------------ crashes and company


@pytest.mark.slow
def test_wherever_a_compaction_is_killed_each_request_is_read_once(
    folder: Path, tmp_path: Path
) -> None:
    three_segments(folder)
    out = tmp_path / "crashes"
    subprocess.run(
        [sys.executable, "-m", "tests.fixtures.log_crashes", folder, out],
        cwd=ROOT, timeout=300, check=True,
    )  # fmt: skip
    crashes = sorted(out.iterdir())
    assert len(crashes) > 20
    states = set()
    for log in crashes:
        states |= {frozenset(p.suffix for p in log.iterdir() if p.name != LOCK_NAME)}
        assert ids(log) == ALL
        compact(log)
        assert files(log) == [f"{NAMES[0]}..{NAMES[2]}.parquet"]
        assert ids(log) == ALL
    assert states == {
        frozenset({".jsonl"}),
        frozenset({".jsonl", ".compacting"}),
        frozenset({".jsonl", ".parquet"}),
        frozenset({".parquet"}),
    }


def test_segments_left_beside_their_parquet_file_are_read_once_and_removed(folder: Path) -> None:
    three_segments(folder)
    compact(folder)
    three_segments(folder)
    assert ids(folder) == ALL
    assert verify_log(folder).intact
    compact(folder)
    assert files(folder) == [f"{NAMES[0]}..{NAMES[2]}.parquet"]
    assert ids(folder) == ALL


def test_a_segment_that_differs_from_its_parquet_file_is_not_removed(folder: Path) -> None:
    three_segments(folder)
    compact(folder, 1)
    path = sealed(folder, LINES[0])
    with pytest.raises(LogError, match="differ though one was made from the other"):
        compact(folder)
    assert path.exists()


def test_a_reader_that_began_before_reads_each_request_once(folder: Path) -> None:
    for target in (1, TARGET_BYTES):
        for already_read in range(13):
            for path in folder.glob("*"):
                path.unlink()
            three_segments(folder)
            reading = iter(RequestLogReader(folder))
            found = [next(reading) for _ in range(already_read)]
            compact(folder, target)
            found += reading
            assert [i.request_id for i in found if isinstance(i, LoggedRequest)] == ALL


def test_a_merged_segment_is_found_by_its_old_name(folder: Path) -> None:
    three_segments(folder)
    before = list_segments(folder)
    compact(folder)
    for i, path in enumerate(before):
        found = [r.request_id for r in read_segment(path) if isinstance(r, LoggedRequest)]
        assert found == ALL[4 * i : 4 * i + 4]
    (merged,) = list_segments(folder)
    assert [h.lines for h in held_segments(merged).values()] == [4, 4, 4]
    merged.unlink()  # retention
    assert list(read_segment(before[0])) == []
    assert list(read_segment(merged)) == []


def test_two_compactions_at_once_are_refused(folder: Path) -> None:
    three_segments(folder)
    with (folder / LOCK_NAME).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LogError, match="another compaction is running"):
            compact(folder)
    assert len(compact(folder)) == 1


def test_a_segment_that_retention_takes_meanwhile_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_segments(folder)
    really = write_group

    def taking(out: Path, group: Sequence[Path]) -> Any:
        held = really(out, group)
        (folder / f"{NAMES[0]}.jsonl").unlink(missing_ok=True)
        return held

    monkeypatch.setattr("consistency.log.columnar.compaction.write_group", taking)
    compact(folder)
    assert ids(folder) == ALL[4:]
    assert files(folder) == [f"{NAMES[1]}..{NAMES[2]}.parquet"]


def test_a_file_that_does_not_read_back_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_segments(folder)
    really = write_group

    def spoiling(out: Path, group: Sequence[Path]) -> Any:
        held = really(out, group)
        data = bytearray(out.read_bytes())
        data[200] ^= 1
        out.write_bytes(data)
        return held

    monkeypatch.setattr("consistency.log.columnar.compaction.write_group", spoiling)
    with pytest.raises(LogError, match="did not read back as it was written"):
        compact(folder)
    assert files(folder) == [f"{name}.jsonl" for name in NAMES[:3]]
    assert ids(folder) == ALL


def test_a_log_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(LogError, match="no such folder"):
        compact(folder)
    assert not folder.exists()


def test_it_compacts_while_others_write_and_read(folder: Path) -> None:
    log = RequestLogWriter(LogSettings(folder, segment_bytes=3_000))
    written = 0
    done = threading.Event()

    def keep_compacting() -> None:
        while not done.is_set():
            compact(folder, 10_000)

    compactor = threading.Thread(target=keep_compacting)
    compactor.start()
    try:
        for _ in range(15):
            for _ in range(20):
                log.write(make_request(f"r-{written}"))
                written += 1
            assert ids(folder) == [f"r-{i}" for i in range(written)]
    finally:
        done.set()
        compactor.join()
    log.close()
    assert ids(folder) == [f"r-{i}" for i in range(written)]
    assert list(folder.glob("*.parquet"))
