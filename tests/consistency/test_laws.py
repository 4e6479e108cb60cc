"""For each law a pipeline that breaks it and is caught, and one that keeps them all."""

from __future__ import annotations

import copy
import locale
import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, FeatureStatus, Marked
from consistency.graph import PipelineBuilder, category_codes
from consistency.laws import (
    Law,
    LawNotRunError,
    LawViolation,
    Verdict,
    check_all_laws,
    check_batch_invariant,
    check_environment_independent,
    check_locale_independent,
    check_missing_field_refused,
    check_missing_values_distinct,
    check_no_mutation,
    check_pure,
    check_rows_independent,
    check_schema,
    check_wrong_type_refused,
)
from consistency.pipeline import BoundPipeline, CallablePipeline
from consistency.records import Column, Record
from consistency.schema import FeatureSchema, FeatureType, Field, FieldType, RecordSchema
from consistency.state import FittedState

Floats = NDArray[np.float64]

INPUTS = RecordSchema(
    (
        Field("x", FieldType.FLOAT64),
        Field("count", FieldType.INT64),
        Field("flag", FieldType.BOOL),
        Field("carrier", FieldType.STRING),
        Field("at", FieldType.TIMESTAMP),
        Field("words", FieldType.TOKENS),
        Field("gust", FieldType.FLOAT64, required=False, nullable=True),
    )
)
STATE = FittedState({"mean": 0.5, "carriers": {"AA": 0, "UA": 1}})
RECORDS: list[Record] = [
    {
        "x": i / 7,
        "count": i,
        "flag": i % 2 == 0,
        "carrier": "UA" if i % 3 else "ZZ",
        "at": f"2026-01-{i + 1:02}T10:00:00+08:00",
        "words": ["a"] * (i % 4),
        **({"gust": None if i % 5 == 0 else i * 1.5} if i % 4 else {}),
    }
    for i in range(20)
]


def bound(flow: PipelineBuilder) -> BoundPipeline:
    return flow.build().bind(STATE, {})


def keeps_all() -> BoundPipeline:
    flow = PipelineBuilder(INPUTS, state=("mean", "carriers"))

    @flow.feature
    def x_centred(x: Floats, mean: float) -> Floats:
        return x - mean

    @flow.features("hour_sin", "hour_cos")
    def hour(at: NDArray[np.int64]) -> tuple[Floats, Floats]:
        angle = at // 3_600_000_000 % 24 * (2 * np.pi / 24)
        return np.sin(angle), np.cos(angle)

    @flow.feature
    def carrier_code(carrier: Column, carriers: Mapping[str, int]) -> Marked:
        return category_codes(carrier, carriers)

    @flow.feature
    def gust_speed(gust: Floats, gust_presence: NDArray[np.uint8]) -> Marked:
        return Marked(gust, gust_presence)

    @flow.features("doubled", type=FeatureType.INT64)
    def doubled(count: NDArray[np.int64], flag: NDArray[np.bool_]) -> Column:
        return count * 2 + flag

    @flow.features("carrier_name", type=FeatureType.STRING)
    def name(carrier: Column) -> Column:
        return carrier

    @flow.features("bag", type=FeatureType.TOKENS)
    def bag(words: Column) -> Column:
        return words

    return bound(flow)


def with_feature(function: Callable[..., Any]) -> BoundPipeline:
    """Return a pipeline of one feature."""
    flow = PipelineBuilder(INPUTS, state=("mean", "carriers"))
    flow.features("suspect")(function)
    return bound(flow)


class Foreign:
    """A pipeline that is not of this house: any function of records."""

    def __init__(
        self, answer: Callable[[BoundPipeline, Sequence[Record]], FeatureBatch], inside: Any = None
    ) -> None:
        self._answer, self._inside = answer, inside or keeps_all()
        self.inputs, self.outputs = self._inside.inputs, self._inside.outputs
        self.snapshots = self._inside.snapshots

    def __call__(self, records: Sequence[Record]) -> FeatureBatch:
        return self._answer(self._inside, records)


def violation(check: Callable[..., None], *args: Any, **kwargs: Any) -> LawViolation:
    with pytest.raises(LawViolation) as caught:
        check(*args, **kwargs)
    return caught.value


# ---- one that keeps them ------------------------------------------------------------------------


def test_a_good_pipeline_keeps_every_law() -> None:
    before = copy.deepcopy(RECORDS)
    results = check_all_laws(keeps_all(), RECORDS, distinct=["gust"])
    assert [r.law for r in results] == list(Law)
    verdicts = {r.law: (r.verdict, r.detail) for r in results}
    locale_verdict = verdicts.pop(Law.LOCALE_INDEPENDENT)[0]
    assert locale_verdict in (Verdict.PASSED, Verdict.SKIPPED)  # by what the machine has installed
    assert set(verdicts.values()) == {(Verdict.PASSED, "")}
    assert before == RECORDS


def test_a_callable_pipeline_keeps_them_too() -> None:
    pipeline = CallablePipeline(
        INPUTS,
        FeatureSchema.float64(("x", "more")),
        lambda columns, state: {"x": columns["x"], "more": columns["x"] + state["mean"]},
    ).bind(STATE, {})
    verdicts = {r.law: r.verdict for r in check_all_laws(pipeline, RECORDS)}
    assert verdicts.pop(Law.MISSING_VALUES_DISTINCT) is Verdict.SKIPPED
    assert verdicts.pop(Law.LOCALE_INDEPENDENT) is not Verdict.VIOLATED
    assert set(verdicts.values()) == {Verdict.PASSED}


def test_a_law_that_could_not_run_is_skipped_with_its_reason_never_passed() -> None:
    open_inputs = RecordSchema((Field("x", FieldType.FLOAT64, required=False, nullable=True),))
    inside = CallablePipeline(
        open_inputs, FeatureSchema.float64(("x",)), lambda columns, _: {"x": columns["x"]}
    ).bind(STATE, {})
    pipeline = Foreign(lambda inner, records: inner(records), inside)
    results = {r.law: r for r in check_all_laws(pipeline, [{"x": 1.0}])}
    skipped = {law: r.detail for law, r in results.items() if r.verdict is Verdict.SKIPPED}
    assert "all records are equal" in skipped[Law.ROWS_INDEPENDENT]
    assert "all records are equal" in skipped[Law.BATCH_INVARIANT]
    assert "does not show its functions" in skipped[Law.NO_CLOCK]
    assert "no required field" in skipped[Law.MISSING_FIELD_REFUSED]
    assert "no field is declared distinct" in skipped[Law.MISSING_VALUES_DISTINCT]


def test_without_records_nothing_passes() -> None:
    results = check_all_laws(keeps_all(), [])
    passed = {r.law for r in results if r.verdict is Verdict.PASSED}
    assert passed == {Law.NO_CLOCK}


def test_a_broken_schema_skips_the_laws_that_compare_rows() -> None:
    def short(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        return inner(records[:1])

    results = {r.law: r for r in check_all_laws(Foreign(short), RECORDS)}
    assert results[Law.SCHEMA].verdict is Verdict.VIOLATED
    assert results[Law.PURE].verdict is Verdict.SKIPPED
    assert "schema" in results[Law.PURE].detail


def test_a_violation_can_be_raised_from_its_result() -> None:
    pipeline = with_feature(lambda x: x - x.mean())
    result = next(r for r in check_all_laws(pipeline, RECORDS) if r.law is Law.ROWS_INDEPENDENT)
    assert result.verdict is Verdict.VIOLATED
    assert isinstance(result.violation, AssertionError)
    assert result.detail == str(result.violation)


# ---- schema -------------------------------------------------------------------------------------


def rename(batch: FeatureBatch) -> FeatureBatch:
    names = ("wrong", *batch.schema.names[1:])
    return replace(batch, schema=FeatureSchema(names, batch.schema.types))


def swap_others(batch: FeatureBatch) -> FeatureBatch:
    return replace(batch, others=dict(reversed(list(batch.others.items()))))


def as_float32(batch: FeatureBatch) -> FeatureBatch:
    return replace(batch, numeric=batch.numeric.astype(np.float32))


def other(name: str, value: Column) -> Callable[[FeatureBatch], FeatureBatch]:
    return lambda batch: replace(batch, others={**batch.others, name: value})


def status(name: str, codes: Column) -> Callable[[FeatureBatch], FeatureBatch]:
    return lambda batch: replace(batch, status={name: codes})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (rename, "names and types"),
        (swap_others, "in order"),
        (as_float32, "dtype of the float64 features: expected 'float64', got 'float32'"),
        (lambda batch: replace(batch, rows=3), "rows: expected 20, got 3"),
        (lambda batch: replace(batch, numeric=batch.numeric[:, 1:]), "shape of the float64"),
        (lambda batch: replace(batch, snapshots={"weather": "0" * 64}), "snapshots"),
        (other("doubled", np.zeros(20, np.int32)), "expected 'int64', got 'int32'"),
        (other("doubled", np.zeros(3, np.int64)), r"rows: expected 20, got \(3,\)"),
        (other("carrier_name", np.array([1] * 20, object)), "row 0, 'carrier_name': is no string"),
        (status("nobody", np.zeros(20, np.uint8)), "not declared"),
        (status("doubled", np.zeros(20, np.int64)), "status is not uint8"),
        (status("doubled", np.full(20, 9, np.uint8)), "status 9 is unknown"),
    ],
)
def test_a_batch_that_is_not_as_declared(
    damage: Callable[[FeatureBatch], FeatureBatch], said: str
) -> None:
    pipeline = Foreign(lambda inner, records: damage(inner(records)))
    with pytest.raises(LawViolation, match=said):
        check_schema(pipeline, RECORDS)


# ---- purity and independence --------------------------------------------------------------------


def test_a_random_feature_is_not_pure() -> None:
    generator = random.Random(1)
    found = violation(check_pure, with_feature(lambda x: [generator.random() for _ in x]), RECORDS)
    assert (found.law, found.row, found.feature) == (Law.PURE, 0, "suspect")
    assert repr(found.expected) in str(found)
    assert repr(found.got) in str(found)
    assert found.expected != found.got


def test_a_running_count_is_not_pure() -> None:
    seen: list[int] = []

    def calls(x: Floats) -> Floats:
        seen.append(1)
        return x + len(seen)

    assert violation(check_pure, with_feature(calls), RECORDS).feature == "suspect"


def test_what_the_clock_says_is_not_pure() -> None:
    pipeline = with_feature(lambda x: x + time.time())
    assert violation(check_pure, pipeline, RECORDS).law is Law.PURE


def test_an_answer_that_a_later_call_overwrites_is_not_pure() -> None:
    buffer = np.empty((len(RECORDS), 1))

    def reuse(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        batch = inner(records)
        buffer[: batch.rows] = batch.numeric
        return replace(batch, numeric=buffer[: batch.rows])

    found = violation(check_pure, Foreign(reuse, with_feature(lambda x: x)), RECORDS)
    assert "an earlier answer was changed by a later call" in str(found)


def test_the_mean_of_the_batch_makes_rows_dependent() -> None:
    found = violation(check_rows_independent, with_feature(lambda x: x - x.mean()), RECORDS)
    assert (found.law, found.feature) == (Law.ROWS_INDEPENDENT, "suspect")


def test_the_row_before_makes_rows_dependent() -> None:
    def difference(x: Floats) -> Floats:
        return np.diff(x, prepend=x[:1])

    assert violation(check_rows_independent, with_feature(difference), RECORDS).row == 2


def test_a_status_that_depends_on_other_rows_is_seen() -> None:
    def marked(x: Floats) -> Marked:
        full = len(set(x.tolist())) > 2
        return Marked(x, np.full(len(x), FeatureStatus.UNSEEN if full else 0, np.uint8))

    found = violation(check_rows_independent, with_feature(marked), RECORDS)
    assert (found.expected, found.got) == ("UNSEEN", "OK")


def by_size(x: Floats) -> Floats:
    """Add one unit in the last place in batches of two or more, as a matrix product may."""
    return x if len(x) == 1 else np.nextafter(x, np.inf)


def test_a_last_bit_that_depends_on_the_batch_size() -> None:
    found = violation(check_batch_invariant, with_feature(by_size), RECORDS)
    assert (found.law, found.row) == (Law.BATCH_INVARIANT, 0)
    assert "in batches of 1" in str(found)
    check_batch_invariant(with_feature(by_size), RECORDS, bitwise=False)


def test_more_than_five_of_the_eleventh_decimal_is_a_violation_for_foreign_transformers_too() -> (
    None
):
    pipeline = with_feature(lambda x: x if len(x) == 1 else x + 6e-11)
    assert violation(check_batch_invariant, pipeline, RECORDS, bitwise=False).law


def test_a_feature_that_only_batches_of_seven_change() -> None:
    pipeline = with_feature(lambda x: x + (len(x) == 7))
    assert "in batches of 7" in str(violation(check_batch_invariant, pipeline, RECORDS[:3]))


def test_a_feature_of_the_position_breaks_the_order() -> None:
    pipeline = with_feature(lambda x: np.arange(len(x)) % 2.0)
    assert violation(check_batch_invariant, pipeline, RECORDS).law is Law.BATCH_INVARIANT


def test_a_pipeline_that_fails_on_a_single_row_breaks_the_law() -> None:
    def needs_two(x: Floats) -> Floats:
        return x / (x[1] / x[1] if x[1] else 1.0)

    found = violation(check_batch_invariant, with_feature(needs_two), RECORDS)
    assert "in batches of 1, the pipeline raised IndexError" in str(found)


# ---- input --------------------------------------------------------------------------------------


def test_a_pipeline_that_changes_its_input() -> None:
    def fill(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        batch = inner(records)
        for record in records:
            record["x"] = int(record["x"])  # type: ignore[index]
        return batch

    records = copy.deepcopy(RECORDS)
    found = violation(check_no_mutation, Foreign(fill), records)
    assert (found.law, found.row, found.feature) == (Law.NO_MUTATION, 0, "x")
    assert (repr(found.expected), repr(found.got)) == ("0.0", "0")


def test_a_pipeline_that_adds_a_key_or_empties_a_list() -> None:
    def add(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        batch = inner(records)
        records[3]["new"] = 1  # type: ignore[index]
        return batch

    assert violation(check_no_mutation, Foreign(add), copy.deepcopy(RECORDS)).row == 3

    def empty(words: Column) -> Floats:
        return np.array([float(len(w) and bool(w.pop())) for w in words.tolist()])

    found = violation(check_no_mutation, with_feature(empty), copy.deepcopy(RECORDS))
    assert (found.row, found.feature) == (1, "words")


def test_missing_values_in_records_are_not_taken_for_changes() -> None:
    records = [{**RECORDS[0], "gust": math.nan}, RECORDS[1]]
    check_no_mutation(keeps_all(), records)


def defaults(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
    return inner([{**RECORDS[0], **record} for record in records])


def test_a_silent_default_for_a_missing_field() -> None:
    found = violation(check_missing_field_refused, Foreign(defaults), RECORDS)
    assert (found.law, found.feature) == (Law.MISSING_FIELD_REFUSED, "x")
    assert "left out, the pipeline answered as if nothing were wrong" in str(found)


def test_another_error_than_a_data_error_for_a_missing_field() -> None:
    def strict(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        for record in records:
            record["x"]
        return inner(records)

    assert "raised KeyError('x')" in str(
        violation(check_missing_field_refused, Foreign(strict), RECORDS)
    )


def test_a_data_error_that_names_another_row() -> None:
    def row_by_row(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        for record in records:
            inner([record])
        return inner(records)

    found = violation(check_missing_field_refused, Foreign(row_by_row), RECORDS)
    assert "the DataError names row 0" in str(found)


@pytest.mark.parametrize(
    ("field", "convert", "said"),
    [
        ("x", float, "'1.5'"),
        ("count", int, "1.5"),
        ("flag", bool, "'true'"),
        ("carrier", str, "1"),
        ("at", lambda v: v if "T" in str(v) else "2026-01-01T00:00:00Z", "0"),
        ("words", lambda v: [str(t) for t in v] if isinstance(v, list) else [], "'a b'"),
    ],
)
def test_a_silent_conversion(field: str, convert: Callable[[Any], Any], said: str) -> None:
    def lenient(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        return inner([{**record, field: convert(record[field])} for record in records])

    found = violation(check_wrong_type_refused, Foreign(lenient), RECORDS)
    assert (found.law, found.feature) == (Law.WRONG_TYPE_REFUSED, field)
    assert f"set to {said}" in str(found)


def test_null_taken_for_a_value() -> None:
    def lenient(inner: BoundPipeline, records: Sequence[Record]) -> FeatureBatch:
        return inner([{**r, "count": 0 if r["count"] is None else r["count"]} for r in records])

    assert "set to None" in str(violation(check_wrong_type_refused, Foreign(lenient), RECORDS))


@pytest.mark.parametrize(
    ("gust", "pair"),
    [
        (lambda gust: np.nan_to_num(gust, nan=0.0), "0 and NaN"),
        (
            lambda gust, gust_presence: Marked(np.nan_to_num(gust, nan=0.0), gust_presence),
            "0 and NaN",
        ),
        (lambda gust: gust, "absent and NaN"),
        (lambda gust, gust_presence: Marked(gust, (gust_presence > 0).astype(np.uint8)), "absent"),
    ],
    ids=["imputed", "imputed, with status", "without status", "null for absent"],
)
def test_missing_values_that_cannot_be_told_apart(gust: Callable[..., Any], pair: str) -> None:
    found = violation(check_missing_values_distinct, with_feature(gust), RECORDS, ["gust"])
    assert (found.law, found.feature) == (Law.MISSING_VALUES_DISTINCT, "gust")
    assert pair in str(found)


def test_missing_values_are_told_apart_when_one_record_shows_it() -> None:
    """A field may matter only sometimes: here for every second record."""

    def sometimes(gust: Floats, gust_presence: Column, flag: Column) -> Marked:
        return Marked(np.where(flag, gust, 1.0), np.where(flag, gust_presence, 0).astype(np.uint8))

    check_missing_values_distinct(with_feature(sometimes), RECORDS, ["gust"])


def test_only_what_the_schema_lets_through_is_compared() -> None:
    check_missing_values_distinct(with_feature(lambda x: x), RECORDS, ["x"])
    with pytest.raises(LawNotRunError, match="'carrier' is required and not nullable"):
        check_missing_values_distinct(keeps_all(), RECORDS, ["carrier"])
    with pytest.raises(ConfigError, match="no field 'nobody'"):
        check_missing_values_distinct(keeps_all(), RECORDS, ["nobody"])


# ---- surroundings -------------------------------------------------------------------------------


def test_the_local_time_zone_is_a_dependence() -> None:
    def hour(at: NDArray[np.int64]) -> Floats:
        return np.array([float(time.localtime(t // 1_000_000).tm_hour) for t in at.tolist()])

    before = (os.environ.get("TZ"), time.tzname)
    found = violation(check_environment_independent, with_feature(hour), RECORDS)
    assert (found.law, found.row) == (Law.ENVIRONMENT_INDEPENDENT, 0)
    assert "in time zone" in str(found)
    assert (os.environ.get("TZ"), time.tzname) == before


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
def test_the_time_zone_is_restored(monkeypatch: pytest.MonkeyPatch, zone: str | None) -> None:
    monkeypatch.delenv("TZ", raising=False)
    if zone:
        monkeypatch.setenv("TZ", zone)
    check_environment_independent(keeps_all(), RECORDS)
    assert os.environ.get("TZ") == zone


def test_an_environment_variable_is_a_dependence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURCHARGE", "1.5")
    here, variables = Path.cwd(), dict(os.environ)
    pipeline = with_feature(lambda x: x + float(os.environ.get("SURCHARGE", "0")))
    found = violation(check_environment_independent, pipeline, RECORDS)
    assert (found.expected, found.got) == (1.5, 0.0)
    assert (Path.cwd(), dict(os.environ)) == (here, variables)


def test_the_working_directory_is_a_dependence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rate.txt").write_text("2.5")
    monkeypatch.chdir(tmp_path)
    pipeline = with_feature(lambda x: x * float(Path("rate.txt").read_text()))
    found = violation(check_environment_independent, pipeline, RECORDS)
    assert "raised FileNotFoundError" in str(found)
    assert Path.cwd() == tmp_path


@pytest.fixture
def other_locale() -> str:
    """Return a locale that is installed and is not the present one."""
    present = locale.setlocale(locale.LC_ALL)
    for name in ("C.UTF-8", "en_US.UTF-8", "POSIX", "C"):
        try:
            changed = locale.setlocale(locale.LC_ALL, name) != present
        except locale.Error:
            continue
        finally:
            locale.setlocale(locale.LC_ALL, present)
        if changed:
            return name
    return pytest.skip("only one locale is installed")


def test_the_locale_is_a_dependence(other_locale: str) -> None:
    present = locale.setlocale(locale.LC_ALL)
    pipeline = with_feature(lambda x: x + len(locale.setlocale(locale.LC_ALL)))
    found = violation(check_locale_independent, pipeline, RECORDS, locales=[other_locale])
    assert found.law is Law.LOCALE_INDEPENDENT
    assert f"in locale {other_locale}" in str(found)
    assert locale.setlocale(locale.LC_ALL) == present


def test_without_an_installed_locale_the_law_does_not_run() -> None:
    with pytest.raises(LawNotRunError, match="none of the locales xx_XX is installed"):
        check_locale_independent(keeps_all(), RECORDS, locales=["xx_XX"])
