"""Laws of the input: bad records are refused by name, and missing values stay what they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Any, Final

from consistency.errors import ConfigError, DataError
from consistency.laws.rows import signature
from consistency.laws.verdict import Law, LawNotRunError, LawViolation, all_rows
from consistency.pipeline import BoundPipeline
from consistency.records import Record
from consistency.schema import Field, FieldType

_WRONG: Final[dict[FieldType, tuple[Any, ...]]] = {  # Any: JSON values
    FieldType.FLOAT64: ("1.5", True, [1.5], {}, 2**53 + 1, 10**400, math.inf),
    FieldType.INT64: (1.5, 1.0, "1", True, [1], 2**63),
    FieldType.BOOL: ("true", 0, 1.0, []),
    FieldType.STRING: (1, 1.5, True, ["a"], {}),
    FieldType.TIMESTAMP: (0, 1.5, True, "yesterday", "2026-01-01T00:00:00"),
    FieldType.TOKENS: ("a b", 1, [1], ["a", None], {}),
}
_ZEROS: Final[dict[FieldType, Any]] = {
    FieldType.FLOAT64: 0.0,
    FieldType.INT64: 0,
    FieldType.BOOL: False,
    FieldType.STRING: "",
    FieldType.TIMESTAMP: "1970-01-01T00:00:00Z",
    FieldType.TOKENS: [],
}
_MOST_RECORDS: Final = 32
_BROKEN_ROW: Final = 1


def check_missing_field_refused(pipeline: BoundPipeline, records: Sequence[Record]) -> None:
    """Check that a record without a required field is a `DataError` naming its row and the field.

    Raises:
        LawViolation: naming the field.
        LawNotRunError: no field is required.
    """
    law = Law.MISSING_FIELD_REFUSED
    all_rows(law, pipeline, records)
    required = [f.name for f in pipeline.inputs.fields if f.required]
    if not required:
        raise LawNotRunError("the schema has no required field")
    for name in required:
        broken = {key: value for key, value in records[0].items() if key != name}
        _expect_refused(law, pipeline, records, broken, name, "left out")


def check_wrong_type_refused(pipeline: BoundPipeline, records: Sequence[Record]) -> None:
    """Check that a value of a wrong JSON type is a `DataError` naming its row and the field.

    Numbers as strings, booleans as numbers, infinities, integers that float64 or int64 cannot
    hold, times without an offset; null where the field is not nullable.

    Raises:
        LawViolation: naming the field.
    """
    law = Law.WRONG_TYPE_REFUSED
    all_rows(law, pipeline, records)
    for field in pipeline.inputs.fields:
        nulls = () if field.nullable else (None,)
        for value in (*_WRONG[field.type], *nulls):
            broken = {**records[0], field.name: value}
            _expect_refused(law, pipeline, records, broken, field.name, f"set to {value!r}")


def check_missing_values_distinct(
    pipeline: BoundPipeline, records: Sequence[Record], fields: Collection[str]
) -> None:
    """Check that null, absent, NaN and 0 of a field lead to different feature rows.

    A pipeline may well treat two of them alike (impute, say), so only fields that it declares
    distinct are checked. Each pair of those four that the schema lets through must differ, in a
    value or a status, for at least one of the records (one of the two refused is different, too).

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: valid raw records; the first 32 are tried.
        fields: the raw fields whose missing values are told apart.

    Raises:
        LawViolation: naming the field and the pair that cannot be told apart.
        LawNotRunError: no field is given, or a field can only be present.
        ConfigError: the schema has no such field.
    """
    law = Law.MISSING_VALUES_DISTINCT
    all_rows(law, pipeline, records)
    if not fields:
        raise LawNotRunError("no field is declared distinct; name those that are")
    known = {f.name: f for f in pipeline.inputs.fields}
    for name in fields:
        if name not in known:
            raise ConfigError(f"the pipeline reads no field {name!r}; it reads {sorted(known)}")
        _expect_distinct(pipeline, records[:_MOST_RECORDS], known[name])


def _expect_distinct(pipeline: BoundPipeline, records: Sequence[Record], field: Field) -> None:
    kinds = ["0"]
    kinds += ["null"] if field.nullable else []
    kinds += [] if field.required else ["absent"]
    kinds += ["NaN"] if field.type is FieldType.FLOAT64 else []
    if len(kinds) == 1:
        raise LawNotRunError(f"field {field.name!r} is required and not nullable: never missing")
    pairs = set(combinations(kinds, 2))
    for record in records:
        seen = {kind: _answer(pipeline, _variant(record, field, kind)) for kind in kinds}
        pairs = {(a, b) for a, b in pairs if seen[a] == seen[b]}
    if pairs:
        a, b = min(pairs)
        raise LawViolation(
            Law.MISSING_VALUES_DISTINCT,
            f"{a} and {b} give the same features in each of {len(records)} records",
            feature=field.name,
        )


def _variant(record: Record, field: Field, kind: str) -> dict[str, Any]:
    variant = {key: value for key, value in record.items() if key != field.name}
    if kind != "absent":
        variant[field.name] = {"0": _ZEROS[field.type], "null": None, "NaN": math.nan}[kind]
    return variant


def _answer(pipeline: BoundPipeline, record: Record) -> object:
    try:
        return signature(pipeline([record]))
    except DataError as e:
        return str(e)


def _expect_refused(
    law: Law,
    pipeline: BoundPipeline,
    records: Sequence[Record],
    broken: Record,
    field: str,
    what: str,
) -> None:
    """Send a bad record between two good ones."""
    try:
        pipeline([records[0], broken, records[-1]])
    except DataError as e:
        if (e.row, e.field) == (_BROKEN_ROW, field):
            return
        problem = f"{what}, the DataError names row {e.row} and field {e.field!r}: {e}"
    except Exception as e:  # noqa: BLE001 - whatever else a pipeline raises breaks the law
        problem = f"{what}, the pipeline raised {e!r} instead of a DataError"
    else:
        problem = f"{what}, the pipeline answered as if nothing were wrong"
    raise LawViolation(law, problem, row=_BROKEN_ROW, feature=field)
