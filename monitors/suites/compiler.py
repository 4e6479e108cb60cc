"""Turns the JSON of a Great Expectations suite into rules for single rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.suites.arguments import TESTS, Kwargs, LeaveOutError, number
from monitors.suites.rules import Rule


class Level(StrEnum):
    """On what an expectation passes judgement: a row by itself, or a batch of rows as a whole."""

    ROW = "row"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An expectation that is not run on the request path; `samescore suite check` runs it.

    Attributes:
        position: in the suite, from 0.
        kind: the expectation's type.
        column: or "" for one about a table.
        level: what it judges.
        reason: why it is left out.
    """

    position: int
    kind: str
    column: str
    level: Level
    reason: str


@dataclass(frozen=True, slots=True)
class CompiledSuite:
    """A suite as the request path runs it; every expectation is in one of the two lists.

    Attributes:
        name: of the suite.
        rules: run on each row.
        left_out: not run on rows, and why.
    """

    name: str
    rules: tuple[Rule, ...]
    left_out: tuple[LeftOut, ...]


def read_suite(path: Path) -> CompiledSuite:
    """Read and compile a suite's JSON file.

    Raises:
        ConfigError: unreadable, or no suite of Great Expectations 1.x.
    """
    return compile_suite(load_json(path), where=str(path))


def load_json(path: Path) -> dict[str, Json]:
    """Return a suite file's JSON object, checked for its outline only.

    Raises:
        ConfigError: unreadable, or no suite of Great Expectations 1.x.
    """
    try:
        suite = orjson.loads(path.read_bytes())
    except OSError as e:
        raise ConfigError(f"suite {path}: {e.strerror}; name a suite's JSON file") from e
    except orjson.JSONDecodeError as e:
        raise ConfigError(f"suite {path}: no JSON ({e.msg}, line {e.lineno})") from e
    _check_outline(suite, str(path))
    held: dict[str, Json] = suite
    return held


def compile_suite(suite: Mapping[str, Json], where: str = "suite") -> CompiledSuite:
    """Compile what can be judged row by row.

    Args:
        suite: the JSON object that `ExpectationSuite.to_json_dict` returns.
        where: what to call it in an error.

    Raises:
        ConfigError: no suite of Great Expectations 1.x.
    """
    _check_outline(suite, where)
    rules: list[Rule] = []
    left_out: list[LeftOut] = []
    for position, held in enumerate(suite["expectations"]):
        kind, kwargs = held["type"], held.get("kwargs", {})
        try:
            rules.append(_rule(position, kind, kwargs, held.get("severity") or "critical"))
        except LeaveOutError as e:
            level = Level.ROW if kind in TESTS or kind in _ROW_ONLY_IN_GX else Level.BATCH
            left_out.append(LeftOut(position, kind, str(kwargs.get("column", "")), level, str(e)))
    return CompiledSuite(suite["name"], tuple(rules), tuple(left_out))


def _check_outline(suite: Json, where: str) -> None:
    if type(suite) is not dict or type(suite.get("expectations")) is not list:
        raise ConfigError(f"suite {where}: no expectations; write it with GX 1.x or suite build")
    if type(suite.get("name")) is not str or not suite["name"]:
        old = " (suites of GX 0.x must be migrated)" if "expectation_suite_name" in suite else ""
        raise ConfigError(f"suite {where}: field 'name' is no text{old}; give the suite a name")
    for position, held in enumerate(suite["expectations"]):
        shaped = type(held) is dict and type(held.get("kwargs", {})) is dict
        if not shaped or type(held.get("type")) is not str:
            raise ConfigError(
                f"suite {where}: expectation {position} is {held!r:.80}; give it a type and kwargs"
            )


def _rule(position: int, kind: str, kwargs: Kwargs, severity: str) -> Rule:
    if kind in _ROW_ONLY_IN_GX:
        raise LeaveOutError("judged row by row, but only by Great Expectations itself")
    if kind not in TESTS:
        raise LeaveOutError("judged over a batch of rows")
    names, make = TESTS[kind]
    if kwargs.get("row_condition") is not None:
        raise LeaveOutError("has a row_condition, which only Great Expectations itself can read")
    for name in kwargs.keys() - names - _NEUTRAL:
        raise LeaveOutError(f"has the argument {name!r}, which is not known here")
    if type(kwargs.get("column")) is not str:
        raise LeaveOutError(f"column is {kwargs.get('column')!r}, no text")
    mostly = number(kwargs, "mostly", 1.0)
    if mostly is None or not 0 <= mostly <= 1:
        raise LeaveOutError(f"mostly is {mostly}, not within 0 and 1")
    return Rule(position, kwargs["column"], kind, make(kwargs), mostly, severity)


_NEUTRAL: Final = frozenset(
    {"column", "mostly", "row_condition", "condition_parser", "result_format", "catch_exceptions"}
)

_ROW_ONLY_IN_GX: Final = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_like_pattern",
        "expect_column_values_to_match_like_pattern_list",
        "expect_column_values_to_not_match_like_pattern",
        "expect_column_values_to_not_match_like_pattern_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
