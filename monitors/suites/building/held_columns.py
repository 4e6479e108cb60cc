"""The values that a profile keeps: what quantiles and relations between fields are learnt from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.jsontype import Json
from consistency.records import Record
from consistency.schema import FieldType

NUMERIC: Final = frozenset({FieldType.FLOAT64, FieldType.INT64})
_MISSING: Final = -1

Numbers: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int32]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(slots=True)
class HeldColumn:
    """A field's values as arrays, for what single figures cannot tell.

    Attributes:
        numbers: float64 chunks, NaN for null; empty of a field that holds no numbers.
        codes: int32 chunks, positions in `members`, -1 for null; of texts and booleans.
        nulls: masks of the same chunks, true where null or absent.
        members: the distinct texts or booleans, in the order of appearance; None of too many.
        seen: hashes of the values, None once a value was there twice.
    """

    numbers: list[Numbers] = field(default_factory=list)
    codes: list[Codes] = field(default_factory=list)
    nulls: list[Mask] = field(default_factory=list)
    members: dict[Json, int] | None = field(default_factory=dict)
    seen: set[int] | None = field(default_factory=set)

    def take(self, values: Sequence[Json], kind: FieldType, limit: int) -> None:
        """Keep a chunk's values, None for absent and null."""
        self.nulls.append(np.array([v is None for v in values], np.bool_))
        if kind in NUMERIC:
            held = [math.nan if v is None else v for v in values]
            self.numbers.append(np.array(held, np.float64))
        elif kind in (FieldType.STRING, FieldType.BOOL) and self.members is not None:
            self._take_members(self.members, values, limit)
        if self.seen is not None and kind is not FieldType.TOKENS:
            there = [hash(v) for v in values if v is not None]
            before = len(self.seen)
            self.seen.update(there)
            if len(self.seen) < before + len(there):
                self.seen = None

    def _take_members(self, members: dict[Json, int], values: Sequence[Json], limit: int) -> None:
        codes = [_MISSING if v is None else members.setdefault(v, len(members)) for v in values]
        self.codes.append(np.array(codes, np.int32))
        if len(members) > limit:
            self.members, self.codes = None, []


@dataclass(slots=True)
class KeyProfile:
    """Whether several fields together tell any two records apart.

    Attributes:
        names: of the fields.
        repeats: records that repeat the values of one before; a record with a null does not.
        seen: hashes of the values.
    """

    names: tuple[str, ...]
    repeats: int = 0
    seen: set[int] = field(default_factory=set)

    def take(self, records: Sequence[Record]) -> None:
        """Look at some records."""
        for record in records:
            values = tuple(record.get(n) for n in self.names)
            if None not in values:
                mark = hash(tuple(map(_hashable, values)))
                self.repeats += mark in self.seen
                self.seen.add(mark)


def _hashable(value: Json) -> Json:
    return tuple(value) if isinstance(value, list) else value
