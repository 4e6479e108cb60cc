"""The authoring API: what reads what, in which order, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, FeatureStatus, Marked, declared_column
from consistency.graph import PipelineBuilder, category_codes
from consistency.pipeline import CallablePipeline, FeaturePipeline, Lookup
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType, Field, FieldType, RecordSchema
from consistency.snapshots import LookupTable
from consistency.state import FittedState

Floats = NDArray[np.float64]

INPUTS = RecordSchema(
    (
        Field("x", FieldType.FLOAT64),
        Field("city", FieldType.STRING, required=False, nullable=True),
    )
)
RECORDS: list[dict[str, Any]] = [{"x": 1.0, "city": "Oslo"}, {"x": 2.0, "city": None}, {"x": 4.0}]
WEATHER = LookupTable(
    "w" * 64,
    {"city": np.array(["Oslo"], object), "temp": np.array([3.5])},
    ("city",),
)


def run(flow: PipelineBuilder, state: dict[str, Any] | None = None) -> FeatureBatch:
    return flow.build().bind(FittedState(state or {}), {})(RECORDS)


def objects(*values: Any) -> Column:
    out = np.empty(len(values), object)
    out[:] = values
    return out


# ---- what comes out -----------------------------------------------------------------------------


def test_functions_run_after_what_they_read_whatever_the_order_of_definition() -> None:
    flow = PipelineBuilder(INPUTS)

    @flow.feature
    def third(second: Floats, x: Floats) -> Floats:
        return second + x

    @flow.feature
    def second(first: Floats) -> Floats:
        return first * 10

    @flow.column
    def first(x: Floats) -> Floats:
        return x + 1

    batch = run(flow)
    assert batch.schema.names == ("third", "second")
    assert batch.columns()["third"].tolist() == [21.0, 32.0, 54.0]
    assert "first" not in batch.columns()


@pytest.mark.parametrize(
    "made",
    [
        lambda x: (x, x * 2),
        lambda x: np.stack([x, x * 2], axis=1),
        lambda x: Marked(np.stack([x, x * 2], axis=1)),
        lambda x: (x.tolist(), (x * 2).tolist()),
    ],
    ids=["tuple", "matrix", "marked", "lists"],
)
def test_several_features_from_one_function(made: Callable[..., Any]) -> None:
    flow = PipelineBuilder(INPUTS)
    flow.features("one", "two")(made)

    @flow.feature
    def total(one: Floats, two: Floats) -> Floats:
        return one + two

    columns = run(flow).columns()
    assert columns["one"].tolist() == [1.0, 2.0, 4.0]
    assert columns["total"].tolist() == [3.0, 6.0, 12.0]


def test_numeric_features_are_contiguous_columns_in_schema_order() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.feature(_named("b", lambda x: x))
    flow.features("label", type=FeatureType.STRING)(lambda city: city)
    flow.feature(_named("a", lambda x: -x))
    batch = run(flow)
    assert batch.schema.names == ("b", "label", "a")
    assert batch.numeric.tolist() == [[1.0, -1.0], [2.0, -2.0], [4.0, -4.0]]
    assert all(c.flags.c_contiguous for c in batch.numeric.T)
    assert batch.others["label"].tolist() == ["Oslo", None, None]


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function


def test_state_lookups_and_presence_are_read_by_name() -> None:
    flow = PipelineBuilder(INPUTS, state=("mean",), lookups=[Lookup("weather", ("city",))])

    @flow.feature
    def centred(x: Floats, mean: float) -> Floats:
        return x - mean

    @flow.feature
    def temperature(city: Column, weather: LookupTable) -> Marked:
        return weather.take("temp", weather.rows(city))

    @flow.feature
    def city_known(city_presence: NDArray[np.uint8]) -> Marked:
        return Marked(city_presence == 0, city_presence)

    batch = flow.build().bind(FittedState({"mean": 0.5}), {"weather": WEATHER})(RECORDS)
    columns = batch.columns()
    assert columns["centred"].tolist() == [0.5, 1.5, 3.5]
    assert columns["temperature"][0] == 3.5
    assert batch.status["temperature"].tolist() == [
        0,
        FeatureStatus.NO_MATCH,
        FeatureStatus.NO_MATCH,
    ]
    assert columns["city_known"].tolist() == [1.0, 0.0, 0.0]
    assert batch.status["city_known"].tolist() == [0, FeatureStatus.NULL, FeatureStatus.ABSENT]
    assert batch.snapshots == {"weather": "w" * 64}


def test_a_status_covers_every_feature_of_its_function_and_no_intermediate() -> None:
    flow = PipelineBuilder(INPUTS)
    codes = np.array([0, 3, 0], np.uint8)
    flow.column(_named("middle", lambda x: Marked(x, codes)))
    flow.features("one", "two")(lambda middle: Marked(np.stack([middle, middle], 1), codes))
    batch = run(flow)
    assert set(batch.status) == {"one", "two"}
    assert batch.status["two"].tolist() == [0, 3, 0]


def test_features_of_other_dtypes_keep_them() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.features("big", type=FeatureType.INT64)(lambda x: x.astype(np.int64) + 2**60)
    flow.features("small", type=FeatureType.FLOAT32)(lambda x: x / 3)
    flow.features("flag", type=FeatureType.BOOL)(lambda x: x > 1)
    flow.features("bag", type=FeatureType.TOKENS)(lambda x: [["a"] for _ in x])
    columns = run(flow).columns()
    assert columns["big"].tolist() == [2**60 + 1, 2**60 + 2, 2**60 + 4]
    assert columns["small"].dtype == np.float32
    assert columns["flag"].tolist() == [False, True, True]
    assert columns["bag"].shape == (3,)
    assert columns["bag"].tolist() == [["a"], ["a"], ["a"]]


def test_one_row_and_many_give_the_same_bits() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.features("s", "c")(lambda x: (np.sin(x), np.cos(x)))
    bound = flow.build().bind(FittedState({}), {})
    many = bound([{"x": i / 7} for i in range(50)]).numeric
    for i in range(50):
        assert bound([{"x": i / 7}]).numeric.tobytes() == many[i].tobytes()


def test_it_is_a_feature_pipeline() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.feature(_named("y", lambda x: x))
    assert isinstance(flow.build(), FeaturePipeline)


# ---- what is refused ----------------------------------------------------------------------------


def test_a_parameter_that_nothing_provides() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.feature(_named("y", lambda altitude: altitude))
    with pytest.raises(ConfigError, match="column 'y' reads 'altitude', which is no input field"):
        flow.build()


def test_a_circle_is_named() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.feature(_named("hen", lambda egg: egg))
    flow.feature(_named("egg", lambda hen: hen))
    with pytest.raises(ConfigError, match=r"depend on each other: (hen -> egg|egg -> hen)"):
        flow.build()


def test_a_function_that_reads_itself() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.feature(_named("y", lambda y: y))
    with pytest.raises(ConfigError, match="depend on each other"):
        flow.build()


@pytest.mark.parametrize("name", ["x", "mean", "weather", "x_presence", "taken"])
def test_a_name_that_is_taken(name: str) -> None:
    flow = PipelineBuilder(INPUTS, state=("mean",), lookups=[Lookup("weather", ("city",))])
    flow.column(_named("taken", lambda x: x))
    with pytest.raises(ConfigError, match=f"column '{name}' is defined twice"):
        flow.features(name)(lambda x: x)


def test_a_name_twice_in_one_function() -> None:
    with pytest.raises(ConfigError, match="'y' is defined twice"):
        PipelineBuilder(INPUTS).features("y", "y")(lambda x: (x, x))


@pytest.mark.parametrize(
    "declare",
    [
        lambda: PipelineBuilder(INPUTS, state=("x",)),
        lambda: PipelineBuilder(INPUTS, lookups=[Lookup("city", ("city",))]),
        lambda: PipelineBuilder(INPUTS, state=("x_presence",)),
        lambda: PipelineBuilder(
            RecordSchema((Field("x", FieldType.BOOL), Field("x_presence", FieldType.BOOL)))
        ),
    ],
)
def test_two_sources_of_one_name(declare: Callable[[], PipelineBuilder]) -> None:
    with pytest.raises(ConfigError, match="names two of"):
        declare()


def test_a_pipeline_without_features() -> None:
    flow = PipelineBuilder(INPUTS)
    flow.column(_named("y", lambda x: x))
    with pytest.raises(ConfigError, match="has no feature"):
        flow.build()


def test_a_missing_state_entry_or_snapshot() -> None:
    flow = PipelineBuilder(INPUTS, state=("mean",), lookups=[Lookup("weather", ("city",))])
    flow.feature(_named("y", lambda x: x))
    pipeline = flow.build()
    with pytest.raises(ConfigError, match="the fitted state has no 'mean'"):
        pipeline.bind(FittedState({}), {"weather": WEATHER})
    with pytest.raises(ConfigError, match="lookup 'weather' has no snapshot"):
        pipeline.bind(FittedState({"mean": 1.0}), {})


@pytest.mark.parametrize(
    ("kind", "made", "said"),
    [
        (FeatureType.INT64, lambda x: x + 0.5, "declared int64, but its function made float64"),
        (FeatureType.BOOL, lambda x: x.astype(np.int64), "declared bool, but .* made int64"),
        (FeatureType.INT64, lambda x: x.astype(int)[:1], r"shape \(1,\) for 3 rows"),
        (FeatureType.STRING, lambda city: city[:1], r"shape \(1,\) for 3 rows"),
        (FeatureType.FLOAT32, lambda x: ["a"] * len(x), "declared float32"),
    ],
)
def test_a_column_that_is_not_as_declared(
    kind: FeatureType, made: Callable[..., Any], said: str
) -> None:
    flow = PipelineBuilder(INPUTS)
    flow.features("y", type=kind)(made)
    with pytest.raises(ConfigError, match=f"feature 'y' .*{said}|{said}"):
        run(flow)


# ---- columns ------------------------------------------------------------------------------------


def test_a_declared_column_is_not_copied_when_it_is_right() -> None:
    values = np.arange(3.0)
    assert declared_column("y", values, FeatureType.FLOAT64, 3) is values


def test_a_missing_number_in_an_object_column_becomes_nan() -> None:
    column = declared_column("y", objects(1.5, None), FeatureType.FLOAT64, 2)
    assert column[0] == 1.5
    assert math.isnan(column[1])


def test_token_lists_of_equal_length_stay_lists() -> None:
    column = declared_column("y", [["a", "b"], ["c", "d"]], FeatureType.TOKENS, 2)
    assert column.tolist() == [["a", "b"], ["c", "d"]]
    assert column.shape == (2,)


def test_category_codes_mark_what_training_never_saw() -> None:
    marked = category_codes(objects("UA", "ZZ", "AA"), {"AA": 0, "UA": 1})
    assert marked.status is not None
    assert marked.values[[0, 2]].tolist() == [1.0, 0.0]
    assert math.isnan(marked.values[1])
    assert marked.status.tolist() == [0, FeatureStatus.UNSEEN, 0]
    assert marked.status.dtype == np.uint8


def test_category_codes_without_unknown_values_need_no_status() -> None:
    assert category_codes(objects("AA"), {"AA": 0}).status is None


def test_a_missing_category_is_not_an_unseen_one() -> None:
    values, vocabulary = objects("AA", None, None, "ZZ"), {"AA": 0}
    plain = category_codes(values, vocabulary)
    assert plain.status is not None
    assert plain.status.tolist() == [0, FeatureStatus.NULL, FeatureStatus.NULL, 3]
    told_apart = category_codes(values, vocabulary, np.array([0, 1, 2, 0], np.uint8))
    assert told_apart.status is not None
    assert told_apart.status.tolist() == [0, FeatureStatus.NULL, FeatureStatus.ABSENT, 3]


# ---- any callable -------------------------------------------------------------------------------


def test_a_callable_stands_in_its_place() -> None:
    outputs = FeatureSchema(("y", "n"), (FeatureType.FLOAT64, FeatureType.INT64))
    pipeline = CallablePipeline(
        INPUTS, outputs, lambda c, state: {"n": [1, 2, 3], "y": c["x"] * state["k"], "extra": 0}
    )
    batch = pipeline.bind(FittedState({"k": 2.0}), {})(RECORDS)
    assert isinstance(pipeline, FeaturePipeline)
    assert batch.columns()["y"].tolist() == [2.0, 4.0, 8.0]
    assert batch.others["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, "returned no feature 'y'"),
        ({"y": [1.0]}, r"feature 'y' has shape \(1,\) for 3 rows"),
        ({"y": 1.0}, r"feature 'y' has shape \(\) for 3 rows"),
        ({"y": ["a", "b", "c"]}, "feature 'y' is declared float64"),
    ],
)
def test_a_callable_that_returns_something_else(made: dict[str, Any], said: str) -> None:
    pipeline = CallablePipeline(INPUTS, FeatureSchema.float64(("y",)), lambda _, __: made)
    with pytest.raises(ConfigError, match=said):
        pipeline.bind(FittedState({}), {})(RECORDS)


MISSHAPEN: list[tuple[Callable[[Floats], Any], str]] = [
    (lambda x: x.mean(), r"feature 'a' returned a float64 that is no 3 numbers for 3 records"),
    (lambda _: ["one", "two", "three"], r"'a' returned a list .*could not convert"),
    (lambda x: x[:2], r"column 'a' has 2 rows for 3 records; return one value a record"),
]


@pytest.mark.parametrize(("function", "said"), MISSHAPEN)
def test_a_function_that_returns_no_column_is_named(
    function: Callable[[Floats], Any], said: str
) -> None:
    flow = PipelineBuilder(INPUTS)

    @flow.feature
    def a(x: Floats) -> Any:
        return function(x)

    with pytest.raises(ConfigError, match=said):
        run(flow)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_one_column_is_not_repeated_for_several_features(rows: int) -> None:
    flow = PipelineBuilder(INPUTS)

    @flow.features("a", "b")
    def both(x: Floats) -> Floats:
        return x

    bound = flow.build().bind(FittedState({}), {})
    with pytest.raises(ConfigError, match=r"'a', 'b' have the shape .*tuple of 2 columns"):
        bound(RECORDS[:rows])


def test_columns_of_other_lengths_are_named_with_their_function() -> None:
    flow = PipelineBuilder(INPUTS)

    @flow.features("a", "b")
    def both(x: Floats) -> tuple[Floats, Floats]:
        return x, x[:1]

    with pytest.raises(ConfigError, match=r"feature 'a', 'b' returned a tuple"):
        run(flow)
