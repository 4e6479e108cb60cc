from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consistency.bundle import GoldenSet
from consistency.errors import BackendError
from consistency.features import FeatureBatch
from consistency.gate import GateReport, run_gate
from consistency.graph import PipelineBuilder
from consistency.pipeline import BoundPipeline
from consistency.postprocess import PostProcess
from consistency.protocols import Scorer
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType, Field, FieldType, RecordSchema
from consistency.state import FittedState
from tests.fakes.scorers import BatchVariantScorer, FailingScorer, LinearScorer

FIELDS = RecordSchema((Field("x", FieldType.FLOAT64), Field("city", FieldType.STRING)))
RECORDS = [{"x": 0.1 * i + 1 / 3, "city": "Bonn"} for i in range(30)]


def pipeline_of(double: Callable[[Column], Column]) -> BoundPipeline:
    flow = PipelineBuilder(FIELDS)

    @flow.feature
    def doubled(x: Column) -> Column:
        return double(x)

    @flow.feature
    def squared(x: Column) -> Column:
        return x * x

    return flow.build().bind(FittedState({}), {})


PIPELINE = pipeline_of(lambda x: 2.0 * x)


def golden_of(pipeline: BoundPipeline, rows: int = 30) -> GoldenSet:
    features = pipeline(RECORDS[:rows])
    return GoldenSet(RECORDS[:rows], features, LinearScorer().score(features)["score"])


def gate(
    golden: GoldenSet,
    pipeline: BoundPipeline | None = PIPELINE,
    scorer: Scorer | None = None,
    **how: Any,
) -> GateReport:
    how = {"decimals": 10, "max_batch": 16} | how
    return run_gate(golden, pipeline, scorer or LinearScorer(), PostProcess(), **how)


def test_a_version_that_reproduces_its_golden_rows_passes() -> None:
    report = gate(golden_of(PIPELINE))
    assert report.passed
    for check in report.checks:
        assert check.scores.rows == check.scores.rows_identical == 30
        assert check.features is not None
        assert check.features.rows_identical == 30
        assert check.detail == ""


@pytest.mark.parametrize(
    ("rows", "max_batch", "sizes"),
    [
        (30, 16, [1, 4, 16]),
        (30, 64, [1, 5, 30]),
        (30, 1, [1]),
        (1, 64, [1]),
        (2, 64, [1, 2]),
        (3, 3, [1, 2, 3]),
    ],
)
def test_it_is_scored_at_one_row_at_a_middle_and_at_the_maximal_batch(
    rows: int, max_batch: int, sizes: list[int]
) -> None:
    scorer = LinearScorer()
    report = gate(golden_of(PIPELINE, rows), scorer=scorer, max_batch=max_batch)
    assert [check.batch_rows for check in report.checks] == sizes
    assert [check.scores.rows for check in report.checks] == [rows] * len(sizes)
    assert {1, max(sizes)} <= set(scorer.batches)
    assert max(scorer.batches) == max(sizes)


def test_a_changed_feature_fails_and_is_named_with_all_digits() -> None:
    moved = pipeline_of(lambda x: 2.0 * x + 1e-9)
    report = gate(golden_of(PIPELINE), moved)
    assert not report.passed
    check = report.checks[0]
    assert check.features is not None
    assert check.features.rows_agreeing == 0
    here = moved(RECORDS).numeric[:, 0]
    golden = PIPELINE(RECORDS).numeric[:, 0]
    worst = int(np.argmax(np.abs(here - golden)))
    assert check.detail == (
        f"golden row {worst} feature 'doubled': here {float(here[worst])!r}, "
        f"golden {float(golden[worst])!r}"
    )


def test_a_feature_that_moved_without_moving_the_score_fails_all_the_same() -> None:
    golden = golden_of(PIPELINE)
    still = replace(golden, scores=np.zeros(30))

    class Deaf(LinearScorer):
        def score(self, features: FeatureBatch) -> dict[str, Any]:
            return {"score": np.zeros(features.rows)}

    assert gate(still, scorer=Deaf()).passed
    report = gate(still, pipeline_of(lambda x: 2.1 * x), Deaf())
    assert not report.passed
    assert all(check.scores.agrees for check in report.checks)


def test_a_model_whose_scores_depend_on_the_batch_fails_where_they_do() -> None:
    golden = golden_of(PIPELINE)
    alone = np.concatenate([BatchVariantScorer().score(PIPELINE([r]))["score"] for r in RECORDS])
    golden = replace(golden, scores=alone.astype(np.float64))
    report = gate(golden, scorer=BatchVariantScorer())
    assert {check.batch_rows: check.passed for check in report.checks} == {
        1: True,
        4: False,
        16: False,
    }
    assert not report.passed
    assert "golden row" in report.checks[1].detail
    assert "score" in report.checks[1].detail
    assert str(report).splitlines()[-1] == (
        "  the scores move with the size of the batch: bundle the model with execution float64 or "
        "padded:N"
    )


def test_the_batch_is_blamed_for_nothing_else() -> None:
    golden = golden_of(PIPELINE)
    other = replace(golden, scores=golden.scores + 1e-6)
    moved = pipeline_of(lambda x: 2.1 * x)
    for report in (gate(golden), gate(other), gate(golden, moved, BatchVariantScorer())):
        assert not report.moves_with_batch
        assert "size of the batch" not in str(report)


def test_fewer_decimals_let_a_float32_model_pass() -> None:
    golden = replace(golden_of(PIPELINE), scores=golden_of(PIPELINE).scores)
    strict = gate(golden, scorer=BatchVariantScorer())
    loose = gate(golden, scorer=BatchVariantScorer(), decimals=4)
    assert not strict.passed
    assert loose.passed
    assert (strict.decimals, loose.decimals) == (10, 4)


def test_a_golden_record_that_the_pipeline_refuses_fails_with_its_reason() -> None:
    golden = golden_of(PIPELINE)
    assert golden.records is not None
    bad = [*golden.records[:-1], {"x": "one", "city": "Bonn"}]
    report = gate(replace(golden, records=bad))
    assert not report.passed
    for check in report.checks:
        assert check.scores.rows == 30
        assert not check.scores.agrees
        assert "a golden record is refused: 数据错误" in check.detail
        assert "'x'" in check.detail


def test_a_golden_set_without_a_row_is_no_pass() -> None:
    schema = FeatureSchema.float64(("doubled", "squared"))
    empty = GoldenSet([], FeatureBatch(schema, 0, np.empty((0, 2), order="F")), np.empty(0))
    report = gate(empty)
    assert report.checks == ()
    assert not report.passed
    assert not GateReport(10, ()).passed


def test_a_model_that_is_sent_feature_rows_is_gated_from_them() -> None:
    golden = replace(golden_of(PIPELINE), records=None)
    report = gate(golden, None)
    assert report.passed
    assert all(check.features is None for check in report.checks)
    assert not gate(golden, None, LinearScorer(intercept=1e-10)).passed


def test_features_that_are_no_numbers_are_gated_too() -> None:
    def pipeline(suffix: str) -> BoundPipeline:
        flow = PipelineBuilder(FIELDS)
        flow.feature(_named("x2", lambda x: x * 2))
        flow.features("town", type=FeatureType.STRING)(
            _named("town", lambda city: np.array([c + suffix for c in city], object))
        )
        return flow.build().bind(FittedState({}), {})

    class Constant(LinearScorer):
        def score(self, features: FeatureBatch) -> dict[str, Any]:
            return {"score": np.ones(features.rows)}

    golden = GoldenSet(RECORDS, pipeline("")(RECORDS), np.ones(30))
    assert gate(golden, pipeline(""), Constant()).passed
    report = gate(golden, pipeline("!"), Constant())
    assert not report.passed
    assert "feature 'town': here 'Bonn!', golden 'Bonn'" in report.checks[0].detail


def test_a_model_that_cannot_score_at_all_is_an_error() -> None:
    with pytest.raises(BackendError, match="out of order"):
        gate(golden_of(PIPELINE), scorer=FailingScorer())


def test_the_report_reads_as_a_verdict_with_figures() -> None:
    good = str(gate(golden_of(PIPELINE)))
    assert good.splitlines()[0] == "golden gate to 10 decimals: passed"
    assert "batch 16: scores 30/30 agree" in good
    bad = str(gate(golden_of(PIPELINE), scorer=LinearScorer(intercept=1.0)))
    assert bad.splitlines()[0] == "golden gate to 10 decimals: FAILED"
    assert "scores 0/30 agree, largest |Δ| 1; features 30/30; golden row" in bad


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function
