"""The law of hostile records: features, or a `DataError` that names the row and the field.

Whatever a client sends, a pipeline either makes features from it or refuses it by name. It never
raises anything else, never answers a record that breaks its schema as if nothing were wrong, never
changes what it is given; and the answer is the same twice, at any batch size, and for the record
that came as JSON text as for the same record as Python objects.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from consistency.codecs import TioneCodec
from consistency.errors import DataError
from consistency.features import FeatureBatch, take_rows
from consistency.jsontype import Json
from consistency.laws.rows import signature
from consistency.laws.verdict import LawNotRunError, LawViolation
from consistency.pipeline import BoundPipeline
from consistency.records import Record, read_records
from consistency.scored import Payload


class RecordLaw(StrEnum):
    """The laws of what is fed to a pipeline."""

    HOSTILE_RECORDS = "hostile records"


@dataclass(frozen=True, slots=True)
class HostileTally:
    """What became of the records; a run in which nothing was refused has shown little.

    Attributes:
        accepted: records that became features; refused: records refused by name.
        not_json: of both, records that JSON cannot carry (NaN, an infinity, a lone surrogate, a
            Python object), which were only given as Python objects.
    """

    accepted: int = 0
    refused: int = 0
    not_json: int = 0

    def __add__(self, other: HostileTally) -> HostileTally:
        return HostileTally(
            self.accepted + other.accepted,
            self.refused + other.refused,
            self.not_json + other.not_json,
        )


def check_hostile_records(
    pipeline: BoundPipeline, records: Sequence[Json], *, good: Sequence[Record]
) -> HostileTally:
    """Check the law on each record, alone and between good ones.

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: raw records, hostile or not; see `samescore.record_strategies` for a source.
        good: valid raw records, at least one, for the batches that a hostile one is put into.

    Raises:
        LawViolation: naming the record, the field where one is at fault, and what came of it.
        LawNotRunError: there is no record, or the good ones are refused.
    """
    if not records or not good:
        raise LawNotRunError("give at least one hostile and one good record")
    neighbours = [good[0], good[-1]]
    try:
        with _as_in_production():
            pipeline(copy.deepcopy(neighbours))
    except Exception as e:
        raise LawNotRunError(f"the good records are not good: the pipeline raised {e!r}") from e
    total = HostileTally()
    accepted: list[tuple[int, Json]] = []
    with _as_in_production():
        for row, record in enumerate(records):
            tally = _Hostile(pipeline, row, record, neighbours).tally()
            total = total + tally
            if tally.accepted:
                accepted.append((row, record))
        _expect_same_together(pipeline, accepted)
    return total


class _as_in_production(warnings.catch_warnings):  # noqa: N801 - reads as a statement
    """numpy's warnings about overflow are no errors, whatever the test runner makes of them."""

    def __enter__(self) -> Any:  # noqa: ANN401 - the base class's own signature
        entered = super().__enter__()
        warnings.simplefilter("ignore", RuntimeWarning)
        return entered


@dataclass(frozen=True, slots=True)
class _Answer:
    """Features, or a refusal."""

    signature: object = None
    refusal: DataError | None = None

    @property
    def key(self) -> object:
        """What must be the same again: bits and statuses, or the refused field."""
        return self.signature if self.refusal is None else ("refused", self.refusal.field)

    def __str__(self) -> str:
        return f"features {self.signature}" if self.refusal is None else str(self.refusal)


class _Hostile:
    """One record and its neighbours."""

    def __init__(
        self, pipeline: BoundPipeline, row: int, record: Json, neighbours: list[Record]
    ) -> None:
        self._pipeline, self._row, self._record = pipeline, row, record
        self._neighbours = neighbours

    def tally(self) -> HostileTally:
        alone = self._answer([self._record], 0, "alone")
        self._expect(self._answer([self._record], 0, "alone, again"), alone, "given again")
        first, last = self._neighbours
        batch = [first, self._record, last]
        self._expect(self._answer(batch, 1, "between good records"), alone, "between good records")
        self._expect_schema_obeyed(alone)
        carried = self._expect_same_as_json(alone)
        refused = alone.refusal is not None
        return HostileTally(int(not refused), int(refused), int(not carried))

    def _answer(self, batch: list[Json], at: int, situation: str) -> _Answer:
        given = copy.deepcopy(batch)
        before = _fingerprint(given)
        try:
            features = self._pipeline(given)
        except DataError as e:
            self._expect_named(e, at, situation)
            answer = _Answer(refusal=e)
        except Exception as e:
            problem = f"{situation}, the pipeline raised {e!r} instead of a DataError"
            raise self._violation(problem) from e
        else:
            self._expect_rows(features, len(batch), situation)
            answer = _Answer(signature(take_rows(features, slice(at, at + 1))))
        if _fingerprint(given) != before:
            raise self._violation(f"{situation}, the pipeline changed the record it was given")
        return answer

    def _expect_rows(self, features: FeatureBatch, rows: int, situation: str) -> None:
        if features.rows != rows:
            problem = f"{situation}, the pipeline answered another number of rows"
            raise self._violation(problem, expected=rows, got=features.rows)

    def _expect_named(self, error: DataError, at: int, situation: str) -> None:
        whole = not isinstance(self._record, dict)
        if error.row != at or (error.field is None and not whole):
            raise self._violation(
                f"{situation} (at row {at}), the DataError names row {error.row} and field "
                f"{error.field!r}: {error}",
                field=error.field,
            )

    def _expect(self, got: _Answer, expected: _Answer, situation: str) -> None:
        if got.key != expected.key:
            raise self._violation(f"{situation}, the answer is another", expected, got)

    def _expect_schema_obeyed(self, answer: _Answer) -> None:
        """The schema is read here once more, so that a pipeline cannot skip it."""
        try:
            read_records(self._pipeline.inputs, [self._record])
        except DataError as e:
            if answer.refusal is None:
                problem = "the record breaks the schema, yet the pipeline answered as if it did not"
                raise self._violation(f"{problem}: {e}", field=e.field) from None

    def _expect_same_as_json(self, offline: _Answer) -> bool:
        """Send the record as a client does; returns whether JSON can carry it."""
        text = _json_text(self._record)
        if text is None:
            return False
        body = b'{"type":"record","data":{"insts":[' + text + b"]}}"
        try:
            decoded = TioneCodec().decode(
                Payload(body, TioneCodec.id, "application/json"), self._pipeline.outputs
            )
        except DataError as e:
            if offline.refusal is None:
                raise self._violation(f"as JSON text it is refused: {e}", offline) from e
            return True
        online = self._answer(list(decoded.records or ()), 0, "as JSON text")
        self._expect(online, offline, "as JSON text")
        return True

    def _violation(
        self, problem: str, expected: object = None, got: object = None, field: str | None = None
    ) -> LawViolation:
        shown = _shown(self._record)
        return LawViolation(
            RecordLaw.HOSTILE_RECORDS,
            f"{problem}; the record: {shown}",
            row=self._row,
            feature=field,
            expected=None if expected is None else str(expected),
            got=None if got is None else str(got),
        )


def _json_text(record: Json) -> bytes | None:
    """Return strict JSON, or None when JSON cannot carry the record."""
    try:
        text = json.dumps(record, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return text if _is_json(record) else None


def _is_json(value: Json) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    # a tuple is a list to json, and a numpy float a number: neither is what a client's record holds
    return type(value) in (str, int, float, bool, type(None))


def _expect_same_together(pipeline: BoundPipeline, accepted: Sequence[tuple[int, Json]]) -> None:
    """Check that all accepted records in one batch give what each gave alone."""
    if len(accepted) < 2:
        return
    batch = [copy.deepcopy(record) for _, record in accepted]
    try:
        together = pipeline(batch)
    except Exception as e:
        raise LawViolation(
            RecordLaw.HOSTILE_RECORDS,
            f"{len(batch)} records that it accepts one by one, together: it raised {e!r}",
        ) from e
    for i, (row, record) in enumerate(accepted):
        got = signature(take_rows(together, np.array([i])))
        alone = signature(pipeline([copy.deepcopy(record)]))
        if got != alone:
            raise LawViolation(
                RecordLaw.HOSTILE_RECORDS,
                f"in one batch with other accepted records it gives other features; the record: "
                f"{_shown(record)}",
                row=row,
                expected=str(alone),
                got=str(got),
            )


def _fingerprint(value: Json) -> object:
    """Return what differs when a value does: 1, 1.0 and True, -0.0 and 0.0, the order of keys."""
    if isinstance(value, dict):
        return tuple((key, _fingerprint(held)) for key, held in value.items())
    if isinstance(value, list):
        return [_fingerprint(held) for held in value]
    # Python prints no integer of more than 4300 digits
    return (type(value), value if isinstance(value, int) else repr(value))


def _shown(record: Json) -> str:
    try:
        text = repr(record)
    except (ValueError, RecursionError):  # Python prints no integer of more than 4300 digits
        text = f"a {type(record).__name__} that cannot be printed"
    return text if len(text) <= 400 else text[:397] + "..."
