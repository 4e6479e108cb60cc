"""Expectation suites, wired: built from training records, and put on the request path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from consistency.bundle import open_bundle
from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.protocols import Guard
from consistency.records import Record
from consistency.schema import RecordSchema
from monitors.metrics import SUITE_VIOLATIONS
from monitors.suites import SuiteGuard, SuitePolicy, compile_suite, read_suite
from monitors.suites.building.builder import BuildSettings, specify
from monitors.suites.building.held_columns import KeyProfile
from monitors.suites.building.profile import profile
from monitors.suites.merging import with_base
from monitors.suites.whole.gx import suite_json

if TYPE_CHECKING:  # it brings prometheus_client, which building a suite does not need
    from monitors.online.counters import EventCounters


@dataclass(frozen=True, slots=True)
class SuiteLocation:
    """Which suite guards which model.

    Attributes:
        model: its name; every version is guarded.
        path: the suite's JSON file.
    """

    model: str
    path: Path


def build_suite(
    schema: RecordSchema,
    records: Iterable[Record],
    name: str,
    settings: BuildSettings | None = None,
) -> dict[str, Json]:
    """Return the JSON of a Great Expectations suite that these training records meet.

    Args:
        schema: the pipeline's `inputs`.
        records: raw training records, read once.
        name: of the suite.
        settings: how strict it is.

    Raises:
        ConfigError: Great Expectations is not installed, or a named sum or key does not hold.
        DataError: a record does not fit the schema.
        MonitorError: there is no record.
    """
    settings = settings or BuildSettings()
    keys = tuple(KeyProfile(names) for names in settings.unique_together)
    found = profile(
        schema,
        records,
        max_categories=settings.max_categories,
        hold=settings.needs_values,
        keys=keys,
    )
    return with_base(suite_json(specify(name, found, settings, keys)))


def write_suite(path: Path, suite: Mapping[str, Json]) -> None:
    """Write a suite's JSON file, whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        half.write_bytes(orjson.dumps(suite, option=orjson.OPT_INDENT_2) + b"\n")
        half.replace(path)
    except OSError as e:
        with suppress(OSError):
            half.unlink()
        raise ConfigError(f"{path}: {e.strerror}; name a file that can be written") from e


def records_of_bundle(bundle: Path) -> Sequence[Record]:
    """Return the golden raw records of a bundle.

    Raises:
        BundleError: no such bundle.
        ConfigError: it takes feature rows.
    """
    records = open_bundle(bundle).golden().records
    if records is None:
        raise ConfigError(f"bundle {bundle}: takes feature rows; a suite is for raw records")
    return records


def with_policy(
    suite: Mapping[str, Json], rule: str, policy: SuitePolicy | None
) -> dict[str, Json]:
    """Return a suite in which a rule has a policy, or has none of its own any more.

    Args:
        suite: its JSON.
        rule: its name, as `suite show` gives it.
        policy: None leaves the choice to the server.

    Raises:
        ConfigError: no rule that guards rows has this name, or it tolerates rows (`mostly`).
    """
    rules = compile_suite(suite).rules
    positions = {r.position for r in rules if r.label == rule}
    if not positions:
        near = difflib.get_close_matches(rule, [r.label for r in rules], 1, 0.4)
        meant = f"did you mean {near[0]!r}?" if near else "samescore suite show lists them"
        raise ConfigError(f"rule {rule!r}: the suite guards no row with such a rule; {meant}")
    held = [
        _with_policy(e, policy) if i in positions else e
        for i, e in enumerate(suite["expectations"])
    ]
    changed = {**suite, "expectations": held}
    compile_suite(changed)
    return changed


def _with_policy(expectation: Mapping[str, Json], policy: SuitePolicy | None) -> dict[str, Json]:
    meta = expectation.get("meta") or {}
    facts = {k: v for k, v in (meta.get("samescore") or {}).items() if k != "policy"}
    if policy is not None:
        facts["policy"] = policy.value
    return {**expectation, "meta": {**meta, "samescore": facts}}


def suite_guards(locations: Sequence[SuiteLocation], policy: SuitePolicy) -> tuple[SuiteGuard, ...]:
    """Return one guard a model.

    Raises:
        ConfigError: a suite cannot be read or used, or a model has two.
    """
    guards: list[SuiteGuard] = []
    for location in locations:
        if any(g.model == location.model for g in guards):
            raise ConfigError(f"--suite: model {location.model!r} is given twice; name one suite")
        guards.append(SuiteGuard(location.model, read_suite(location.path), policy))
    return tuple(guards)


def counted(guards: Iterable[Guard], counters: EventCounters) -> tuple[Guard, ...]:
    """Return guards whose violations are counted in this process; each rule begins at 0.

    Raises:
        OSError: there is no room for the counters.
    """

    def violated(model: str, rule: str, action: str) -> None:
        counters.add(SUITE_VIOLATIONS, (model, rule, action))

    bound: list[Guard] = []
    for guard in guards:
        if isinstance(guard, SuiteGuard):
            counters.declare(SUITE_VIOLATIONS, guard.labels)
            guard = guard.counted_by(violated)  # noqa: PLW2901 - the same guard, counting
        bound.append(guard)
    return tuple(bound)
