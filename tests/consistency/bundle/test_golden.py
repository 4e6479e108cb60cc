from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from consistency.bundle import GoldenSet
from consistency.errors import BundleError
from consistency.features import FeatureBatch, feature_batch
from consistency.schema import FeatureSchema, FeatureType

NAN, INF = math.nan, math.inf
SCHEMA = FeatureSchema(
    ("x", "small", "n", "flag", "city", "words"),
    (
        FeatureType.FLOAT64,
        FeatureType.FLOAT32,
        FeatureType.INT64,
        FeatureType.BOOL,
        FeatureType.STRING,
        FeatureType.TOKENS,
    ),
)
FLOATS = st.one_of(st.sampled_from([0.0, -0.0, NAN, INF, -INF, 5e-324]), st.floats(width=64))


def token_lists(*values: list[str] | None) -> Any:
    out = np.empty(len(values), object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def all_kinds() -> FeatureBatch:
    return feature_batch(
        SCHEMA,
        {
            "x": np.array([NAN, -0.0, 1 / 3]),
            "small": np.array([NAN, INF, 0.1], np.float32),
            "n": np.array([2**53 + 1, -(2**63), 0]),
            "flag": np.array([True, False, True]),
            "city": np.array(["Köln", None, ""], object),
            "words": token_lists(["a", "b"], [], None),
        },
        {},
    )


def there_and_back(golden: GoldenSet) -> GoldenSet:
    return GoldenSet.from_parquet(golden.to_parquet(), golden.features.schema, "here")


def same_bits(a: Any, b: Any) -> bool:
    """Bit for bit, any NaN as good as another."""
    a, b = np.where(np.isnan(a), NAN, a), np.where(np.isnan(b), NAN, b)
    return bool(a.shape == b.shape and a.tobytes() == b.tobytes())


def test_every_kind_of_feature_comes_back() -> None:
    sent = all_kinds()
    found = there_and_back(GoldenSet([{}, {}, {}], sent, np.zeros(3))).features
    assert found.schema == SCHEMA
    assert same_bits(found.numeric, sent.numeric)
    for name in ("n", "flag"):
        assert found.column(name).dtype == sent.column(name).dtype
        assert found.column(name).tolist() == sent.column(name).tolist()
    assert found.column("small").dtype == np.float32
    assert same_bits(found.column("small"), sent.column("small"))
    assert found.column("city").tolist() == ["Köln", None, ""]
    assert found.column("words").tolist() == [["a", "b"], [], None]


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 3)), elements=FLOATS))
def test_numbers_come_back_bit_for_bit(values: Any) -> None:
    schema = FeatureSchema.float64(tuple(f"f{j}" for j in range(values.shape[1])))
    features = FeatureBatch(schema, len(values), np.asfortranarray(values))
    found = there_and_back(GoldenSet(None, features, values[:, 0].copy()))
    assert same_bits(found.features.numeric, values)
    assert same_bits(found.scores, values[:, 0])
    assert found.rows == len(values)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=FLOATS))
def test_scores_of_several_columns_come_back_bit_for_bit(scores: Any) -> None:
    features = FeatureBatch(FeatureSchema.float64(("x",)), len(scores), np.zeros((len(scores), 1)))
    assert same_bits(there_and_back(GoldenSet(None, features, scores)).scores, scores)


def test_records_come_back_as_the_json_they_were() -> None:
    records = [
        {"x": 0.1, "n": 2**53 + 1, "s": "Köln", "gap": None},
        {"x": -0.0, "list": ["a"], "deep": {"k": 1.5e-300}},
        {},
    ]
    features = FeatureBatch(FeatureSchema.float64(("x",)), 3, np.zeros((3, 1), order="F"))
    found = there_and_back(GoldenSet(records, features, np.zeros(3))).records
    assert found == records
    assert found is not None
    assert math.copysign(1, found[1]["x"]) == -1
    assert type(found[0]["n"]) is int


def test_a_set_without_records_comes_back_without() -> None:
    features = FeatureBatch(FeatureSchema.float64(("x",)), 2, np.ones((2, 1), order="F"))
    assert there_and_back(GoldenSet(None, features, np.ones(2))).records is None


def test_other_features_than_the_schemas_are_refused() -> None:
    data = GoldenSet([{}, {}, {}], all_kinds(), np.zeros(3)).to_parquet()
    with pytest.raises(BundleError, match=r"unusable golden set.*feature:y"):
        GoldenSet.from_parquet(data, FeatureSchema.float64(("y",)), "here")


def test_no_damage_gives_anything_but_a_bundle_error() -> None:
    golden = GoldenSet([{"x": i} for i in range(3)], all_kinds(), np.zeros(3))
    data = golden.to_parquet()
    refused = 0
    for position in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        for raw in (bytes(damaged), data[:position]):
            try:
                GoldenSet.from_parquet(raw, SCHEMA, "here")
            except BundleError:
                refused += 1
    assert refused > len(data) // 3
