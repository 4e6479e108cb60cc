"""Turns the JSON of a Great Expectations suite into rules for single rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.suites.compiled.arguments import TESTS, Kwargs, LeaveOutError, number
from monitors.suites.compiled.conditions import ConditionError, RowCondition, compile_condition
from monitors.suites.compiled.cross_arguments import CROSS, cross_columns, ignored
from monitors.suites.compiled.rules import AnyRule, CrossRule, Rule
from monitors.suites.levels import Level, level_of
from monitors.suites.naming import columns_of
from monitors.suites.policy import SuitePolicy

__all__ = ["CompiledSuite", "LeftOut", "Level", "compile_suite", "load_json", "read_suite"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An expectation that is not run on the request path; `samescore suite check` runs it.

    Attributes:
        position: in the suite, from 0.
        kind: the expectation's type.
        column: or several, with commas between; "" for one about a table.
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
    rules: tuple[AnyRule, ...]
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
    rules: list[AnyRule] = []
    left_out: list[LeftOut] = []
    for position, held in enumerate(suite["expectations"]):
        policy = _policy(held, position, where)
        kind, kwargs = held["type"], held.get("kwargs", {})
        try:
            facts = _Facts(position, kind, held.get("severity") or "critical", policy)
            rules.append(_rule(facts, kwargs))
        except (LeaveOutError, ConditionError) as e:
            column = ",".join(columns_of(kwargs))
            left_out.append(LeftOut(position, kind, column, level_of(kind), str(e)))
    return CompiledSuite(suite["name"], tuple(rules), tuple(left_out))


def _policy(held: Mapping[str, Json], position: int, where: str) -> SuitePolicy | None:
    meta = held.get("meta")
    mine = meta.get("samescore") if isinstance(meta, dict) else None
    given = mine.get("policy") if isinstance(mine, dict) else None
    if given is None:
        return None
    if given not in list(SuitePolicy):
        raise ConfigError(
            f"suite {where}: expectation {position}: meta.samescore.policy is {given!r:.60}; "
            f"make it one of {', '.join(SuitePolicy)}"
        )
    if given == SuitePolicy.REJECT and held.get("kwargs", {}).get("mostly", 1) != 1:
        raise ConfigError(
            f"suite {where}: expectation {position}: meta.samescore.policy is reject, but mostly "
            f"tolerates some rows; choose flag or count, or leave mostly out"
        )
    return SuitePolicy(given)


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


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of an expectation beside its arguments."""

    position: int
    kind: str
    severity: str
    policy: SuitePolicy | None


def _rule(facts: _Facts, kwargs: Kwargs) -> AnyRule:
    if facts.kind in CROSS:
        return _cross_rule(facts, kwargs)
    if facts.kind not in TESTS:
        raise LeaveOutError(
            "judged row by row, but only by Great Expectations itself"
            if level_of(facts.kind) is Level.ROW
            else "judged over a batch of rows"
        )
    names, make = TESTS[facts.kind]
    _check_names(kwargs, names | {"column"})
    if type(kwargs.get("column")) is not str:
        raise LeaveOutError(f"column is {kwargs.get('column')!r}, no text")
    return Rule(
        facts.position, kwargs["column"], facts.kind, make(kwargs), _mostly(kwargs),
        facts.severity, facts.policy, _condition(kwargs),
    )  # fmt: skip


def _cross_rule(facts: _Facts, kwargs: Kwargs) -> CrossRule:
    kind = CROSS[facts.kind]
    _check_names(kwargs, kind.names)
    condition = _condition(kwargs)
    if condition is not None and not kind.conditional:
        raise LeaveOutError("has a row_condition, which Great Expectations does not heed here")
    return CrossRule(
        facts.position, cross_columns(kwargs), facts.kind, kind.make(kwargs),
        ignored(kwargs, kind.ignore), _mostly(kwargs), facts.severity, facts.policy, condition,
    )  # fmt: skip


def _check_names(kwargs: Kwargs, names: frozenset[str]) -> None:
    for name in kwargs.keys() - names - _NEUTRAL:
        raise LeaveOutError(f"has the argument {name!r}, which is not known here")


def _mostly(kwargs: Kwargs) -> float:
    mostly = number(kwargs, "mostly", 1.0)
    if mostly is None or not 0 <= mostly <= 1:
        raise LeaveOutError(f"mostly is {mostly}, not within 0 and 1")
    return mostly


def _condition(kwargs: Kwargs) -> RowCondition | None:
    held = kwargs.get("row_condition")
    return None if held is None else compile_condition(held)


_NEUTRAL: Final = frozenset(
    {"mostly", "row_condition", "condition_parser", "result_format", "catch_exceptions"}
)
