from __future__ import annotations

import csv
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consistency.errors import ConfigError, LogError
from consistency.features import FeatureBatch, feature_batch
from consistency.log import LogSettings, RequestLogWriter
from consistency.log.columnar.export import Exported, export_log
from consistency.log.columnar.export_sinks import ExportFormat
from consistency.log.selection import LogSelection
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome, ScoredRequest
from tests.fixtures.scored import make_request
from tests.fixtures.strategies import FLOATS, columns

KINDS = tuple(FeatureType)
SCHEMA = FeatureSchema(tuple(f"{kind}_x" for kind in KINDS), KINDS)
FORMS = tuple(ExportFormat)


@st.composite
def requests(draw: st.DrawFn, request_id: str) -> ScoredRequest:
    rows = draw(st.integers(1, 3))
    pairs = zip(SCHEMA.names, SCHEMA.types, strict=True)
    features = feature_batch(SCHEMA, {name: draw(columns(kind, rows)) for name, kind in pairs}, {})
    scores = np.array(draw(st.lists(FLOATS, min_size=rows, max_size=rows)))
    return make_request(request_id, rows=rows, features=features, scores=scores)


def write(folder: Path, *log: ScoredRequest) -> Path:
    writer = RequestLogWriter(LogSettings(folder))
    for request in log:
        writer.write(request)
    writer.close()
    return folder


def export(
    folder: Path, form: ExportFormat, **choice: Any
) -> tuple[list[dict[str, Any]], Exported]:
    """Export, and read the table back as a stranger would."""
    out = folder.parent / f"table.{form}"
    done = export_log(folder, out, form, LogSelection(**choice))
    if form is ExportFormat.PARQUET:
        return pq.read_table(out).to_pylist(), done
    if form is ExportFormat.JSONL:
        return [json.loads(line) for line in out.read_text().split("\n")[:-1]], done
    with out.open(newline="") as stream:
        return list(csv.DictReader(stream)), done


def bits(value: Any) -> bytes:
    number = float(value)
    return struct.pack("<d", math.nan if math.isnan(number) else number)


def assert_float(found: Any, sent: float, form: ExportFormat) -> None:
    if form is ExportFormat.JSONL and not math.isfinite(sent):
        assert found is None
    else:
        assert bits(found) == bits(sent)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
@given(log=st.integers(1, 4).flatmap(lambda n: st.tuples(*(requests(f"r-{i}") for i in range(n)))))
def test_every_float_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, form: ExportFormat, log: tuple[ScoredRequest, ...]
) -> None:
    folder = write(tmp_path_factory.mktemp("export") / "log", *log)
    table, done = export(folder, form)
    rows = [(request, i) for request in log for i in range(request.rows)]
    assert (done.requests, done.rows, len(table)) == (len(log), len(rows), len(rows))
    lost = 0
    for found, (request, i) in zip(table, rows, strict=True):
        assert (found["request_id"], int(found["row"])) == (request.request_id, i)
        assert request.scores is not None
        assert request.features is not None
        for column, sent in (
            ("score", request.scores[i]),
            ("feature_float64_x", request.features.column("float64_x")[i]),
            ("feature_float32_x", request.features.column("float32_x")[i]),
        ):
            assert_float(found[column], float(sent), form)
            lost += not math.isfinite(sent)
        assert int(found["feature_int64_x"]) == request.features.column("int64_x")[i]
    assert sum(done.nulled.values()) == (lost if form is ExportFormat.JSONL else 0)


def test_types_and_gaps_of_a_parquet_table(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"features": None, "outputs": None, "scores": None}
    folder = write(
        tmp_path / "log",
        make_request("scored", event_time_us=5),
        make_request("refused", outcome=Outcome.DATA_ERROR, message="数据错误", **nothing),
        make_request("unreadable", outcome=Outcome.DATA_ERROR, **{**nothing, "rows": 0}),
    )
    table, done = export(folder, ExportFormat.PARQUET)
    assert [(r["request_id"], r["score"], r["feature_x"]) for r in table] == [
        ("scored", 0.25, 1.5), ("refused", None, None)
    ]  # fmt: skip
    assert table[1]["message"] == "数据错误"
    assert table[0]["event_time"].microsecond == 5
    assert (done.requests, done.rows, done.without_rows) == (3, 2, 1)


@pytest.mark.parametrize("form", FORMS)
def test_times_that_no_calendar_holds_are_there(tmp_path: Path, form: ExportFormat) -> None:
    times = {"a": 253_402_351_199_000_000, "b": -62_135_640_000_000_000, "c": 5}
    requests = [make_request(name, event_time_us=us) for name, us in times.items()]
    out = tmp_path / f"table.{form}"
    export_log(write(tmp_path / "log", *requests), out, form)
    if form is ExportFormat.PARQUET:
        column = pq.read_table(out)["event_time"]
        assert column.cast("int64").to_pylist() == list(times.values())
        return
    said = out.read_text().replace(" ", "T")
    for text in ("10000-01-01T13:59:59", "0000-12-31T12:00:00", "1970-01-01T00:00:00.000005"):
        assert text in said


@pytest.mark.parametrize("form", FORMS)
def test_scores_of_several_classes_have_a_column_each(tmp_path: Path, form: ExportFormat) -> None:
    folder = write(tmp_path / "log", make_request(scores=np.array([[0.1, 0.2, 0.7]])))
    (row,), _ = export(folder, form)
    assert [float(row[f"score_{i}"]) for i in range(3)] == [0.1, 0.2, 0.7]


@pytest.mark.parametrize("form", FORMS)
def test_tensors_and_tokens_are_lists(tmp_path: Path, form: ExportFormat) -> None:
    schema = FeatureSchema(("v", "t"), (FeatureType.FLOAT32, FeatureType.TOKENS))
    tokens = np.empty(2, object)
    tokens[:] = [["a", "b"], []]
    vectors = np.array([[[1.0, math.nan]], [[0.5, math.inf]]], np.float32)
    features = FeatureBatch(schema, 2, np.empty((2, 0), order="F"), {"v": vectors, "t": tokens})
    folder = write(tmp_path / "log", make_request(rows=2, features=features, scores=np.zeros(2)))
    table, done = export(folder, form)
    lists = [
        json.loads(r["feature_v"]) if form is ExportFormat.CSV else r["feature_v"] for r in table
    ]
    if form is ExportFormat.PARQUET:
        assert lists[0][0] == 1.0
        assert math.isnan(lists[0][1])
        assert lists[1] == [0.5, math.inf]
    else:
        assert lists == [[1.0, None], [0.5, None]]
        assert done.nulled == {"feature_v": 2}
    assert "a" in str(table[0]["feature_t"])


def test_csv_tells_an_empty_text_from_none(tmp_path: Path) -> None:
    schema = FeatureSchema(("city",), (FeatureType.STRING,))
    cities = np.array(["", None, 'a "quoted", text\n'], object)
    features = FeatureBatch(schema, 3, np.empty((3, 0), order="F"), {"city": cities})
    folder = write(tmp_path / "log", make_request(rows=3, features=features, scores=np.zeros(3)))
    table, _ = export(folder, ExportFormat.CSV)
    assert [row["feature_city"] for row in table] == ["", "", 'a "quoted", text\n']
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in lines[1:3]] == ['""', ""]


def test_only_chosen_requests_are_exported(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "log", *(make_request(f"r-{i}", ingest_time_us=1_000 + i) for i in range(9))
    )
    table, done = export(folder, ExportFormat.JSONL, since_us=1_003, until_us=1_005)
    assert [row["request_id"] for row in table] == ["r-3", "r-4"]
    assert done.requests == 2


def test_an_empty_choice_is_an_empty_table(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", make_request())
    for form in FORMS:
        table, done = export(folder, form, models=frozenset({"other"}))
        assert (table, done.rows) == ([], 0)


def test_a_feature_with_two_types_is_a_mistake(tmp_path: Path) -> None:
    schema = FeatureSchema(("x",), (FeatureType.STRING,))
    text = FeatureBatch(schema, 1, np.empty((1, 0), order="F"), {"x": np.array(["a"], object)})
    folder = write(tmp_path / "log", make_request("a"), make_request("b", features=text))
    with pytest.raises(ConfigError, match="feature 'x' is float64 in one request and string in b"):
        export(folder, ExportFormat.CSV)


def test_damage_is_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", make_request())
    with next(folder.iterdir()).open("ab") as stream:
        stream.write(b"garbage\n")
    _, done = export(folder, ExportFormat.CSV)
    assert (done.rows, done.damage) == (1, 1)


def test_a_table_within_the_log_is_a_mistake(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", make_request())
    with pytest.raises(ConfigError, match="lies within the log"):
        export_log(folder, folder / "t.parquet", ExportFormat.PARQUET)


def test_a_place_that_is_not_writable_is_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", make_request())
    with pytest.raises(LogError, match="give a writable place"):
        export_log(folder, tmp_path / "nowhere" / "t.csv", ExportFormat.CSV)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log"]


def test_an_export_replaces_its_file_whole(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", make_request())
    out = tmp_path / "t.csv"
    out.write_text("old")
    export_log(folder, out, ExportFormat.CSV)
    assert "old" not in out.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "t.csv"]


FLAGS = {"city:be_in_set": [1, 2], "amount,age:a_greater_than_b": [2], "'東京', [x]": [0, 2]}


@pytest.mark.parametrize("form", FORMS)
def test_each_row_has_the_rules_that_it_broke(tmp_path: Path, form: ExportFormat) -> None:
    nothing: dict[str, Any] = {"features": None, "outputs": None, "scores": None}
    flagged = make_request("flagged", rows=4, flags=FLAGS, **nothing)
    folder = write(tmp_path / "log", make_request("plain"), flagged)
    table, done = export(folder, form)
    held = [json.loads(r["flags"]) if form is ExportFormat.CSV else r["flags"] for r in table]
    assert held == [
        [],
        ["'東京', [x]"],
        ["city:be_in_set"],
        ["city:be_in_set", "amount,age:a_greater_than_b", "'東京', [x]"],
        [],
    ]
    assert "flags" in done.columns
    assert not done.nulled


@given(
    rows=st.integers(1, 5),
    flags=st.dictionaries(st.text(max_size=5), st.sets(st.integers(0, 4), min_size=1), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_no_flag_is_lost_or_made_up(
    tmp_path_factory: pytest.TempPathFactory, rows: int, flags: dict[str, set[int]]
) -> None:
    held = {rule: sorted(r for r in broken if r < rows) for rule, broken in flags.items()}
    said = {rule: broken for rule, broken in held.items() if broken}
    request = make_request("r", rows=rows, flags=said, features=None, outputs=None, scores=None)
    table, _ = export(write(tmp_path_factory.mktemp("f") / "log", request), ExportFormat.PARQUET)
    found = {rule: [r["row"] for r in table if rule in r["flags"]] for rule in said}
    assert found == said
    assert sum(len(r["flags"]) for r in table) == sum(map(len, said.values()))


def test_the_query_of_the_documentation_counts_each_rule(tmp_path: Path) -> None:
    import duckdb

    nothing: dict[str, Any] = {"features": None, "outputs": None, "scores": None}
    folder = write(tmp_path / "log", make_request("r", rows=4, flags=FLAGS, **nothing))
    export(folder, ExportFormat.PARQUET)
    table = tmp_path / "table.parquet"
    counts = duckdb.sql(f"SELECT unnest(flags) AS rule, count(*) FROM '{table}' GROUP BY rule")
    assert counts is not None
    assert dict(counts.fetchall()) == {rule: len(rows) for rule, rows in FLAGS.items()}
