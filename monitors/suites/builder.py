"""From a profile of the training records to the expectations of a suite, as plain facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from consistency.jsontype import Json
from consistency.schema import FieldType
from monitors.suites.compiler import Level
from monitors.suites.profile import FieldProfile, widened

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


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How strict a suite is.

    Attributes:
        margin: added on both sides of a numeric range, as a share of its width.
        max_categories: a text field with at most so many distinct values, each seen twice on
            average, gets a set.
        batch_level: also expect shares of nulls, which only `suite check` can judge.
        null_share_margin: by which the share of nulls in a batch may differ from training.
    """

    margin: float = 0.1
    max_categories: int = 50
    batch_level: bool = False
    null_share_margin: float = 0.1


@dataclass(frozen=True, slots=True)
class ExpectationSpec:
    """One expectation, before Great Expectations makes it.

    Attributes:
        kind: its type, `expect_column_values_to_be_between`.
        kwargs: its arguments.
        level: what it judges, written into its meta.
    """

    kind: str
    kwargs: dict[str, Json]
    level: Level = Level.ROW

    @property
    def meta(self) -> dict[str, Json]:
        """What the suite's file says beside the expectation."""
        return {"samescore": {"level": self.level.value}}


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A suite, before Great Expectations makes it.

    Attributes:
        name: of the suite.
        expectations: in the order of the schema's fields.
        meta: where it comes from: records read, settings.
    """

    name: str
    expectations: tuple[ExpectationSpec, ...]
    meta: dict[str, Json] = field(default_factory=dict)


def specify(name: str, fields: Sequence[FieldProfile], settings: BuildSettings) -> SuiteSpec:
    """Return the suite that every profiled record meets."""
    expectations = tuple(e for f in fields for e in _of_field(f, settings))
    facts: dict[str, Json] = {
        "records": fields[0].rows if fields else 0,
        "range_margin": settings.margin,
        "max_categories": settings.max_categories,
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
    if settings.batch_level and not (spec.required and not spec.nullable):
        yield _null_share(found, settings)


def _type(found: FieldProfile) -> ExpectationSpec:
    names = _TYPE_NAMES[found.spec.type]
    column: dict[str, Json] = {"column": found.spec.name}
    if len(names) == 1:
        kwargs = {**column, "type_": names[0]}
        return ExpectationSpec("expect_column_values_to_be_of_type", kwargs)
    kwargs = {**column, "type_list": list(names)}
    return ExpectationSpec("expect_column_values_to_be_in_type_list", kwargs)


def _null_share(found: FieldProfile, settings: BuildSettings) -> ExpectationSpec:
    share, margin = found.present / found.rows, settings.null_share_margin
    kwargs = {
        "column": found.spec.name,
        "min_value": round(max(0.0, share - margin), 6),
        "max_value": round(min(1.0, share + margin), 6),
    }
    kind = "expect_column_proportion_of_non_null_values_to_be_between"
    return ExpectationSpec(kind, kwargs, Level.BATCH)
