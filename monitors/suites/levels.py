"""On what each expectation of Great Expectations passes judgement: on rows, or on a batch.

Stated for every expectation that GX 1.24 ships; a test holds the table against GX itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """On what an expectation passes judgement: a row by itself, or a batch of rows as a whole."""

    ROW = "row"
    BATCH = "batch"


ROW_KINDS: Final = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_in_type_list",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_be_of_type",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_like_pattern",
        "expect_column_values_to_match_like_pattern_list",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_like_pattern",
        "expect_column_values_to_not_match_like_pattern_list",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
"""Those whose verdict on a row depends on nothing but that row."""


def level_of(kind: str) -> Level:
    """Return what an expectation of this type judges; one that GX does not ship, a batch.

    >>> level_of("expect_column_values_to_be_unique"), level_of("expect_column_values_to_be_null")
    (<Level.BATCH: 'batch'>, <Level.ROW: 'row'>)
    """
    return Level.ROW if kind in ROW_KINDS else Level.BATCH
