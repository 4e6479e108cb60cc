"""Strategies of raw records: valid ones are valid, hostile ones are of every kind they promise."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from consistency.errors import DataError
from consistency.laws import HostileTally, check_hostile_records
from consistency.pipeline import BoundPipeline
from consistency.records import read_records
from consistency.schema import Field, FieldType, RecordSchema
from samescore import hostile_records, valid_records
from tests.consistency.test_laws import RECORDS, STATE, keeps_all

SCHEMA = RecordSchema(
    (
        Field("x", FieldType.FLOAT64),
        Field("count", FieldType.INT64, required=False),
        Field("flag", FieldType.BOOL, nullable=True),
        Field("name", FieldType.STRING, required=False, nullable=True),
        Field("at", FieldType.TIMESTAMP),
        Field("words", FieldType.TOKENS),
    )
)
EXAMPLES: list[dict[str, Any]] = [
    {"x": 0.125, "flag": True, "name": "Köln", "at": "2026-01-01T00:00:00Z", "words": ["a"]}
]


@given(valid_records(SCHEMA))
def test_valid_records_keep_their_schema(record: dict[str, Any]) -> None:
    read_records(SCHEMA, [record])


@given(st.lists(valid_records(SCHEMA, EXAMPLES), min_size=30, max_size=30))
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_real_values_are_drawn_among_made_up_ones(records: list[dict[str, Any]]) -> None:
    for record in records:
        read_records(SCHEMA, [record])


def test_a_real_category_is_found_at_once() -> None:
    found = find(valid_records(SCHEMA, EXAMPLES), lambda r: r.get("name") == "Köln")
    assert found["name"] == "Köln"


def kind(record: Any) -> str:
    """Say how the schema takes a record."""
    if not isinstance(record, dict):
        return "no object"
    try:
        read_records(SCHEMA, [record])
    except DataError as e:
        words = (
            "infinite", "missing", "null", "not in the schema", "outside int64", "cannot hold",
            "beyond", "offset",
        )  # fmt: skip
        return next((w for w in words if w in e.problem), "wrong type or text")
    return "accepted"


@pytest.fixture(scope="module")
def drawn() -> list[Any]:
    records: list[Any] = []

    @given(st.lists(hostile_records(SCHEMA, EXAMPLES), min_size=1, max_size=10))
    # Many: what is drawn depends on the constants of the modules that happen to be imported by now.
    @settings(max_examples=2_000, database=None, suppress_health_check=list(HealthCheck))
    def draw(some: list[Any]) -> None:
        records.extend(some)

    draw()
    return records


def test_every_way_to_be_refused_is_drawn_and_many_are_accepted(drawn: list[Any]) -> None:
    kinds = Counter(map(kind, drawn))
    assert kinds.keys() == {
        "accepted", "no object", "missing", "null", "not in the schema", "outside int64",
        "cannot hold", "infinite", "beyond", "offset", "wrong type or text",
    }  # fmt: skip
    assert kinds["accepted"] > len(drawn) / 10


@pytest.mark.parametrize(
    "wanted",
    [
        lambda v: isinstance(v, float) and math.isnan(v),
        lambda v: v == math.inf,
        lambda v: v == 0 and isinstance(v, float) and math.copysign(1, v) < 0,
        lambda v: isinstance(v, float) and 0 < abs(v) < 2.3e-308,
        lambda v: type(v) is int and abs(v) > 2**64,
        lambda v: v == "\ud800",
        lambda v: v == "e\u0301",
        lambda v: isinstance(v, str) and "\u200b" in v,
        lambda v: isinstance(v, str) and v.replace(".", "", 1).isdigit(),
        lambda v: v == "true",
        lambda v: v == "",
        lambda v: isinstance(v, dict),
        lambda v: isinstance(v, bytes),
    ],
)
def test_every_trap_is_drawn_for_some_field(drawn: list[Any], wanted: Any) -> None:
    values = [v for record in drawn if isinstance(record, dict) for v in record.values()]
    assert any(map(wanted, values))


def test_the_houses_pipeline_keeps_the_law_of_hostile_records() -> None:
    pipeline: BoundPipeline = keeps_all()
    total = HostileTally()

    @given(st.lists(hostile_records(pipeline.inputs, RECORDS), min_size=1, max_size=4))
    @settings(max_examples=400, suppress_health_check=list(HealthCheck))
    def check(records: list[Any]) -> None:
        nonlocal total
        total += check_hostile_records(pipeline, records, good=RECORDS)

    check()
    assert min(total.accepted, total.refused, total.not_json) > 5
    assert STATE


def test_a_schema_without_fields_has_hostile_records_too() -> None:
    assert find(hostile_records(RecordSchema(())), lambda r: not isinstance(r, dict)) is None


def test_the_facade_of_the_checks_needs_neither_pytest_nor_hypothesis_nor_pandas() -> None:
    program = """
import sys
for name in ("hypothesis", "pytest", "pandas", "tensorflow"):
    sys.modules[name] = None
import consistency.laws, consistency.storage, samescore.record_strategies
from samescore import all_forms, assert_same_scores, hostile_records
assert_same_scores([0.5], [0.5])
print(len(all_forms()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
