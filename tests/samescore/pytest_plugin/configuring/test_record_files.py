"""A team's raw records, from wherever they lie."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consistency.bundle import open_bundle
from consistency.errors import ConfigError, LogError
from consistency.log import LogSettings, RequestLogWriter
from consistency.log.front import LogIncidents, open_front
from consistency.log.redaction import Redaction
from samescore.pytest_plugin.configuring.record_files import read_own_records
from tests.fixtures.scored import make_request
from tests.fixtures.tiny import Tiny


def read(folder: Path, *sources: str, limit: int = 100) -> list[object]:
    return list(read_own_records(sources, folder, None, limit))


def test_json_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"a": 1}')
    (tmp_path / "list.json").write_text('[{"a": 2}, {}]')
    (tmp_path / "lines.jsonl").write_text('{"a": 3.5}\n\n{"a": null}\n')
    assert read(tmp_path, "one.json", "list.json", "lines.jsonl") == [
        {"a": 1}, {"a": 2}, {}, {"a": 3.5}, {"a": None},
    ]  # fmt: skip


def test_parquet_keeps_null_and_nan_apart(tmp_path: Path) -> None:
    amounts = pa.array([0.1, None, math.nan], from_pandas=False)
    pq.write_table(pa.table({"a": amounts}), tmp_path / "r.parquet")
    first, second, third = read(tmp_path, "r.parquet")
    assert (first, second) == ({"a": 0.1}, {"a": None})
    assert isinstance(third, dict)
    assert math.isnan(third["a"])


def test_parquet_of_json_texts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"record": ['{"a": null}', "{}"]}), tmp_path / "r.parquet")
    assert read(tmp_path, "r.parquet") == [{"a": None}, {}], "null and absent stay apart"


def test_golden_records_and_a_limit(tiny: Tiny) -> None:
    bundle = open_bundle(tiny.bundle)
    golden = bundle.golden().records
    assert golden is not None
    found = read_own_records(["golden"], Path(), bundle, 5)
    assert found == [golden[i] for i in (0, 9, 19, 29, 39)], "spread over all of them"


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("a.json", "{", "is no JSON"),
        ("a.json", "[1]", "record 0 is no JSON object"),
        ("a.json", "[]", "holds no raw record"),
        ("a.jsonl", '{"a": 1}\n{"a": NaN}\n', "line 2"),
        ("a.parquet", "x", "is no Parquet file"),
        ("a.csv", "a\n1\n", "ends in .json"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, text: str, part: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name) as caught:
        read(tmp_path, name)
    assert part in str(caught.value)


def test_a_parquet_column_that_no_client_sends(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([0], pa.timestamp("us"))}), tmp_path / "r.parquet")
    with pytest.raises(ConfigError, match="'t' is timestamp"):
        read(tmp_path, "r.parquet")


def test_a_redacted_log_holds_no_raw_record(tmp_path: Path) -> None:
    """Hashes in the place of numbers would break laws that the pipeline keeps."""
    redaction = Redaction(("x",), key=b"k" * 16)
    settings = LogSettings(tmp_path / "requests", redaction=redaction)
    front = open_front(RequestLogWriter(settings), settings, LogIncidents(), refuses=True)
    front.write(make_request())
    front.close()
    with pytest.raises(ConfigError, match="'requests': holds no raw record"):
        read(tmp_path, "requests")


def test_a_missing_file_and_an_empty_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path, "none.jsonl")
    (tmp_path / "requests").mkdir()
    with pytest.raises((ConfigError, LogError), match="requests"):
        read(tmp_path, "requests")
