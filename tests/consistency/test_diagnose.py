from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from consistency.compare import Comparison, compare
from consistency.diagnose import Cause, Finding, explain_batch, explain_feature

Floats = NDArray[np.float64]
OFFLINE = np.array([0.1, 1 / 3, -2.0000000001234567, 123456.7891234567, 1e-7])


def through_float32(values: Floats) -> Floats:
    return values.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (through_float32, Cause.STORAGE_PRECISION),
        (lambda v: np.round(v, 6), Cause.STORAGE_ROUNDING),
        (lambda v: np.round(v, 2), Cause.STORAGE_ROUNDING),
        (lambda v: np.array([float(f"{x:.4f}") for x in v]), Cause.STORAGE_ROUNDING),
        (lambda v: np.full(len(v), 0.0), Cause.UNPROVEN),
        (lambda v: v * (1 + 1e-9), Cause.UNPROVEN),
        (lambda v: np.float64(1000.0) * v, Cause.UNPROVEN),
        (lambda v: v[::-1].copy(), Cause.UNPROVEN),
    ],
)
def test_a_cause_is_proven_only_when_undoing_it_explains_every_row(
    change: Callable[[Floats], Floats], cause: Cause
) -> None:
    found = explain_feature(change(OFFLINE), OFFLINE)
    assert found.cause is cause
    assert found.proven is (cause is not Cause.UNPROVEN)


def test_the_evidence_names_the_intervention() -> None:
    assert "cast to float32" in explain_feature(through_float32(OFFLINE), OFFLINE).evidence
    assert "rounded to 4 decimals" in explain_feature(np.round(OFFLINE, 4), OFFLINE).evidence


def test_one_row_that_the_intervention_leaves_unexplained_unproves_it() -> None:
    online = through_float32(OFFLINE)
    online[-1] = np.nextafter(online[-1], 1)
    assert explain_feature(online, OFFLINE).cause is Cause.UNPROVEN


def test_a_missing_value_stays_missing_through_storage() -> None:
    offline = np.array([0.1, math.nan])
    assert explain_feature(through_float32(offline), offline).cause is Cause.STORAGE_PRECISION


@pytest.mark.parametrize("filled", [0.0, -65535.0, 0.1, math.inf])
def test_a_constant_where_the_value_is_missing_is_a_default(filled: float) -> None:
    found = explain_feature(np.full(3, filled), np.full(3, math.nan))
    assert found.cause is Cause.MISSING_DEFAULT
    assert f"online is {filled!r} wherever" in found.evidence


@pytest.mark.parametrize(
    ("online", "offline"),
    [
        ([0.0, 1.0], [math.nan, math.nan]),  # two constants
        ([0.0, 0.0], [math.nan, 5.0]),  # a value that is not missing is changed too
        ([math.nan], [0.0]),  # missing online only
    ],
)
def test_what_only_looks_like_a_default_is_unproven(
    online: list[float], offline: list[float]
) -> None:
    assert explain_feature(np.array(online), np.array(offline)).cause is Cause.UNPROVEN


def test_nothing_to_explain_proves_nothing() -> None:
    assert not explain_feature(np.array([]), np.array([])).proven


@pytest.mark.parametrize("size", [1e308, -1.7e308, math.inf, 1e39])
def test_values_beyond_the_range_of_an_intervention_are_no_error(size: float) -> None:
    online, offline = np.array([1.0]), np.array([size])
    assert explain_feature(online, offline).cause is Cause.UNPROVEN


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-1e30, 1e30)))
def test_whatever_passed_through_float32_is_found_if_it_changed(offline: Floats) -> None:
    online = through_float32(offline)
    differs = ~compare(online, offline).agreeing[:, 0]
    found = explain_feature(online[differs], offline[differs])
    assert found.cause is (Cause.STORAGE_PRECISION if differs.any() else Cause.UNPROVEN)


def test_a_finding_goes_to_json_with_its_label() -> None:
    assert Finding(Cause.STORAGE_PRECISION, "why").to_json() == {
        "cause": "storage_precision", "proven": True, "evidence": "why"
    }  # fmt: skip
    assert Finding(Cause.UNPROVEN, "").to_json()["proven"] is False


# -------------------------------------------------------------------------------------------- batch


def rows_differing(differing: int, rows: int = 10) -> Comparison:
    online = np.zeros(rows)
    return compare(online, np.where(np.arange(rows) < differing, 1e-6, 0.0)).summary


@pytest.mark.parametrize(
    ("as_logged", "otherwise", "cause"),
    [
        (rows_differing(0), rows_differing(4), Cause.BATCH_VARIANCE),
        (rows_differing(0), rows_differing(0), Cause.UNPROVEN),  # nothing differs
        (rows_differing(4), rows_differing(4), Cause.UNPROVEN),  # it does not vanish
        (rows_differing(1), rows_differing(4), Cause.UNPROVEN),  # not the whole of it
        (rows_differing(0, 5), rows_differing(4), Cause.UNPROVEN),  # other rows
        (Comparison(), rows_differing(4), Cause.UNPROVEN),  # nothing compared
        (Comparison(), Comparison(), Cause.UNPROVEN),
    ],
)
def test_the_batch_is_proven_when_the_mismatch_vanishes_at_the_logged_sizes(
    as_logged: Comparison, otherwise: Comparison, cause: Cause
) -> None:
    assert explain_batch(as_logged, otherwise, 64).cause is cause


def test_the_batchs_evidence_has_both_counts() -> None:
    found = explain_batch(rows_differing(0), rows_differing(4), 64)
    assert "0 of 10 rows differ; at batch 64 4 of 10 do" in found.evidence
