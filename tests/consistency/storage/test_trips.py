"""Round trips of hard values through every light form: what each keeps and what it loses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import ConfigError
from consistency.features import FeatureBatch, FeatureStatus
from consistency.schema import FeatureSchema, FeatureType
from consistency.storage import (
    LIGHT_FORMS,
    FormResult,
    StorageForm,
    StorageVerdict,
    check_storage,
    forms_named,
    gaps_in,
)
from tests.fixtures.strategies import columns

SCHEMA = FeatureSchema(
    ("x", "narrow", "count", "flag", "city", "words"),
    (
        FeatureType.FLOAT64,
        FeatureType.FLOAT32,
        FeatureType.INT64,
        FeatureType.BOOL,
        FeatureType.STRING,
        FeatureType.TOKENS,
    ),
)
ROWS = 6


def tokens(*lists: list[str]) -> np.ndarray[Any, Any]:
    out = np.empty(len(lists), object)
    out[:] = lists
    return out


def batch(x: list[float], status: list[int] | None = None) -> FeatureBatch:
    """Rows whose float64 feature holds what the test is about."""
    rows = len(x)
    cycle = np.arange(rows)
    codes = {} if status is None else {"x": np.array(status, np.uint8)}
    others = {
        "narrow": (cycle / 3).astype(np.float32),
        "count": cycle + 2**53 + 1,
        "flag": cycle % 2 == 0,
        "city": np.array(["Köln", "e\u0301", 'a,"b"\n', "NA", "1.5", "\u200b"] * rows, object)[
            :rows
        ],
        "words": tokens(*[["a", "ü"][: i % 3] for i in range(rows)]),
    }
    return FeatureBatch(SCHEMA, rows, np.array(x, np.float64)[:, None], others, codes)


def plain(rows: int = ROWS) -> FeatureBatch:
    return batch([math.pi * (i + 1) / 7 for i in range(rows)])


def through(form_id: str, features: FeatureBatch, **more: Any) -> FormResult:
    return check_storage(features, forms_named(LIGHT_FORMS, (form_id,)), **more).forms[0]


def feature(result: FormResult, name: str = "x") -> Any:
    return next(f for f in result.features if f.name == name)


def turned(form_id: str, features: FeatureBatch) -> set[str]:
    kinds = feature(through(form_id, features)).turned
    return {f"{t.before} → {t.after}" for t in kinds}


EXACT = [
    "json.orjson", "json.python", "csv.repr", "parquet", "arrow", "arrow.from_pandas", "feather",
    "numpy.npz", "sqlite.real", "sqlite.text",
]  # fmt: skip


@pytest.mark.parametrize("form_id", EXACT)
def test_finite_values_of_every_type_keep_every_bit(form_id: str) -> None:
    result = through(form_id, plain())
    assert not result.reason
    assert [f.name for f in result.features if f.held and not f.every_bit] == []
    assert result.size_bytes > 0


@pytest.mark.parametrize("form_id", ["json.python", "parquet", "arrow", "feather"])
def test_forms_that_hold_everything_are_safe(form_id: str) -> None:
    assert through(form_id, plain()).verdict is StorageVerdict.EVERY_BIT
    assert through(form_id, plain()).verdict.safe


@pytest.mark.parametrize(
    ("form_id", "not_held"),
    [("csv.repr", ["words"]), ("numpy.npz", ["city", "words"]), ("sqlite.real", ["words"])],
)
def test_what_a_form_cannot_hold_is_said_not_skipped(form_id: str, not_held: list[str]) -> None:
    result = through(form_id, plain())
    assert [f.name for f in result.features if not f.held] == not_held
    assert result.verdict is StorageVerdict.FAILED
    assert result.worst() == f"cannot hold {', '.join(not_held)}"


@pytest.mark.parametrize(
    ("form_id", "agrees"),
    [("csv.15g", True), ("csv.6f", False), ("parquet.float32", False), ("numpy.npy32", False)],
)
def test_lossy_forms_move_values_and_say_the_first(form_id: str, agrees: bool) -> None:
    found = feature(through(form_id, plain()))
    assert not found.same_bits
    assert found.comparison.agrees is agrees
    assert found.first.row == 0
    assert found.first.before == math.pi / 7
    assert found.first.ulps > 0
    assert repr(math.pi / 7) in str(found.first)


def test_one_float64_matrix_rounds_large_integers() -> None:
    found = feature(through("numpy.npy", plain()), "count")
    assert (found.first.before, found.first.after) == (2**53 + 1, 2**53)
    assert not found.comparison.agrees


NULL, ABSENT = FeatureStatus.NULL, FeatureStatus.ABSENT
GAPS = batch([math.nan, math.nan, math.nan, -0.0, 1.5, 5e-324], [0, NULL, ABSENT, 0, 0, 0])


@pytest.mark.parametrize(
    ("form_id", "lost"),
    [
        ("json.python", set()),
        ("json.orjson", {"NaN → null"}),
        ("csv.repr", {"absent → null"}),
        ("parquet", {"absent → null"}),
        ("arrow", {"absent → null"}),
        ("arrow.from_pandas", {"NaN → null", "absent → null"}),
        ("numpy.npz", {"null → NaN", "absent → NaN"}),
        ("sqlite.real", {"NaN → null", "absent → null", "-0.0 → value"}),
        ("sqlite.text", {"absent → null"}),
    ],
)
def test_null_absent_nan_and_minus_zero(form_id: str, lost: set[str]) -> None:
    assert turned(form_id, GAPS) == lost


def test_a_confused_gap_is_told_apart_from_a_moved_value() -> None:
    only_x = FeatureSchema.float64(("x",))
    features = replace(GAPS, schema=only_x, others={})
    result = through("parquet", features)
    assert result.verdict is StorageVerdict.PRESENCE_LOST
    assert not result.verdict.safe
    assert result.verdict.keeps_values
    assert feature(result).same_bits
    assert result.worst() == "x: absent → null (1 rows, first 2)"


def test_infinities_become_null_in_strict_json() -> None:
    features = batch([math.inf, -math.inf, 1.0])
    assert turned("json.orjson", features) == {"inf → null", "-inf → null"}
    assert not feature(through("json.orjson", features)).comparison.agrees
    for form_id in ("json.python", "csv.repr", "parquet", "sqlite.real", "sqlite.text"):
        assert feature(through(form_id, features)).every_bit


def test_what_float32_cannot_hold_becomes_an_infinity() -> None:
    assert turned("parquet.float32", batch([1e300, 1.0])) == {"value → inf"}


def test_an_empty_text_in_a_csv_is_a_gap() -> None:
    features = plain()
    features.others["city"][2] = ""
    found = feature(through("csv.repr", features), "city")
    assert [str(t) for t in found.turned] == ["empty text → null (1 rows, first 2)"]
    assert feature(through("parquet", features), "city").every_bit


def test_a_filled_value_is_a_value_whatever_its_status() -> None:
    features = batch([0.0, 7.5], [NULL, FeatureStatus.UNSEEN])
    assert feature(through("parquet", features)).every_bit
    assert dict(gaps_in(features)) == {"empty list": 1}


@given(st.data())
def test_exact_forms_keep_what_hypothesis_finds(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 5))
    x = data.draw(columns(FeatureType.FLOAT64, rows))
    narrow = data.draw(columns(FeatureType.FLOAT32, rows))
    count = data.draw(columns(FeatureType.INT64, rows))
    schema = FeatureSchema(SCHEMA.names[:3], SCHEMA.types[:3])
    features = FeatureBatch(schema, rows, x[:, None], {"narrow": narrow, "count": count})
    for form_id in ("json.python", "csv.repr", "parquet", "arrow", "numpy.npz", "sqlite.text"):
        result = through(form_id, features)
        assert result.verdict is StorageVerdict.EVERY_BIT, (form_id, result.worst(), result.reason)


# ---- scores -------------------------------------------------------------------------------------


def steep(features: FeatureBatch) -> Any:
    """A score that moves with every digit of x."""
    return features.column("x") * 1000.0


def stepped(features: FeatureBatch) -> Any:
    """A score as trees give it: most small moves of x cross no threshold."""
    return np.floor(features.column("x"))


def test_a_score_that_hides_moved_features_is_a_latent_skew() -> None:
    result = through("parquet.float32", plain(), score=stepped)
    assert result.verdict is StorageVerdict.LATENT_SKEW
    assert result.scores is not None
    assert result.scores.agrees
    assert not feature(result).comparison.agrees


def test_a_score_that_shows_them_has_moved() -> None:
    result = through("parquet.float32", plain(), score=steep)
    assert result.verdict is StorageVerdict.SCORES_MOVED
    assert result.scores is not None
    assert result.scores.rows_agreeing == 0
    assert not result.verdict.keeps_values


def test_without_a_model_moved_features_are_called_so() -> None:
    assert through("csv.6f", replace_others(plain())).verdict is StorageVerdict.FEATURES_MOVED


def test_within_the_tolerance_the_decimals_are_kept() -> None:
    result = through("csv.15g", replace_others(plain()), score=stepped)
    assert result.verdict is StorageVerdict.DECIMALS
    assert result.verdict.safe


def replace_others(features: FeatureBatch) -> FeatureBatch:
    return replace(features, schema=FeatureSchema.float64(("x",)), others={})


def test_scores_are_stored_too() -> None:
    features = replace_others(plain())
    exact = through("parquet", features, score=lambda f: f.column("x") / 3)
    assert exact.stored_scores is not None
    assert exact.stored_scores.rows_identical == ROWS
    rounded = through("csv.6f", features, score=lambda f: f.column("x") / 3)
    assert rounded.stored_scores is not None
    assert not rounded.stored_scores.agrees


def test_scores_of_several_columns_are_stored_and_compared() -> None:
    features = replace_others(plain())
    both = through("parquet", features, score=lambda f: np.column_stack([f.column("x")] * 2))
    assert both.verdict is StorageVerdict.EVERY_BIT
    assert both.stored_scores is not None
    assert both.stored_scores.rows_identical == ROWS


# ---- what could not run -------------------------------------------------------------------------


def test_a_model_that_does_not_repeat_itself_is_refused_as_a_judge() -> None:
    calls: list[int] = []

    def moody(features: FeatureBatch) -> Any:
        calls.append(1)
        return features.column("x") + 1e-13 * len(calls)

    with pytest.raises(ConfigError, match=r"other scores for the same rows \(6 of 6 rows"):
        check_storage(plain(), LIGHT_FORMS, score=moody)


def test_nothing_to_store_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one feature row"):
        check_storage(plain(), ())
    with pytest.raises(ConfigError, match="at least one feature row"):
        check_storage(batch([]), LIGHT_FORMS)


def test_a_missing_library_is_skipped_with_its_reason() -> None:
    form = replace(LIGHT_FORMS[0], id="exotic", library="no_such_library")
    result = check_storage(plain(), (form,)).forms[0]
    assert result.verdict is StorageVerdict.SKIPPED
    assert "'no_such_library' is not installed" in result.reason
    assert not result.verdict.safe


def test_a_form_that_breaks_or_loses_rows_has_failed() -> None:
    def broken(_: object) -> bytes:
        raise OverflowError("too large for this form")

    def short(data: bytes, schema: FeatureSchema) -> Any:
        table = LIGHT_FORMS[0].read(data, schema)
        return replace(table, cells={n: c[1:] for n, c in table.cells.items()})

    whole = LIGHT_FORMS[0]
    forms = (replace(whole, id="broken", write=broken), replace(whole, id="short", read=short))
    report = check_storage(plain(), forms)
    assert report.result("broken").verdict is StorageVerdict.FAILED
    assert report.result("broken").reason == "OverflowError: too large for this form"
    assert "came back with 5 of 6 rows" in report.result("short").reason


def test_forms_are_picked_by_id_or_group_and_typing_errors_are_told() -> None:
    assert [f.id for f in forms_named(LIGHT_FORMS, ("csv",))] == ["csv.repr", "csv.15g", "csv.6f"]
    assert forms_named(LIGHT_FORMS, ()) == LIGHT_FORMS
    with pytest.raises(ConfigError, match="storage form 'parket' is unknown"):
        forms_named(LIGHT_FORMS, ("parket",))


def test_the_report_is_json_and_a_table() -> None:
    seen: list[int] = []
    report = check_storage(GAPS, LIGHT_FORMS, on_form=lambda: seen.append(1))
    assert len(seen) == len(LIGHT_FORMS) == len(report.forms)
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["rows"] == ROWS
    assert [f["form"] for f in value["forms"]] == [f.id for f in LIGHT_FORMS]
    lines = report.table().splitlines()
    assert len(lines) == len(LIGHT_FORMS) + 1
    assert lines[0].split() == ["form", "bits", "gaps", "agree", "scores", "verdict"]
    with pytest.raises(KeyError):
        report.result("parket")


def test_every_form_says_what_it_is_and_where_its_loss_comes_from() -> None:
    assert len({f.id for f in LIGHT_FORMS}) == len(LIGHT_FORMS)
    assert all(isinstance(f, StorageForm) and f.title and f.loses for f in LIGHT_FORMS)
