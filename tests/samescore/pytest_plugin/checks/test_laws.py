"""Broken laws, on own records and on generated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from consistency import Field, FieldType, FittedState, PipelineBuilder, RecordSchema
from consistency.laws import Law
from samescore.pytest_plugin.checks.laws import check_generated_law, check_hostile, check_law
from samescore.pytest_plugin.checks.subjects import Installed
from samescore.pytest_plugin.configuring.settings import LawSettings
from samescore.pytest_plugin.telling.findings import Verdict

SETTINGS = LawSettings((), 256, 50, None, bitwise=True, snapshots=None)
RECORDS = [{"amount": float(i), "city": "Kiel"} for i in range(5)]


def pipeline_of(amount_feature: Callable[[Any], Any]) -> Installed:
    fields = (Field("amount", FieldType.FLOAT64), Field("city", FieldType.STRING))
    flow = PipelineBuilder(RecordSchema(fields))
    flow.features("amount_made")(amount_feature)
    built = flow.build()
    return Installed(built, built.bind(FittedState({}), {}), "here", changed=False)


def centred(amount: Any) -> Any:
    return amount - amount.mean()


def doubled(amount: Any) -> Any:
    with np.errstate(over="ignore"):
        return amount * 2.0


def fragile(amount: Any) -> Any:
    if (amount < -1.0).any():
        raise ZeroDivisionError("never met in training")
    return amount * 1.0


def test_a_broken_law_names_the_feature_the_values_and_its_function() -> None:
    found = check_law(Law.ROWS_INDEPENDENT, pipeline_of(centred), RECORDS, SETTINGS)
    assert found.verdict is Verdict.FAILED
    evidence = found.evidence
    assert evidence is not None
    assert (evidence.stage, evidence.name) == ("features", "amount_made")
    assert evidence.made_by.startswith("centred() at ")
    assert found.source.partition(":")[0].endswith("test_laws.py")
    assert evidence.record == '{"amount":0.0,"city":"Kiel"}'
    assert evidence.ulps > 0
    assert "mean" in found.cause


def test_generated_records_find_it_too_and_are_made_small() -> None:
    found = check_generated_law(Law.ROWS_INDEPENDENT, pipeline_of(centred), RECORDS, SETTINGS)
    assert found.verdict is Verdict.FAILED
    assert found.evidence is not None
    assert found.evidence.record
    again = check_generated_law(Law.ROWS_INDEPENDENT, pipeline_of(centred), RECORDS, SETTINGS)
    assert again.to_json() == found.to_json(), "the command that reproduces it must do so"


def test_a_good_pipeline_keeps_the_law_on_generated_records() -> None:
    found = check_generated_law(Law.BATCH_INVARIANT, pipeline_of(doubled), RECORDS, SETTINGS)
    assert found.verdict is Verdict.PASSED
    assert isinstance(found.properties["examples"], int)
    assert found.properties["examples"] > 10


def test_hostile_records_must_be_refused_by_name() -> None:
    good = check_hostile(pipeline_of(doubled), RECORDS, SETTINGS)
    assert good.verdict is Verdict.PASSED
    bad = check_hostile(pipeline_of(fragile), RECORDS, SETTINGS)
    assert bad.verdict is Verdict.FAILED
    assert "ZeroDivisionError" in bad.text("x")


def test_a_law_that_cannot_be_checked_says_what_it_needs() -> None:
    found = check_law(Law.MISSING_VALUES_DISTINCT, pipeline_of(doubled), RECORDS, SETTINGS)
    assert found.verdict is Verdict.NOT_RUN
    assert 'distinct = ["FIELD"]' in found.summary


@pytest.mark.parametrize("law", [Law.PURE, Law.ROWS_INDEPENDENT])
def test_no_law_passes_on_no_records(law: Law) -> None:
    assert check_law(law, pipeline_of(doubled), [], SETTINGS).verdict is Verdict.NOT_RUN
