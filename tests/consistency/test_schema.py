"""Schemas: unique names, exact JSON."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import ConfigError
from consistency.schema import FeatureSchema, FeatureType, Field, FieldType, RecordSchema

names = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=6)


@st.composite
def record_schemas(draw: st.DrawFn) -> RecordSchema:
    fields = [
        Field(
            name,
            draw(st.sampled_from(FieldType)),
            draw(st.booleans()),
            draw(st.booleans()),
            draw(st.text(max_size=8)),
        )
        for name in draw(names)
    ]
    return RecordSchema(tuple(fields), allow_extra=draw(st.booleans()))


@given(record_schemas())
def test_a_record_schema_survives_json(schema: RecordSchema) -> None:
    again = RecordSchema.from_json(orjson.loads(orjson.dumps(schema.to_json())))
    assert again == schema
    assert again.names == schema.names == {f.name for f in schema.fields}


@given(names, st.data())
def test_a_feature_schema_survives_json(chosen: list[str], data: st.DataObject) -> None:
    types = tuple(data.draw(st.sampled_from(FeatureType)) for _ in chosen)
    schema = FeatureSchema(tuple(chosen), types)
    again = FeatureSchema.from_json(orjson.loads(orjson.dumps(schema.to_json())))
    assert again == schema
    assert again.numeric_names == schema.numeric_names
    assert len(again) == len(chosen)


def test_a_field_is_required_and_not_nullable_unless_said_otherwise() -> None:
    field = Field("x", FieldType.FLOAT64)
    assert (field.required, field.nullable) == (True, False)


@pytest.mark.parametrize(
    "declare",
    [
        lambda: RecordSchema((Field("x", FieldType.BOOL), Field("x", FieldType.STRING))),
        lambda: FeatureSchema.float64(("x", "y", "x")),
    ],
)
def test_a_name_declared_twice_is_refused(declare: object) -> None:
    assert callable(declare)
    with pytest.raises(ConfigError, match="'x' is declared twice"):
        declare()


def test_names_and_types_must_be_as_many() -> None:
    with pytest.raises(ConfigError, match="2 names, 1 types"):
        FeatureSchema(("x", "y"), (FeatureType.FLOAT64,))


def test_numeric_names_are_the_float64_features_in_order() -> None:
    schema = FeatureSchema(
        ("b", "s", "a", "f"),
        (FeatureType.FLOAT64, FeatureType.STRING, FeatureType.FLOAT64, FeatureType.FLOAT32),
    )
    assert schema.numeric_names == ("b", "a")
    assert not schema.all_float64
    assert FeatureSchema.float64(("b", "a")).all_float64


@pytest.mark.parametrize("kind", FeatureType)
def test_each_feature_type_has_a_dtype(kind: FeatureType) -> None:
    expected = object if kind in (FeatureType.STRING, FeatureType.TOKENS) else kind.value
    assert np.dtype(kind.numpy) == np.dtype(expected)
