"""Laws of the feature rows: what they are, and what they must not depend on."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureBatch, FeatureStatus, take_rows
from consistency.laws.verdict import (
    Law,
    LawNotRunError,
    LawViolation,
    all_rows,
    expect_same,
    plain,
    run,
)
from consistency.pipeline import BoundPipeline
from consistency.records import Record
from consistency.schema import FeatureType

_SIZES: Final = (1, 2, 7)
_FEWEST_ROWS: Final = 2 * max(_SIZES) + 1  # so that the largest size makes full batches and a rest
_PROBES: Final = 8
_TYPES: Final[dict[FeatureType, type]] = {FeatureType.STRING: str, FeatureType.TOKENS: list}


def check_schema(pipeline: BoundPipeline, records: Sequence[Record]) -> None:
    """Check that names, order, dtypes, row counts, statuses and snapshots are as declared.

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: valid raw records, N >= 1.

    Raises:
        LawViolation: naming the feature and what it should be.
    """
    law = Law.SCHEMA
    batch = all_rows(law, pipeline, records)
    floats = pipeline.outputs.numeric_names
    shape = (len(records), len(floats))
    types = zip(pipeline.outputs.names, pipeline.outputs.types, strict=True)
    others = {name: kind for name, kind in types if name not in set(floats)}
    facts: list[tuple[str, object, object]] = [
        ("names and types", pipeline.outputs, batch.schema),
        ("rows", len(records), batch.rows),
        ("shape of the float64 features", shape, batch.numeric.shape),
        ("dtype of the float64 features", "float64", str(batch.numeric.dtype)),
        ("features that are not float64, in order", list(others), list(batch.others)),
        ("features with a status that are not declared", set(), _unknown_statuses(batch)),
        ("snapshots", dict(pipeline.snapshots), dict(batch.snapshots)),
    ]
    for what, expected, got in facts:
        if expected != got:
            raise LawViolation(law, what, expected=expected, got=got)
    for name, kind in others.items():
        _check_column(name, kind, batch)
    for name, codes in batch.status.items():
        if codes.dtype != np.uint8 or codes.shape != (batch.rows,):
            raise LawViolation(law, "status is not uint8 of shape (N,)", feature=name)
        if not np.isin(codes, list(FeatureStatus)).all():
            raise LawViolation(law, f"status {int(codes.max())} is unknown", feature=name)


def _unknown_statuses(batch: FeatureBatch) -> set[str]:
    return set(batch.status) - set(batch.schema.names)


def _check_column(name: str, kind: FeatureType, batch: FeatureBatch) -> None:
    law, values = Law.SCHEMA, batch.others[name]
    if values.dtype != kind.numpy:
        raise LawViolation(law, "dtype", feature=name, expected=kind.value, got=str(values.dtype))
    if values.shape[:1] != (batch.rows,):
        raise LawViolation(law, "rows", feature=name, expected=batch.rows, got=values.shape)
    wanted = _TYPES.get(kind)
    for row, value in enumerate(values.tolist() if wanted else ()):
        if value is not None and not isinstance(value, wanted or object):
            raise LawViolation(
                law, f"is no {kind}", row=row, feature=name, expected=kind, got=value
            )


def check_pure(
    pipeline: BoundPipeline, records: Sequence[Record], *, pause_seconds: float = 0.002
) -> None:
    """Check that the same records give the same bits again, later, and after other records.

    Also that an answer, once given, does not change when the pipeline runs again.

    Limits: the clock is not changed, it goes on for `pause_seconds`; a pipeline that reads it only
    to the day, say, is found by `check_no_clock`.

    Raises:
        LawViolation: naming the row, the feature and both values.
    """
    law, rows = Law.PURE, np.arange(len(records))
    first = all_rows(law, pipeline, records)
    kept = copy.deepcopy(first)
    run(law, pipeline, list(reversed(records)), "on the records in reverse order")
    expect_same(law, "an earlier answer was changed by a later call", kept, first, rows)
    run(law, pipeline, records[:1], "on the first record")
    time.sleep(pause_seconds)
    again = run(law, pipeline, records, "the second time")
    expect_same(law, "on the same records again", kept, again, rows)


def check_no_mutation(pipeline: BoundPipeline, records: Sequence[Record]) -> None:
    """Check that the records are as they were: the same keys in order, values, and types.

    Raises:
        LawViolation: naming the record, the field, and both values.
    """
    law = Law.NO_MUTATION
    before = copy.deepcopy(list(records))
    all_rows(law, pipeline, records)
    for row, (was, now) in enumerate(zip(before, records, strict=True)):
        if list(was) != list(now):
            raise LawViolation(law, "keys changed", row=row, expected=list(was), got=list(now))
        for field, value in was.items():
            # repr tells 1, 1.0 and True apart, -0.0 and 0.0, and equates NaN with NaN
            if repr(value) != repr(now[field]):
                raise LawViolation(
                    law, "the input changed", row=row, feature=field, expected=value, got=now[field]
                )


def check_rows_independent(
    pipeline: BoundPipeline, records: Sequence[Record], *, bitwise: bool = True
) -> None:
    """Check that a row's features stay the same when all other rows of its batch are replaced.

    The size of the batch and the row's position stay as they were: `check_batch_invariant` varies
    those. Up to eight rows are tried, each among copies of the first and of the last record.

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: valid raw records, at least two different ones.
        bitwise: see `check_batch_invariant`.

    Raises:
        LawViolation: naming the row, the feature and both values.
        LawNotRunError: there are no two different records.
    """
    law = Law.ROWS_INDEPENDENT
    expected = all_rows(law, pipeline, records)
    others = [r for r in (records[0], records[-1]) if any(r != other for other in records)]
    if not others:
        raise LawNotRunError("all records are equal; give at least two different ones")
    for row in np.unique(np.linspace(0, len(records) - 1, _PROBES).astype(int)).tolist():
        for other in others:
            batch = [other] * len(records)
            batch[row] = records[row]
            got = run(law, pipeline, batch, f"with every row but {row} replaced")
            here = np.array([row])
            _expect_rows(law, "with the other rows replaced", expected, got, here, bitwise)


def _expect_rows(
    law: Law,
    situation: str,
    expected: FeatureBatch,
    got: FeatureBatch,
    rows: NDArray[np.intp],
    bitwise: bool,
) -> None:
    """Compare only some rows of two batches of the same size."""
    part = take_rows(got, rows)
    expect_same(law, situation, expected, part, rows, bitwise=bitwise)


def check_batch_invariant(
    pipeline: BoundPipeline, records: Sequence[Record], *, bitwise: bool = True
) -> None:
    """Check that batch size, order and slicing change nothing: sizes 1, 2, 7 and all.

    Args:
        pipeline: the pipeline, with its state and snapshots.
        records: valid raw records; few ones are repeated, so that a batch of 7 is one.
        bitwise: True asks for equal bits. False allows 5e-11, for foreign transformers whose matrix
            products depend on the batch (a scikit-learn PCA, for example).

    Raises:
        LawViolation: naming the row, the feature and both values.
        LawNotRunError: there are no two different records, so that order could show nothing.
    """
    law = Law.BATCH_INVARIANT
    if all(record == records[0] for record in records):
        raise LawNotRunError("all records are equal; give at least two different ones")
    many = [records[i % len(records)] for i in range(max(len(records), _FEWEST_ROWS))]
    expected = all_rows(law, pipeline, many)
    for situation, rows in _arrangements(len(many)):
        got = run(law, pipeline, [many[i] for i in rows.tolist()], situation)
        expect_same(law, situation, expected, got, rows, bitwise=bitwise)


def _arrangements(total: int) -> Iterator[tuple[str, NDArray[np.intp]]]:
    rows = np.arange(total)
    for size in _SIZES:
        for start in range(0, total, size):
            yield f"in batches of {size}", rows[start : start + size]
    yield "in reverse order", rows[::-1]
    yield "in mixed order", np.argsort(rows * 7919 % 104_729, kind="stable")
    yield "every second row", rows[::2]
    yield "without the first row", rows[1:]


def signature(batch: FeatureBatch) -> tuple[Any, ...]:  # Any: hashable texts of values
    """Return what tells one feature row from another: each value with all digits and its status."""
    values = {name: repr(plain(column[0])) for name, column in batch.columns().items()}
    codes = {name: int(codes[0]) for name, codes in batch.status.items()}
    return tuple((name, text, codes.get(name, 0)) for name, text in values.items())
