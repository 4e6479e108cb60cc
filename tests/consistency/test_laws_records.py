"""The law of hostile records: pipelines that break it in each way, and one that keeps it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from consistency.errors import DataError
from consistency.features import FeatureBatch
from consistency.graph import PipelineBuilder
from consistency.laws import (
    HostileTally,
    LawNotRunError,
    LawViolation,
    RecordLaw,
    check_hostile_records,
)
from consistency.pipeline import BoundPipeline
from consistency.records import Column, Record
from consistency.schema import FeatureType, Field, FieldType, RecordSchema
from consistency.state import FittedState

INPUTS = RecordSchema(
    (
        Field("x", FieldType.FLOAT64),
        Field("count", FieldType.INT64, required=False),
        Field("name", FieldType.STRING, nullable=True),
    )
)
GOOD: list[Record] = [{"x": 1.5, "count": 3, "name": "a"}, {"x": -2.0, "name": None}]


def house() -> BoundPipeline:
    flow = PipelineBuilder(INPUTS)

    @flow.feature
    def squared(x: Column) -> Column:
        return x * x

    @flow.features("label", type=FeatureType.STRING)
    def label(name: Column) -> Column:
        return name

    return flow.build().bind(FittedState({}), {})


class Foreign:
    """A pipeline that does something of its own around the house's."""

    def __init__(self, answer: Callable[[BoundPipeline, Sequence[Any]], FeatureBatch]) -> None:
        self._answer, self._inner = answer, house()
        self.inputs, self.outputs = self._inner.inputs, self._inner.outputs
        self.snapshots = self._inner.snapshots

    def __call__(self, records: Sequence[Any]) -> FeatureBatch:
        return self._answer(self._inner, records)


def violation(answer: Callable[..., FeatureBatch], *records: Any) -> LawViolation:
    with pytest.raises(LawViolation) as caught:
        check_hostile_records(Foreign(answer), records, good=GOOD)
    assert caught.value.law is RecordLaw.HOSTILE_RECORDS
    return caught.value


NESTED: Any = []
for _ in range(40):
    NESTED = [NESTED]

HOSTILE: list[Any] = [
    {},
    {"x": None, "name": "a"},
    {"x": "1.5", "name": "a"},
    {"x": True, "name": "a"},
    {"x": 2**53 + 1, "name": "a"},
    {"x": 10**400, "name": "a"},
    {"x": math.inf, "name": "a"},
    {"x": 10**5000, "name": "a"},
    {"x": 1.0, "count": 2**63, "name": "a"},
    {"x": 1.0, "count": 10**5000, "name": "a"},
    {"x": 1.0, "count": 1.0, "name": "a"},
    {"x": 1.0, "name": 5},
    {"x": 1.0, "name": NESTED},
    {"x": 1.0, "name": "a", "x\u200b": 1},
    {"x": np.float64(1.0), "name": "a"},
    {"x": (1.0,), "name": "a"},
    [],
    None,
    "record",
    1.5,
]
ACCEPTED: list[Any] = [
    {"x": 1e308, "name": "a"},
    {"x": math.nan, "name": "a"},
    {"x": 10**30, "name": "a"},
    {"x": -0.0, "name": ""},
    {"x": 5e-324, "name": "e\u0301"},
    {"x": 1, "count": -(2**63), "name": None},
    {"x": 2**53, "name": "\ud800"},
]


def test_the_house_refuses_by_name_or_makes_features() -> None:
    before = repr(ACCEPTED)
    assert check_hostile_records(house(), HOSTILE, good=GOOD) == HostileTally(0, len(HOSTILE), 5)
    tally = check_hostile_records(house(), ACCEPTED, good=GOOD)
    assert (tally.accepted, tally.refused) == (len(ACCEPTED), 0)
    assert tally.not_json == 2  # NaN, a lone surrogate
    assert repr(ACCEPTED) == before


def test_numpys_warnings_are_no_errors_of_the_pipeline() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_hostile_records(house(), [{"x": 1e308, "name": "a"}], good=GOOD)


def test_another_exception_is_found() -> None:
    def careless(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        _ = [r["x"] * 2 for r in records]
        return inner(records)

    found = violation(careless, GOOD[0], {"name": "a"})
    assert found.row == 1
    assert "alone, the pipeline raised KeyError('x') instead of a DataError" in str(found)
    assert "{'name': 'a'}" in str(found)


def test_a_silent_default_is_found() -> None:
    def filling(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        return inner([{"x": 0.0, **r} for r in records])

    found = violation(filling, {"name": "a"})
    assert (found.row, found.feature) == (0, "x")
    assert "breaks the schema, yet the pipeline answered" in str(found)


def test_a_silent_conversion_is_found() -> None:
    def lenient(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        return inner([{**r, "x": float(r["x"])} for r in records])

    assert violation(lenient, {"x": "1.5", "name": "a"}).feature == "x"
    assert violation(lenient, {"x": True, "name": "a"}).feature == "x"


@pytest.mark.parametrize(("row", "field"), [(None, "x"), (0, None), (5, "x")])
def test_a_refusal_without_the_row_or_the_field_is_found(row: Any, field: Any) -> None:
    def vague(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        try:
            return inner(records)
        except DataError:
            raise DataError("is bad", row=row, field=field) from None

    assert "the DataError names row" in str(violation(vague, {"name": "a"}))


def test_a_refusal_of_the_wrong_row_of_a_batch_is_found() -> None:
    def always_first(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        try:
            return inner(records)
        except DataError as e:
            raise DataError(e.problem, row=0, field=e.field) from None

    assert "between good records (at row 1)" in str(violation(always_first, {"name": "a"}))


def test_a_change_of_the_input_is_found() -> None:
    def greedy(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        features = inner(records)
        for r in records:
            r.pop("count", None)
        return features

    assert "changed the record" in str(violation(greedy, {"x": 1.0, "count": 1, "name": "a"}))


def test_features_that_depend_on_the_batch_are_found() -> None:
    def centred(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        features = inner(records)
        features.numeric[:] -= features.numeric.max()
        return features

    found = violation(centred, {"x": 1.0, "name": "a"})
    assert "between good records, the answer is another" in str(found)


def test_accepted_records_are_tried_together() -> None:
    def crowded(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        if len(records) > 3:
            raise MemoryError("too many")
        return inner(records)

    four = [{"x": float(i), "name": "a"} for i in range(4)]
    assert "4 records that it accepts one by one, together" in str(violation(crowded, *four))


def test_an_answer_that_is_not_repeated_is_found() -> None:
    calls: list[int] = []

    def moody(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        calls.append(1)
        features = inner(records)
        features.numeric[:] += len(calls)
        return features

    assert "given again, the answer is another" in str(violation(moody, {"x": 1.0, "name": "a"}))


def test_a_pipeline_that_reads_python_objects_other_than_json_is_found() -> None:
    """Online a record is freshly parsed: nothing of it is the object that training had."""

    def by_identity(inner: BoundPipeline, records: Sequence[Any]) -> FeatureBatch:
        seen = [{**r, "x": r["x"] + isinstance(r["name"], Name)} for r in records]
        return inner([{**r, "name": r["name"] and str(r["name"])} for r in seen])

    class Name(str):
        __slots__ = ()

    plain = {"x": 1.0, "name": "a"}
    check_hostile_records(Foreign(by_identity), [plain], good=GOOD)
    with pytest.raises(LawViolation, match=r"breaks the schema|as JSON text"):
        check_hostile_records(Foreign(by_identity), [{**plain, "name": Name("a")}], good=GOOD)


@pytest.mark.parametrize(
    ("records", "good", "said"),
    [
        ([], GOOD, "at least one hostile and one good"),
        ([{}], [], "at least one hostile and one good"),
        ([{}], [{"x": "no", "name": "a"}], "the good records are not good"),
    ],
)
def test_what_cannot_be_checked_does_not_pass(records: Any, good: Any, said: str) -> None:
    with pytest.raises(LawNotRunError, match=said):
        check_hostile_records(house(), records, good=good)


def test_tallies_add_up() -> None:
    assert HostileTally(1, 2, 3) + HostileTally(1, 1, 1) == HostileTally(2, 3, 4)
