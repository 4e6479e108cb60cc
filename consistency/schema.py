"""Schemas of raw records and of feature rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import DTypeLike

from consistency.errors import ConfigError
from consistency.jsontype import Json


class FieldType(StrEnum):
    """The JSON type that a raw field must have, and the column it becomes.

    float64: a JSON number within float64's range. An integer within 64 bits is taken only while
        float64 holds it exactly (|x| <= 2**53); beyond, readers of JSON have made it a float.
    int64: a JSON integer in the int64 range; 1.0 is refused.
    bool: true or false; "False" and 0 are refused.
    string: a JSON string, unchanged (no trimming, no normalisation).
    timestamp: an ISO 8601 string *with* an offset; becomes int64 microseconds since the epoch, UTC.
    tokens: a JSON list of strings.
    """

    FLOAT64 = "float64"
    INT64 = "int64"
    BOOL = "bool"
    STRING = "string"
    TIMESTAMP = "timestamp"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a raw record.

    Attributes:
        name: the JSON key.
        type: see `FieldType`.
        required: an absent key is a `DataError` when true.
        nullable: JSON null is a `DataError` when false.
        description: for people, unit included.
    """

    name: str
    type: FieldType
    required: bool = True
    nullable: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """The fields of a raw record, in order.

    Attributes:
        fields: the fields; names are unique.
        allow_extra: unknown keys are a `DataError` unless true (then they are ignored, and the
            payload in the log still holds them).
    """

    fields: tuple[Field, ...]
    allow_extra: bool = False
    names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [f.name for f in self.fields]
        _refuse_duplicates("record field", names)
        object.__setattr__(self, "names", frozenset(names))

    def to_json(self) -> dict[str, Json]:
        """Return the schema as JSON types, the inverse of `from_json`."""
        return {
            "fields": [
                {
                    "name": f.name,
                    "type": f.type.value,
                    "required": f.required,
                    "nullable": f.nullable,
                    "description": f.description,
                }
                for f in self.fields
            ],
            "allow_extra": self.allow_extra,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Build a schema from what `to_json` returned."""
        fields = tuple(Field(**{**f, "type": FieldType(f["type"])}) for f in value["fields"])
        return cls(fields=fields, allow_extra=value["allow_extra"])


class FeatureType(StrEnum):
    """The dtype of one feature column."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    INT64 = "int64"
    BOOL = "bool"
    STRING = "string"
    TOKENS = "tokens"

    @property
    def numpy(self) -> DTypeLike:
        """The numpy dtype of a column; strings and token lists live in object columns."""
        return object if self in (FeatureType.STRING, FeatureType.TOKENS) else np.dtype(self.value)


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """Names and dtypes of a feature row, in the order in which the model takes them.

    Attributes:
        names: unique feature names.
        types: one dtype a name.
        numeric_names: the float64 features, in order.
        all_float64: whether every feature is a float64 scalar, so that a batch is one matrix.
    """

    names: tuple[str, ...]
    types: tuple[FeatureType, ...]
    numeric_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    all_float64: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_duplicates("feature", list(self.names))
        if len(self.names) != len(self.types):
            raise ConfigError(f"feature schema: {len(self.names)} names, {len(self.types)} types")
        pairs = zip(self.names, self.types, strict=True)
        numeric = tuple(n for n, t in pairs if t is FeatureType.FLOAT64)
        object.__setattr__(self, "numeric_names", numeric)
        object.__setattr__(self, "all_float64", len(numeric) == len(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> list[dict[str, str]]:
        """Return the schema as JSON types, the inverse of `from_json`."""
        return [{"name": n, "type": t.value} for n, t in zip(self.names, self.types, strict=True)]

    @classmethod
    def from_json(cls, value: list[dict[str, str]]) -> Self:
        """Build a schema from what `to_json` returned."""
        return cls(
            names=tuple(f["name"] for f in value),
            types=tuple(FeatureType(f["type"]) for f in value),
        )

    @classmethod
    def float64(cls, names: tuple[str, ...]) -> Self:
        """Build a schema of float64 features."""
        return cls(names=names, types=(FeatureType.FLOAT64,) * len(names))


def _refuse_duplicates(what: str, names: list[str]) -> None:
    seen = sorted({n for n in names if names.count(n) > 1})
    if seen:
        raise ConfigError(f"{what} {seen[0]!r} is declared twice; give each a name of its own")
