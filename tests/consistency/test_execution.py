from __future__ import annotations

import numpy as np
import pytest

from consistency.errors import BackendError, ConfigError, DataError
from consistency.execution import (
    MAX_PADDED_ROWS,
    Execution,
    ExecutionMode,
    PaddedScorer,
    apply_execution,
)
from consistency.features import FeatureBatch, FeatureStatus, take_rows
from consistency.protocols import ScorerInfo
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outputs

SCHEMA = FeatureSchema(
    ("a", "city", "b"), (FeatureType.FLOAT64, FeatureType.STRING, FeatureType.FLOAT64)
)


def batch_of(rows: int) -> FeatureBatch:
    numeric = np.asfortranarray(np.arange(2.0 * rows).reshape(rows, 2))
    cities = np.array([f"city {i}" for i in range(rows)], dtype=object)
    status = {"a": np.arange(rows, dtype=np.uint8) % len(FeatureStatus)}
    return FeatureBatch(SCHEMA, rows, numeric, {"city": cities}, status, {"weather": "id"})


class RecordingScorer:
    info = ScorerInfo("fake", "float64")

    def __init__(self) -> None:
        self.batches: list[FeatureBatch] = []

    def score(self, features: FeatureBatch) -> Outputs:
        self.batches.append(features)
        return {"sum": features.numeric.sum(axis=1), "both": np.array(features.numeric)}


class ScalarScorer(RecordingScorer):
    def score(self, features: FeatureBatch) -> Outputs:
        return {"mean": np.array(0.5)}


@pytest.mark.parametrize("text", ["as_is", "float64", "padded:1", "padded:16", "padded:4096"])
def test_a_setting_survives_the_way_through_text(text: str) -> None:
    assert str(Execution.parse(text)) == text


def test_a_padded_setting_knows_its_rows() -> None:
    assert Execution.parse("padded:64") == Execution(ExecutionMode.PADDED, 64)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "padded",
        "padded:",
        "padded:0",
        f"padded:{MAX_PADDED_ROWS + 1}",
        "padded:-1",
        "padded:1.5",
        "padded:٣",
        "as_is:3",
        "float64:",
        "AS_IS",
        "float32",
    ],
)
def test_an_unusable_setting_is_named_with_its_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match="padded:N") as caught:
        Execution.parse(text)
    assert (text or "''") in str(caught.value)


def test_rows_belong_to_padded_settings_only() -> None:
    with pytest.raises(ConfigError, match="take none"):
        Execution(ExecutionMode.AS_IS, 16)


@pytest.mark.parametrize("text", ["as_is", "float64"])
def test_modes_without_padding_leave_the_scorer_alone(text: str) -> None:
    scorer = RecordingScorer()
    assert apply_execution(Execution.parse(text), scorer) is scorer


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 11])
def test_the_model_sees_one_batch_size_and_the_caller_its_own(rows: int) -> None:
    within = RecordingScorer()
    scorer = apply_execution(Execution.parse("padded:4"), within)
    batch = batch_of(rows)

    outputs = scorer.score(batch)

    assert {b.rows for b in within.batches} == {4}
    assert len(within.batches) == -(-rows // 4)
    np.testing.assert_array_equal(outputs["sum"], batch.numeric.sum(axis=1))
    np.testing.assert_array_equal(outputs["both"], batch.numeric)
    assert scorer.info is within.info


def test_a_batch_of_the_right_size_is_not_copied() -> None:
    within, batch = RecordingScorer(), batch_of(4)
    PaddedScorer(within, 4).score(batch)
    assert within.batches[0] is batch


def test_padding_repeats_the_last_row_in_every_part() -> None:
    within = RecordingScorer()
    PaddedScorer(within, 4).score(batch_of(2))
    (padded,) = within.batches
    assert padded.column("a").tolist() == [0.0, 2.0, 2.0, 2.0]
    assert padded.column("city").tolist() == ["city 0", "city 1", "city 1", "city 1"]
    assert padded.status["a"].tolist() == [0, 1, 1, 1]
    assert padded.snapshots == {"weather": "id"}


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(DataError, match="0 rows"):
        PaddedScorer(RecordingScorer(), 4).score(batch_of(0))


def test_a_model_that_does_not_answer_by_row_is_refused() -> None:
    with pytest.raises(BackendError, match=r"'mean' has shape \(\), expected 4 rows"):
        PaddedScorer(ScalarScorer(), 4).score(batch_of(2))


@pytest.mark.parametrize(
    "rows", [slice(1, 3), slice(None), slice(4, 9), np.array([3, 0, 0]), np.array([], dtype=int)]
)
def test_taken_rows_are_those_rows_with_contiguous_columns(rows: slice | np.ndarray) -> None:
    batch = batch_of(5)
    taken = take_rows(batch, rows)
    np.testing.assert_array_equal(taken.numeric, batch.numeric[rows])
    assert taken.rows == len(batch.numeric[rows])
    assert taken.column("city").tolist() == batch.column("city")[rows].tolist()
    assert taken.status["a"].tolist() == batch.status["a"][rows].tolist()
    assert taken.column("b").flags.c_contiguous
    assert taken.schema is batch.schema


def test_a_row_outside_the_batch_is_an_error() -> None:
    with pytest.raises(IndexError):
        take_rows(batch_of(2), np.array([2]))
