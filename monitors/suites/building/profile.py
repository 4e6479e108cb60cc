"""What training records hold, field by field: counts, numeric range, the texts of a category."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np

from consistency.errors import DataError
from consistency.jsontype import Json
from consistency.records import Record, read_records
from consistency.schema import Field, FieldType, RecordSchema
from monitors.errors import MonitorError
from monitors.suites.building.held_columns import NUMERIC, HeldColumn, KeyProfile, Mask, Numbers

_CHUNK_ROWS: Final = 10_000
_LARGEST: Final = sys.float_info.max


@dataclass(slots=True)
class FieldProfile:
    """What one field held.

    Attributes:
        spec: as the schema declares it.
        rows: records seen; present: those in which the field was neither absent nor null.
        limit: distinct texts to keep.
        smallest: of the numbers, in the field's unit; None without any. largest: likewise.
        texts: the distinct texts, or None once there were more than `limit`.
        held: the values themselves; None when nobody asked for them.
    """

    spec: Field
    limit: int
    rows: int = 0
    present: int = 0
    smallest: float | None = None
    largest: float | None = None
    texts: set[str] | None = field(default_factory=set)
    held: HeldColumn | None = None

    def take(self, values: Sequence[Json]) -> None:
        """Count a chunk's values, None for absent and null."""
        held = [v for v in values if v is not None]
        self.rows += len(values)
        self.present += len(held)
        if self.spec.type in NUMERIC and held:
            low, high = min(held), max(held)
            self.smallest = low if self.smallest is None else min(self.smallest, low)
            self.largest = high if self.largest is None else max(self.largest, high)
        elif self.spec.type is FieldType.STRING and self.texts is not None:
            self.texts.update(held)
            if len(self.texts) > self.limit:
                self.texts = None
        if self.held is not None:
            self.held.take(values, self.spec.type, self.limit)

    @property
    def numbers(self) -> Numbers:
        """The numbers of all rows, float64, shape (N,), NaN for null; needs `held`."""
        chunks = [] if self.held is None else self.held.numbers
        return np.concatenate(chunks) if chunks else np.empty(0)

    @property
    def nulls(self) -> Mask:
        """Which rows are null or absent, shape (N,); needs `held`."""
        chunks = [] if self.held is None else self.held.nulls
        return np.concatenate(chunks) if chunks else np.empty(0, np.bool_)

    @property
    def members(self) -> dict[Json, Mask]:
        """Each text or boolean of a category with its rows' mask, shape (N,); needs `held`."""
        if self.held is None or not self.held.codes or self.held.members is None:
            return {}
        codes = np.concatenate(self.held.codes)
        return {m: codes == code for m, code in self.held.members.items()}

    @property
    def distinct(self) -> bool:
        """Whether no value was there twice; needs `held`."""
        return self.held is not None and self.held.seen is not None and self.present > 1

    @property
    def span(self) -> tuple[float, float] | None:
        """Smallest and largest number, or None when there was none."""
        if self.smallest is None or self.largest is None:
            return None
        return self.smallest, self.largest


def profile(
    schema: RecordSchema,
    records: Iterable[Record],
    *,
    max_categories: int,
    hold: bool = False,
    keys: Sequence[KeyProfile] = (),
) -> list[FieldProfile]:
    """Read records once and describe every field of the schema.

    Args:
        schema: what a record holds; each record is checked against it.
        records: N >= 1 raw records.
        max_categories: distinct texts up to which a text field is a category.
        hold: keep the values, 8 bytes a number, for rules over a batch and across fields.
        keys: fields whose values together are looked at too.

    Raises:
        DataError: a record does not fit the schema; its row is the record's number, from 0.
        MonitorError: there is no record.
    """
    found = [
        FieldProfile(spec, max_categories, held=HeldColumn() if hold else None)
        for spec in schema.fields
    ]
    source, done = iter(records), 0
    while chunk := list(islice(source, _CHUNK_ROWS)):
        try:
            read_records(schema, chunk)
        except DataError as e:
            row = None if e.row is None else e.row + done
            raise DataError(e.problem, row=row, field=e.field) from None
        for one in found:
            one.take([record.get(one.spec.name) for record in chunk])
        for key in keys:
            key.take(chunk)
        done += len(chunk)
    if not done:
        raise MonitorError("there is no training record; a suite is learnt from at least one")
    return found


def widened(span: tuple[float, float], margin: float, *, whole: bool) -> tuple[float, float]:
    """Return a range with a margin on both sides, as float64.

    The margin is a share of the range's width; a single value counts as its own width, 0 as 1. What
    was never negative stays so, and what was never positive. Whole numbers are rounded outwards.

    >>> widened((0, 100), 0.1, whole=True), widened((5.0, 5.0), 0.1, whole=False)
    ((0.0, 110.0), (4.5, 5.5))
    >>> widened((-3.0, 7.0), 0.5, whole=False)
    (-8.0, 12.0)
    """
    low, high = span
    width = (high - low) or abs(high) or 1
    pad = margin * width if margin else 0  # 0 times an infinite width would be NaN
    # What goes beyond float64 leaves the side open to all that JSON can say.
    lower, upper = max(low - pad, -_LARGEST), min(high + pad, _LARGEST)
    if low >= 0:
        lower = max(lower, 0)
    if high <= 0:
        upper = min(upper, 0)
    if whole:
        lower, upper = math.floor(lower), math.ceil(upper)
    return _at_most(lower, low), -_at_most(-upper, -high)


def _at_most(bound: float, value: float) -> float:
    """Return a bound as float64 that is not over the value, which may be a large integer."""
    rounded = float(bound)
    return math.nextafter(rounded, -math.inf) if rounded > value else rounded
