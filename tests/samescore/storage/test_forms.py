"""Forms that need pandas, protobuf or TensorFlow, on the tiny bundle's real feature rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consistency.bundle import bind_pipeline, open_bundle
from consistency.features import FeatureBatch
from consistency.schema import FeatureSchema
from consistency.scored import Scores
from consistency.storage import StorageReport, StorageVerdict, check_storage, forms_named
from samescore import all_forms
from serving.loaders import load_scorer
from tests.fixtures.tiny import PACKAGE, Tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def features(tiny: Tiny) -> FeatureBatch:
    pipeline = bind_pipeline(open_bundle(tiny.bundle), trusted={PACKAGE}, store=tiny.store)
    assert pipeline is not None
    return pipeline(tiny.records)


@pytest.fixture(scope="module")
def report(tiny: Tiny, features: FeatureBatch) -> StorageReport:
    bundle = open_bundle(tiny.bundle)
    scorer = load_scorer(bundle.manifest.model_format, tiny.bundle, threads=1)

    def score(rows: FeatureBatch) -> Scores:
        return bundle.manifest.postprocess(scorer.score(rows))

    return check_storage(features, all_forms(), score=score)


def test_every_form_was_tried(report: StorageReport) -> None:
    assert [f.form_id for f in report.forms] == [f.id for f in all_forms()]
    assert report.with_verdict(StorageVerdict.SKIPPED, StorageVerdict.FAILED) == ()
    assert report.control is not None
    assert report.control.rows_identical == report.rows == 300


@pytest.mark.parametrize(
    "form_id", ["tfrecord", "protobuf.float", "parquet.float32", "numpy.npy32"]
)
def test_float32_moves_features_that_the_trees_hide(report: StorageReport, form_id: str) -> None:
    result = report.result(form_id)
    assert result.verdict is StorageVerdict.LATENT_SKEW
    assert "amount_centred" in {f.name for f in result.moved}
    assert result.scores is not None
    assert result.scores.rows_identical == report.rows


def test_six_decimals_move_a_score(report: StorageReport) -> None:
    assert report.result("csv.6f").verdict is StorageVerdict.SCORES_MOVED


@pytest.mark.parametrize(
    ("form_id", "lost"),
    [
        ("protobuf.double", {"null → absent"}),
        ("pandas.parquet", {"null → NaN", "absent → NaN"}),
        ("pandas.csv.round_trip", {"null → NaN", "absent → NaN"}),
    ],
)
def test_exact_forms_confuse_gaps_alone(
    report: StorageReport, form_id: str, lost: set[str]
) -> None:
    result = report.result(form_id)
    assert all(f.same_bits for f in result.features)
    assert {f"{t.before} → {t.after}" for f in result.features for t in f.turned} == lost
    assert result.verdict is StorageVerdict.PRESENCE_LOST


def test_tfrecords_keep_null_absent_and_nan_apart(report: StorageReport) -> None:
    assert not any(f.turned for f in report.result("tfrecord").features)


@pytest.mark.parametrize("form_id", ["pandas.to_json", "pandas.read_json"])
def test_pandas_json_moves_bits(report: StorageReport, form_id: str) -> None:
    result = report.result(form_id)
    assert not all(f.same_bits for f in result.features)
    assert "amount_centred" in {f.name for f in result.moved}


SCALARS = ("pandas.csv", "pandas.parquet", "protobuf.double", "protobuf.float", "tfrecord")


@pytest.mark.parametrize("form_id", SCALARS)
def test_other_types_pass_too(form_id: str) -> None:
    schema = FeatureSchema.from_json(
        [
            {"name": "city", "type": "string"},
            {"name": "count", "type": "int64"},
            {"name": "flag", "type": "bool"},
            {"name": "narrow", "type": "float32"},
        ]
    )
    others: dict[str, Any] = {
        "city": np.array(["Köln", "007", "\u200b", "a,\n"], object),
        "count": np.array([2**53 + 1, -1, 0, 2**62]),
        "flag": np.array([True, False, True, True]),
        "narrow": np.array([0.1, 1e-45, -0.0, 3e38], np.float32),
    }
    rows = FeatureBatch(schema, 4, np.empty((4, 0)), others)
    result = check_storage(rows, forms_named(all_forms(), (form_id,))).forms[0]
    assert result.verdict is StorageVerdict.EVERY_BIT, (result.worst(), result.features)


def test_texts_that_look_missing_are_gaps_to_pandas() -> None:
    schema = FeatureSchema.from_json([{"name": "country", "type": "string"}])
    others = {"country": np.array(["NA", "DE"], object)}
    rows = FeatureBatch(schema, 2, np.empty((2, 0)), others)
    form = forms_named(all_forms(), ("pandas.csv.round_trip",))
    found = check_storage(rows, form).forms[0].features[0]
    assert [str(t) for t in found.turned] == ["value → null (1 rows, first 0)"]


def test_a_token_list_fits_into_an_example() -> None:
    schema = FeatureSchema.from_json([{"name": "words", "type": "tokens"}])
    words = np.empty(2, object)
    words[:] = [["a", "ü"], ["b"]]
    rows = FeatureBatch(schema, 2, np.empty((2, 0)), {"words": words})
    result = check_storage(rows, forms_named(all_forms(), ("tfrecord",))).forms[0]
    assert result.verdict is StorageVerdict.EVERY_BIT


def test_without_tensorflow_the_form_is_skipped_and_says_so() -> None:
    form = forms_named(all_forms(), ("tfrecord",))[0]
    assert form.library == "tensorflow"
    assert "not installed" in replace(form, library="tensorflow_missing.core").missing_library()
