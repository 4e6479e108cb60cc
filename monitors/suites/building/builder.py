"""From a profile of the training records to the expectations of a suite, as plain facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from consistency.jsontype import Json
from consistency.schema import FieldType
from monitors.suites.building.batch_rules import batch_rules
from monitors.suites.building.cross_rules import cross_rules
from monitors.suites.building.held_columns import KeyProfile
from monitors.suites.building.profile import FieldProfile, widened
from monitors.suites.levels import Level
from monitors.suites.specs import BuildSettings, ExpectationSpec, SuiteSpec

__all__ = ["BuildSettings", "ExpectationSpec", "SuiteSpec", "specify"]

TIMESTAMP_PATTERN: Final = r"^[0-9]{4}.*(?:Z|[+-][0-9][0-9:.]+)$"
"""A year in front and an offset at the end; what lies between, the feature pipeline reads."""

_TYPE_NAMES: Final = {
    FieldType.FLOAT64: ("float", "int"),
    FieldType.INT64: ("int",),
    FieldType.BOOL: ("bool",),
    FieldType.STRING: ("str",),
    FieldType.TIMESTAMP: ("str",),
    FieldType.TOKENS: ("list",),
}


def specify(
    name: str,
    fields: Sequence[FieldProfile],
    settings: BuildSettings,
    keys: Sequence[KeyProfile] = (),
) -> SuiteSpec:
    """Return the suite that every profiled record, and the profiled batch, meets.

    Raises:
        ConfigError: a relation that the operator named does not hold.
    """
    expectations = (
        *(e for f in fields for e in _of_field(f, settings)),
        *cross_rules(fields, settings, keys),
    )
    facts: dict[str, Json] = {
        "records": fields[0].rows if fields else 0,
        "range_margin": settings.margin,
        "max_categories": settings.max_categories,
        "levels": {level.value: sum(e.level is level for e in expectations) for level in Level},
    }
    return SuiteSpec(name, expectations, {"samescore": facts})


def _of_field(found: FieldProfile, settings: BuildSettings) -> Iterator[ExpectationSpec]:
    spec = found.spec
    column: dict[str, Json] = {"column": spec.name}
    if spec.required and not spec.nullable:
        yield ExpectationSpec("expect_column_values_to_not_be_null", column)
    yield _type(found)
    if spec.type is FieldType.TIMESTAMP:
        kwargs = {**column, "regex": TIMESTAMP_PATTERN}
        yield ExpectationSpec("expect_column_values_to_match_regex", kwargs)
    if found.span is not None:
        whole = spec.type is FieldType.INT64
        low, high = widened(found.span, settings.margin, whole=whole)
        kwargs = {**column, "min_value": low, "max_value": high}
        yield ExpectationSpec("expect_column_values_to_be_between", kwargs)
    # A value that is seen once says nothing of a set; ids and names stay free.
    if found.texts and 2 * len(found.texts) <= found.present:
        kwargs = {**column, "value_set": sorted(found.texts)}
        yield ExpectationSpec("expect_column_values_to_be_in_set", kwargs)
    if settings.batch_level and found.held is not None:
        yield from batch_rules(found, settings)


def _type(found: FieldProfile) -> ExpectationSpec:
    names = _TYPE_NAMES[found.spec.type]
    column: dict[str, Json] = {"column": found.spec.name}
    if len(names) == 1:
        kwargs = {**column, "type_": names[0]}
        return ExpectationSpec("expect_column_values_to_be_of_type", kwargs)
    kwargs = {**column, "type_list": list(names)}
    return ExpectationSpec("expect_column_values_to_be_in_type_list", kwargs)
