from __future__ import annotations

import inspect

import pytest

from monitors.suites.compiled.arguments import TESTS
from monitors.suites.compiled.cross_arguments import CROSS
from monitors.suites.levels import ROW_KINDS, Level, level_of
from monitors.suites.whole.gx import import_gx

ACROSS_ROWS = {
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_not_be_outliers",
    "expect_compound_columns_to_be_unique",
}
"""What GX runs row by row, with a verdict that depends on the other rows."""


@pytest.mark.slow
def test_every_expectation_of_gx_is_classed() -> None:
    gx = import_gx()
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.registry import _registered_expectations

    by_row = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    core = {
        kind
        for kind, made in _registered_expectations.items()
        if made.__module__.startswith("great_expectations.expectations.core")
        and not inspect.isabstract(made)
    }
    assert len(core) > 50, gx.__version__
    rows = {k for k in core if issubclass(_registered_expectations[k], by_row)}
    assert rows - ACROSS_ROWS == ROW_KINDS
    assert rows >= ACROSS_ROWS


def test_all_that_is_compiled_is_about_rows() -> None:
    assert {level_of(kind) for kind in (*TESTS, *CROSS)} == {Level.ROW}
    assert level_of("expect_column_quantile_values_to_be_between") is Level.BATCH
    assert level_of("expect_something_of_ones_own") is Level.BATCH
