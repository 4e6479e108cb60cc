from __future__ import annotations

import math
import random
from typing import Any

import pytest

from consistency.schema import Field, FieldType, RecordSchema
from monitors.suites.building.builder import BuildSettings, SuiteSpec, specify
from monitors.suites.building.profile import profile
from monitors.suites.whole.checking import columns_read, frame_of
from monitors.suites.whole.gx import run_checkpoint, suite_json

SCHEMA = RecordSchema(
    (
        Field("amount", FieldType.FLOAT64),
        Field("spikes", FieldType.FLOAT64, nullable=True),
        Field("step", FieldType.INT64),
        Field("constant", FieldType.FLOAT64),
        Field("id", FieldType.STRING),
        Field("city", FieldType.STRING, required=False),
    )
)


def make(rows: int, seed: int, shift: float = 0.0, stretch: float = 1.0) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        {
            "amount": dice.gauss(shift, stretch),
            "spikes": None if dice.random() < 0.4 else math.exp(dice.gauss(0, 2)),
            "step": dice.randrange(5),
            "constant": 0.1,
            "id": f"{seed}-{i}",
            **({"city": "Bonn"} if dice.random() < 0.5 else {}),
        }
        for i in range(rows)
    ]


def built(records: list[dict[str, Any]], **settings: Any) -> SuiteSpec:
    chosen = BuildSettings(**settings)
    return specify("s", profile(SCHEMA, records, max_categories=50, hold=True), chosen)


def rules(made: SuiteSpec) -> dict[str, Any]:
    return {
        f"{e.kwargs['column']}:{short(e.kind)}": e for e in made.expectations if e.level == "batch"
    }


def short(kind: str) -> str:
    return kind.removeprefix("expect_column_").removesuffix("_to_be_between")


def failed(made: SuiteSpec, records: list[dict[str, Any]]) -> set[tuple[str, str]]:
    suite = suite_json(made)
    outcomes = run_checkpoint(suite, frame_of(records, columns_read(suite)))
    assert not any(o.problem for o in outcomes)
    kinds = {
        (o.kwargs["column"], o.kind)
        for o in outcomes
        if not o.success and made.expectations[o.position].level == "batch"
    }
    return {(c, short(k)) for c, k in kinds}


def test_which_fields_get_which_rules() -> None:
    found = rules(built(make(20_000, 1)))
    assert set(found) == {
        "amount:quantile_values", "amount:mean", "amount:stdev",
        "amount:proportion_of_unique_values",
        "spikes:proportion_of_non_null_values", "spikes:quantile_values", "spikes:mean",
        "spikes:stdev", "spikes:proportion_of_unique_values", "step:quantile_values", "step:mean",
        "step:stdev", "constant:quantile_values", "constant:mean",
        "id:proportion_of_unique_values", "city:proportion_of_non_null_values",
    }  # fmt: skip
    assert found["amount:mean"].rows > 1_000
    assert found["spikes:mean"].rows > found["amount:mean"].rows, "of its values 60% are there"
    assert found["id:proportion_of_unique_values"].kwargs["min_value"] == 0.95


def test_few_values_say_nothing_of_a_distribution() -> None:
    assert set(rules(built(make(99, 1)))) == {
        "spikes:proportion_of_non_null_values",
        "city:proportion_of_non_null_values",
    }


def test_numbers_at_the_end_of_float64_have_no_moments() -> None:
    records = make(200, 1)
    for i, record in enumerate(records):
        record["amount"] = 1.7e308 if i % 2 else -1.7e308
    found = rules(built(records))
    assert "amount:quantile_values" in found
    assert "amount:mean" not in found


@pytest.mark.slow
def test_the_reference_and_batches_like_it_meet_the_rules() -> None:
    """20 batches of the smallest size that counts, of 16 rules each: none fails."""
    reference = make(20_000, 1)
    made = built(reference)
    assert failed(made, reference) == set()
    needed = max(e.rows or 0 for e in made.expectations)
    assert {f for seed in range(2, 22) for f in failed(made, make(needed, seed))} == set()


@pytest.mark.slow
def test_a_shift_and_a_stretch_are_found() -> None:
    made = built(make(20_000, 1))
    shifted = failed(made, make(4_000, 2, shift=0.4))
    assert {("amount", "quantile_values"), ("amount", "mean")} <= shifted
    assert ("amount", "stdev") in failed(made, make(4_000, 3, stretch=1.5))
    repeated = [{**r, "id": "same"} for r in make(4_000, 4)]
    assert failed(made, repeated) == {("id", "proportion_of_unique_values")}
