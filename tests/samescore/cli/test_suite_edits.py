"""`suite build` over a suite that people edited, and `suite policy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fixtures.cli import Ran, mistake, samescore
from tests.fixtures.tiny import Tiny, make_records


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in records))
    return path


def build(tiny: Tiny, records: Path, out: Path, *options: object) -> Ran:
    ran = samescore("suite", "build", records, "--bundle", tiny.bundle, "--out", out, *options)
    assert ran.code in {0, 1}, ran.err
    return ran


def load(path: Path) -> dict[str, Any]:
    held: dict[str, Any] = orjson.loads(path.read_bytes())
    return held


def find(path: Path, column: str, kind: str) -> dict[str, Any]:
    (found,) = [
        e
        for e in load(path)["expectations"]
        if e["kwargs"].get("column") == column and e["type"] == f"expect_column_{kind}"
    ]
    return dict(found)


def edit(path: Path, **changes: Any) -> None:
    """Change the range of the age as a person would, in an editor."""
    held = load(path)
    for rule in held["expectations"]:
        of_age = rule["kwargs"].get("column") == "age"
        if of_age and rule["type"] == "expect_column_values_to_be_between":
            rule["kwargs"] |= changes
    path.write_bytes(orjson.dumps(held))


AGE = ("age", "values_to_be_between")


@pytest.fixture
def suite(tiny: Tiny, tmp_path: Path) -> Path:
    build(tiny, write(tmp_path / "old.jsonl", tiny.records), tmp_path / "suite.json")
    return tmp_path / "suite.json"


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Records of a later month: older people, one more city."""
    records = make_records(400, seed=9)
    for i, record in enumerate(records):
        record["age"] += 20
        if i % 7 == 0:
            record["city"] = "Trier"
    return write(tmp_path / "new.jsonl", records)


def test_an_edit_outlives_a_new_reference(tiny: Tiny, suite: Path, newer: Path) -> None:
    before = find(suite, *AGE)["kwargs"]
    edit(suite, min_value=0)
    ran = build(tiny, newer, suite)
    after = find(suite, *AGE)["kwargs"]
    assert after["min_value"] == 0
    assert after["max_value"] > before["max_value"]
    assert "Trier" in find(suite, "city", "values_to_be_in_set")["kwargs"]["value_set"]
    assert "kept: age:be_between" in ran.words
    assert "updated: city:be_in_set" in ran.words
    assert "1 conflicts" in ran.words
    assert f"was {before['min_value']}, a person made it 0" in ran.words
    shown = samescore("suite", "show", suite)
    assert "open conflict: age:be_between: kwargs.min_value" in shown.words
    again = build(tiny, newer, suite)
    assert "0 updated, 0 added, 0 dropped" in again.words


def test_a_dry_run_tells_and_writes_nothing(tiny: Tiny, suite: Path, newer: Path) -> None:
    edit(suite, min_value=0)
    before = suite.read_bytes()
    ran = build(tiny, newer, suite, "--dry-run", "--json")
    assert ran.code == 1
    (conflict,) = ran.json["conflicts"]
    assert (conflict["rule"], conflict["edited"]) == ("age:be_between", 0)
    assert suite.read_bytes() == before


def test_the_new_reference_can_be_preferred_or_start_afresh(
    tiny: Tiny, suite: Path, newer: Path
) -> None:
    edit(suite, min_value=0, max_value=1000)
    build(tiny, newer, suite, "--dry-run", "--prefer", "new")
    build(tiny, newer, suite, "--prefer", "new")
    assert find(suite, *AGE)["kwargs"]["min_value"] > 0
    edit(suite, min_value=0)
    ran = build(tiny, newer, suite, "--fresh")
    assert "merged" not in ran.words
    assert find(suite, *AGE)["kwargs"]["min_value"] > 0


def test_a_name_that_is_given_is_taken_and_else_kept(tiny: Tiny, suite: Path, newer: Path) -> None:
    build(tiny, newer, suite, "--name", "shop")
    assert load(suite)["name"] == "shop"
    build(tiny, newer, suite)
    assert load(suite)["name"] == "shop"
    said = mistake("suite", "build", newer, "--bundle", tiny.bundle, "--out", suite / "x")
    assert "name a file that can be written" in said


def test_a_policy_is_set_shown_and_kept(tiny: Tiny, suite: Path, newer: Path) -> None:
    ran = samescore("suite", "policy", suite, "city:be_in_set=flag", "age:be_between=count")
    assert "city:be_in_set: flag" in ran.out
    assert "policy count" in samescore("suite", "show", suite).words
    build(tiny, newer, suite)
    assert find(suite, *AGE)["meta"]["samescore"]["policy"] == "count"
    samescore("suite", "policy", suite, "age:be_between=server")
    assert "policy" not in find(suite, *AGE)["meta"]["samescore"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("city:be_in_sett=flag", "did you mean 'city:be_in_set'?"),
        ("age:mean_to_be_between=flag", "guards no row with such a rule"),
        ("city:be_in_set=drop", "reject, flag, count, server"),
        ("city", "write it as RULE=POLICY"),
    ],
)
def test_mistakes_of_policy(suite: Path, given: str, said: str) -> None:
    before = suite.read_bytes()
    assert said in mistake("suite", "policy", suite, given)
    assert suite.read_bytes() == before


def test_the_bundles_golden_records_teach_a_suite(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    ran = samescore("suite", "build", "--bundle", tiny.bundle, "--out", out)
    assert "expectations from 40 records" in ran.words
    assert load(out)["meta"]["samescore"]["levels"]["row"] == 11


def test_parquet_teaches_what_json_lines_teach(tiny: Tiny, tmp_path: Path, suite: Path) -> None:
    path = tmp_path / "r.parquet"
    names = ("amount", "age", "city", "score")
    columns = {n: [r.get(n) for r in tiny.records] for n in names}
    pq.write_table(pa.table(columns), path)
    build(tiny, path, tmp_path / "other.json")
    assert load(tmp_path / "other.json") == load(suite)


def test_named_sums_and_keys(tiny: Tiny, tmp_path: Path) -> None:
    records, out = write(tmp_path / "r.jsonl", tiny.records), tmp_path / "s.json"
    ran = build(tiny, records, out, "--unique", "amount+age")
    assert "table" not in ran.words
    assert load(out)["expectations"][-1]["type"] == "expect_compound_columns_to_be_unique"
    base = ("suite", "build", records, "--bundle", tiny.bundle, "--out", out)
    assert "different sums" in mistake(*base, "--sum", "amount+age")
    assert "write two or more fields" in mistake(*base, "--sum", "amount")
