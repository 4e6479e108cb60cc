"""Expectation suites, wired: built from training records, and put on the request path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.protocols import Guard
from consistency.records import Record
from consistency.schema import RecordSchema
from monitors.metrics import SUITE_VIOLATIONS
from monitors.suites import SuiteGuard, SuitePolicy, read_suite
from monitors.suites.builder import BuildSettings, specify
from monitors.suites.gx import suite_json
from monitors.suites.profile import profile

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
        ConfigError: Great Expectations is not installed.
        DataError: a record does not fit the schema.
        MonitorError: there is no record.
    """
    settings = settings or BuildSettings()
    found = profile(schema, records, max_categories=settings.max_categories)
    return suite_json(specify(name, found, settings))


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
