from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import DataError
from consistency.protocols import Decoded
from consistency.schema import Field, FieldType, RecordSchema
from monitors.errors import MonitorError
from monitors.suites import SuiteGuard, SuitePolicy, compile_suite
from monitors.suites.building.builder import BuildSettings, specify
from monitors.suites.building.profile import profile, widened
from monitors.suites.whole.gx import suite_json
from tests.fixtures.scored import INFO

SCHEMA = RecordSchema(
    (
        Field("amount", FieldType.FLOAT64),
        Field("age", FieldType.INT64, nullable=True),
        Field("city", FieldType.STRING),
        Field("name", FieldType.STRING, required=False),
        Field("member", FieldType.BOOL),
        Field("at", FieldType.TIMESTAMP),
        Field("tags", FieldType.TOKENS, required=False),
    )
)
RECORDS: list[dict[str, Any]] = [
    {
        "amount": i if i % 2 else i + 0.5,
        "age": None if i % 10 == 0 else 20 + i,
        "city": ("Bonn", "Ulm")[i % 2],
        "name": f"n{i}",
        "member": i % 3 == 0,
        "at": f"2026-01-01T10:00:{i % 60:02d}+01:00",
        "tags": ["a"],
    }
    for i in range(100)
]


def built(settings: BuildSettings | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the arguments of each expectation by `column:rule`."""
    settings = settings or BuildSettings(**more)
    found = profile(
        SCHEMA, RECORDS, max_categories=settings.max_categories, hold=settings.needs_values
    )
    spec = specify("s", found, settings)
    return {
        f"{e.kwargs['column']}:{e.kind.removeprefix('expect_column_')}": e.kwargs
        for e in spec.expectations
    }


def test_types_nulls_sets_and_ranges_come_from_schema_and_data() -> None:
    held = built()
    there = {key.partition(":")[0] for key in held if key.endswith("not_be_null")}
    assert there == {"amount", "city", "member", "at"}
    assert held["amount:values_to_be_in_type_list"]["type_list"] == ["float", "int"]
    types = {k: v["type_"] for k, v in held.items() if "of_type" in k}
    assert set(types.values()) == {"int", "str", "bool", "list"}
    assert held["city:values_to_be_in_set"]["value_set"] == ["Bonn", "Ulm"]
    assert "name:values_to_be_in_set" not in held
    age = held["age:values_to_be_between"]
    assert (age["min_value"], age["max_value"]) == (11.0, 129.0)
    assert held["amount:values_to_be_between"]["min_value"] == 0


def test_the_settings_are_what_they_say() -> None:
    assert built(margin=0.0)["age:values_to_be_between"]["max_value"] == 119.0
    assert "city:values_to_be_in_set" not in built(max_categories=1)
    assert not any("proportion" in key for key in built(batch_level=False))
    shares = built()["age:proportion_of_non_null_values_to_be_between"]
    # wider than 0.1 on both sides: of a hundred records chance alone takes more
    assert (shares["min_value"], shares["max_value"]) == (0.730294, 1.0)


def test_few_records_make_no_set_of_ids() -> None:
    found = profile(SCHEMA, RECORDS[:2], max_categories=50)
    kinds = {
        (e.kwargs["column"], e.kind) for e in specify("s", found, BuildSettings()).expectations
    }
    assert ("name", "expect_column_values_to_be_in_set") not in kinds
    assert ("city", "expect_column_values_to_be_in_set") not in kinds


def test_gx_reads_what_was_written_and_writes_the_same() -> None:
    spec = specify("s", profile(SCHEMA, RECORDS, max_categories=50, hold=True), BuildSettings())
    text = json.dumps(suite_json(spec))
    assert json.dumps(suite_json(spec)) == text, "the same records give the same file"
    held = json.loads(text)
    import great_expectations as gx  # only now: importing it the first time warns

    context = gx.get_context(mode="ephemeral")
    suite = context.suites.add(gx.ExpectationSuite(**held))
    assert [e.expectation_type for e in suite.expectations] == [e.kind for e in spec.expectations]
    levels = {e.meta["samescore"]["level"] for e in suite.expectations if e.meta}
    assert levels == {"row", "batch"}
    found = [e.level.value for e in spec.expectations]
    assert held["meta"]["samescore"] == {
        "records": 100,
        "range_margin": 0.1,
        "max_categories": 50,
        "levels": {"row": found.count("row"), "batch": found.count("batch")},
    }
    assert held["meta"]["great_expectations_version"] == gx.__version__


def test_the_training_records_meet_their_own_suite() -> None:
    for margin in (0.0, 0.1):
        found = profile(SCHEMA, RECORDS, max_categories=50)
        compiled = compile_suite(suite_json(specify("s", found, BuildSettings(margin=margin))))
        assert not compiled.left_out
        SuiteGuard("m", compiled, SuitePolicy.REJECT).check(Decoded(records=RECORDS), INFO)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(NUMBERS, min_size=1), st.sampled_from([0.0, 0.1, 10.0]))
def test_a_range_always_holds_what_it_was_learnt_from(values: list[float], margin: float) -> None:
    whole = all(isinstance(v, int) for v in values)
    low, high = widened((min(values), max(values)), margin, whole=whole)
    assert low <= min(values) <= max(values) <= high
    assert max(abs(low), abs(high)) <= sys.float_info.max


def test_a_record_that_does_not_fit_is_named() -> None:
    wrong = [*RECORDS, {**RECORDS[0], "amount": "1"}]
    with pytest.raises(DataError, match="row 100 field 'amount'"):
        profile(SCHEMA, wrong, max_categories=50)


def test_no_record_is_a_clear_error() -> None:
    with pytest.raises(MonitorError, match="no training record"):
        profile(SCHEMA, [], max_categories=50)
