from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from consistency import FeatureSchema, FeatureType, Field, FieldType, FittedState, RecordSchema
from consistency.errors import ConfigError, DataError
from consistency.laws import check_all_laws
from consistency.laws.verdict import Law, Verdict
from consistency.pipeline import BoundPipeline, FeaturePipeline
from samescore.sklearn_pipeline import InputForm, SklearnPipeline
from tests.fixtures.sklearn_features import CUSTOMER, NUMBERS, components, pipeline, rowwise

pytestmark = pytest.mark.slow  # importing scikit-learn and pandas takes seconds

NUMERIC = ["amount", "age", "children", "since"]


def customers(rows: int, seed: int = 3) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    for i in range(rows):
        record: dict[str, Any] = {
            "amount": None if i % 5 == 2 else float(rng.normal(100, 40)),
            "age": int(rng.integers(18, 90)),
            "city": [None, "Bonn", "Kiel", "Ulm"][i % 4],
            "member": [None, True, False][i % 3],
        }
        if i % 2:
            record["children"] = int(rng.integers(0, 5))
            record["since"] = f"20{10 + i % 15}-01-01T00:00:00Z"
        records.append(record)
    return records


def points(rows: int) -> list[dict[str, float]]:
    x = np.random.default_rng(4).normal(size=(rows, 12)) * 1000
    return [{f"x{i}": float(v) for i, v in enumerate(row)} for row in x]


def transformer() -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="mean"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("num", numbers, NUMERIC), ("cat", texts, ["city", "member"])])


@pytest.fixture(scope="module")
def fitted() -> Any:
    return transformer().fit(pipeline.frame(customers(300)))


@pytest.fixture(scope="module")
def bound(fitted: Any) -> BoundPipeline:
    return pipeline.bind(pipeline.fitted_state(fitted), {})


def matrix(bound: BoundPipeline, records: list[dict[str, Any]]) -> NDArray:
    return bound(records).matrix()


def test_it_is_a_feature_pipeline() -> None:
    assert isinstance(pipeline, FeaturePipeline)


def test_features_are_what_the_transformer_makes_of_the_frame(
    fitted: Any, bound: BoundPipeline
) -> None:
    records = customers(50, seed=8)
    made = bound(records)
    assert made.schema.names == tuple(fitted.get_feature_names_out())
    expected = fitted.transform(pipeline.frame(records))
    np.testing.assert_array_equal(made.matrix(), np.asarray(expected))


def test_a_dtype_depends_on_the_schema_and_not_on_the_batch() -> None:
    def dtypes(records: list[dict[str, Any]]) -> dict[str, str]:
        return {name: str(kind) for name, kind in pipeline.frame(records).dtypes.items()}

    whole = {"amount": 1.0, "age": 3, "children": 2, "city": "Bonn", "member": True,
             "since": "2026-01-01T00:00:00Z"}  # fmt: skip
    gaps = {"amount": None, "age": 3, "city": None, "member": None}
    assert dtypes([whole]) == dtypes([gaps]) == dtypes([whole, gaps])
    assert dtypes([whole]) == {
        "amount": "float64", "age": "int64", "children": "float64", "city": "object",
        "member": "float64", "since": "float64",
    }  # fmt: skip
    frame = pipeline.frame([gaps])
    assert frame.isna().to_numpy().tolist() == [[True, False, True, True, True, True]]
    assert isinstance(frame, pd.DataFrame)


def test_an_integer_that_a_gap_would_round_is_refused() -> None:
    good = {"amount": 1.0, "age": 2**53 + 1, "city": "Bonn", "member": True}
    assert pipeline.frame([good])["age"].tolist() == [2**53 + 1]
    with pytest.raises(DataError, match="row 1 field 'children'"):
        pipeline.frame([good, {**good, "children": 2**53 + 1}])


# -------------------------------------------------------------------------------------------- laws


def test_it_obeys_every_law_to_the_last_bit(bound: BoundPipeline) -> None:
    results = {r.law: r for r in check_all_laws(bound, customers(120))}
    skipped = {law for law, r in results.items() if r.verdict is Verdict.SKIPPED}
    # no field is declared distinct, and a machine may have no other locale
    assert skipped <= {Law.MISSING_VALUES_DISTINCT, Law.LOCALE_INDEPENDENT}
    assert {law: r.detail for law, r in results.items() if r.verdict is Verdict.VIOLATED} == {}


def pca(given: SklearnPipeline) -> BoundPipeline:
    records = points(500)
    made = Pipeline([("scale", StandardScaler()), ("pca", PCA(3, random_state=0))])
    made.set_output(transform="default").fit(given.frame(records))
    return given.bind(given.fitted_state(made), {})


def test_matrix_products_stay_within_ten_decimals() -> None:
    results = check_all_laws(pca(components), points(120), bitwise=False)
    broken = {r.law for r in results if r.verdict is Verdict.VIOLATED}
    assert broken == set(), results


def test_row_by_row_matrix_products_keep_every_bit() -> None:
    results = check_all_laws(pca(rowwise), points(120))
    assert {r.law for r in results if r.verdict is Verdict.VIOLATED} == set(), results


def test_unseen_categories_are_all_zeros(bound: BoundPipeline) -> None:
    record = {**customers(2)[1], "city": "Atlantis"}
    made = bound([record])
    cities = [n for n in made.schema.names if "city" in n]
    assert len(cities) == 4  # one of them for the missing one
    assert [made.column(n)[0] for n in cities] == [0.0] * 4


def test_sparse_text_features_are_made_dense() -> None:
    texts = SklearnPipeline(RecordSchema((Field("text", FieldType.STRING),)))
    words = ColumnTransformer([("words", TfidfVectorizer(), "text")], sparse_threshold=1.0)
    records = [{"text": t} for t in ("a red fox", "the red red sun", "sun and fox", "")]
    fitted = words.fit(texts.frame(records))
    made = texts.bind(texts.fitted_state(fitted), {})(records)
    expected = fitted.transform(texts.frame(records))
    assert hasattr(expected, "toarray")
    np.testing.assert_array_equal(made.matrix(), expected.toarray())
    assert "words__sun" in made.schema.names


# ---------------------------------------------------------------------------- state and declaration


def test_the_fitted_state_is_a_fingerprint(fitted: Any) -> None:
    again = transformer().fit(pipeline.frame(customers(300)))
    other = transformer().fit(pipeline.frame(customers(301)))
    digest = pipeline.fitted_state(fitted).digest
    assert pipeline.fitted_state(again).digest == digest
    assert pipeline.fitted_state(other).digest != digest
    stored = FittedState.from_bytes(pipeline.fitted_state(fitted, note="x").to_bytes())
    assert stored["note"] == "x"
    records = customers(20)
    np.testing.assert_array_equal(
        matrix(pipeline.bind(stored, {}), records),
        matrix(pipeline.bind(pipeline.fitted_state(fitted), {}), records),
    )


def twice(values: Any) -> Any:
    return values * 2


def test_a_type_that_the_package_does_not_trust_is_refused_when_it_is_stored() -> None:
    records = points(4)
    names = FeatureSchema.float64(tuple(f"x{i}" for i in range(12)))
    doubling = FunctionTransformer(twice).fit(components.frame(records))
    with pytest.raises(ConfigError, match=r"nobody trusts yet: .*twice.*trusted_types"):
        SklearnPipeline(NUMBERS, names).fitted_state(doubling)


def test_a_package_may_build_its_transformer_from_plain_numbers() -> None:
    def build(state: FittedState) -> Any:
        made = StandardScaler()
        made.mean_, made.scale_ = state["mean"], state["scale"]
        made.n_features_in_ = 12
        return made

    names = FeatureSchema.float64(tuple(f"x{i}" for i in range(12)))
    plain = SklearnPipeline(NUMBERS, names, form=InputForm.MATRIX, build=build)
    records = points(30)
    scaler = StandardScaler().fit(plain.frame(records))
    state = FittedState({"mean": scaler.mean_, "scale": scaler.scale_})
    np.testing.assert_array_equal(
        matrix(plain.bind(state, {}), records), scaler.transform(plain.frame(records))
    )


def test_other_features_than_declared_are_refused_with_both_lists(fitted: Any) -> None:
    wrong = replace(pipeline, outputs=FeatureSchema.float64(("a", "b")))
    with pytest.raises(ConfigError, match=r"declares the features a, b, .* makes num__amount"):
        wrong.bind(wrong.fitted_state(fitted), {})


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (FittedState({}), "has no 'transformer'"),
        (FittedState({"transformer": np.zeros(8, np.uint8)}), "is damaged.*bundle the model anew"),
    ],
)
def test_a_state_without_a_whole_transformer_is_refused(state: FittedState, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        pipeline.bind(state, {})


def test_features_may_be_of_several_types() -> None:
    kept = SklearnPipeline(
        RecordSchema((Field("city", FieldType.STRING), Field("age", FieldType.INT64))),
        FeatureSchema(("city", "age"), (FeatureType.STRING, FeatureType.INT64)),
    )
    records = [{"city": "Bonn", "age": 2}, {"city": "Ulm", "age": 2**53 + 1}]
    same = FunctionTransformer(feature_names_out="one-to-one").fit(kept.frame(records))
    made = kept.bind(kept.fitted_state(same), {})(records)
    assert made.columns()["city"].tolist() == ["Bonn", "Ulm"]
    assert made.columns()["age"].tolist() == [2, 2**53 + 1]


def test_texts_have_no_place_in_a_matrix() -> None:
    with pytest.raises(ConfigError, match="field 'city' has no place in a matrix"):
        SklearnPipeline(CUSTOMER, form=InputForm.MATRIX).frame(customers(3))
