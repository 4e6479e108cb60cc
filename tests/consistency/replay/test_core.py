from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.codecs import codec_named
from consistency.compare import Tolerance
from consistency.diagnose import Cause, explain_batch
from consistency.errors import ConfigError, DataError, ReplayError
from consistency.features import FeatureBatch
from consistency.graph import PipelineBuilder
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.log.reader import TORN_TAIL
from consistency.opaque import read_answer
from consistency.pipeline import BoundPipeline, Lookup
from consistency.postprocess import Platt, PostProcess
from consistency.protocols import Damage, Decoded, Scorer
from consistency.records import Column
from consistency.replay import (
    BatchPlan,
    ModelReport,
    ReplayMode,
    ReplayReport,
    ReplaySettings,
    ReplayTarget,
    replay,
)
from consistency.replay.core import CHUNK_ROWS
from consistency.schema import FeatureSchema, FeatureType, Field, FieldType, RecordSchema
from consistency.scored import Outcome, Payload, ScoredRequest
from consistency.snapshots import LookupTable
from consistency.state import FittedState
from tests.fakes.scorers import BatchVariantScorer, LinearScorer, TwoOutputScorer
from tests.fixtures.scored import INFO, make_request

FIELDS = RecordSchema(
    (
        Field("x", FieldType.FLOAT64),
        Field("city", FieldType.STRING),
        Field("gap", FieldType.FLOAT64, required=False, nullable=True),
    )
)


def rates_of(snapshot: str, rate: float) -> LookupTable:
    columns = {"city": np.array(["Bonn", "Kiel"], object), "rate": np.array([rate, rate * 2])}
    return LookupTable(snapshot, columns, ("city",))


def pipeline_of(
    snapshot: str = "s1",
    rate: float = 0.5,
    third: Callable[[Column], Column] = lambda x: x / 3,
    fields: RecordSchema = FIELDS,
) -> BoundPipeline:
    flow = PipelineBuilder(fields, lookups=[Lookup("rates", ("city",))])

    @flow.feature
    def a_third(x: Column) -> Column:
        return third(x)

    @flow.feature
    def city_rate(city: Column, rates: LookupTable) -> Any:
        return rates.take("rate", rates.rows(city))

    @flow.feature
    def gap_filled(gap: Column) -> Column:
        return gap

    return flow.build().bind(FittedState({}), {"rates": rates_of(snapshot, rate)})


def target_of(scorer: Scorer | None = None, **changes: Any) -> ReplayTarget:
    pipeline = changes.pop("pipeline", None) or pipeline_of()
    plain = ReplayTarget(pipeline.outputs, pipeline, scorer or LinearScorer(), PostProcess())
    return replace(plain, **changes)


def record(i: int, **more: Any) -> dict[str, Any]:
    return {"x": 0.1 * i + 0.7, "city": ("Bonn", "Kiel", "Ulm")[i % 3]} | more


@dataclass
class Online:
    """Serves as the data plane would, and keeps what would be logged, line by line."""

    target: ReplayTarget
    lines: list[bytes] = field(default_factory=list)
    codec: str = "tione/1"
    info: Any = INFO

    def ask(self, body: Any, **changes: Any) -> LoggedRequest:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        request = replace(self._score(raw), **changes)
        self.lines.append(encode_line(request))
        return decode_line(self.lines[-1][:-1])

    def records(self, *records: Mapping[str, Any], **changes: Any) -> LoggedRequest:
        return self.ask({"type": "record", "data": {"insts": list(records)}}, **changes)

    def log(self) -> list[LoggedRequest]:
        return [decode_line(line[:-1]) for line in self.lines]

    def _score(self, raw: bytes) -> ScoredRequest:
        payload = Payload(raw, self.codec, "application/json")
        plain = make_request(f"r-{len(self.lines)}", payload=payload, servable=self.info)
        nothing: dict[str, Any] = {"features": None, "outputs": None, "scores": None, "rows": 0}
        try:
            decoded = codec_named(self.codec).decode(payload, self.target.schema)
        except DataError as e:
            bad = {"outcome": Outcome.DATA_ERROR, "message": str(e), "refused_by": "payload"}
            return replace(plain, **nothing, **bad)
        if decoded.opaque is not None:
            return self._ask_opaque(plain, decoded)
        try:
            features = self._features(decoded)
        except DataError as e:
            bad = {"outcome": Outcome.DATA_ERROR, "message": str(e), "refused_by": "features"}
            return replace(plain, **nothing | {"rows": len(decoded.records or ())}, **bad)
        assert self.target.scorer is not None
        outputs = self.target.scorer.score(features)
        return replace(
            plain, rows=features.rows, features=features, outputs=outputs,
            scores=self.target.postprocess(outputs), batch_rows=features.rows,
            snapshots=features.snapshots,
        )  # fmt: skip

    def _features(self, decoded: Decoded) -> FeatureBatch:
        if decoded.features is not None:
            return decoded.features
        assert decoded.records is not None
        assert self.target.pipeline is not None
        return self.target.pipeline(decoded.records)

    def _ask_opaque(self, plain: ScoredRequest, decoded: Decoded) -> ScoredRequest:
        assert self.target.opaque is not None
        rows, outputs, scores = read_answer(self.target.opaque.process(decoded.opaque))
        return replace(
            plain, features=None, rows=rows, outputs=outputs, scores=scores, batch_rows=rows
        )


def replayed(
    items: Sequence[Any], target: ReplayTarget | Callable[..., ReplayTarget], **how: Any
) -> ReplayReport:
    resolve = target if callable(target) else lambda *_: target
    return replay(items, resolve, ReplaySettings(**how))


def only(report: ReplayReport) -> ModelReport:
    (model,) = report.models.values()
    return model


@pytest.fixture
def online() -> Online:
    """Thirty requests of one to four rows, gaps and unmatched cities among them."""
    served = Online(target_of())
    for i in range(30):
        rows = [record(i + j, **({"gap": None} if j else {})) for j in range(i % 4 + 1)]
        served.records(*rows)
    return served


ROWS = sum(i % 4 + 1 for i in range(30))

# -------------------------------------------------------------------------------------- three modes


@pytest.mark.parametrize(
    ("mode", "stages"),
    [
        (ReplayMode.FULL, ["payload", "features", "outputs", "scores"]),
        (ReplayMode.FEATURES, ["outputs", "scores"]),
        (ReplayMode.PIPELINE, ["payload", "features"]),
    ],
)
def test_each_mode_compares_the_stages_it_passes_and_agrees(
    online: Online, mode: ReplayMode, stages: list[str]
) -> None:
    report = replayed(online.log(), target_of(), mode=mode)
    model = only(report)
    assert report.agrees
    assert report.mode == mode.value
    assert list(model.stages) == stages
    assert (model.requests, model.rows) == (30, ROWS)
    for stage in model.stages.values():
        assert stage.rows == stage.rows_agreeing == stage.rows_identical == ROWS
    assert model.worst == []
    assert model.first_divergence is None


def test_a_full_replay_scores_what_it_recomputed_and_not_what_was_logged(online: Online) -> None:
    def drop_last(request: LoggedRequest) -> LoggedRequest:
        values = {name: [0.0] * request.rows for name in request.fields["features"]}
        return LoggedRequest({**request.fields, "features": values})

    report = replayed([drop_last(r) for r in online.log()], target_of())
    stages = only(report).stages
    assert not stages["features"].agrees
    assert stages["scores"].agrees
    assert stages["scores"].rows == ROWS


def test_a_replay_from_logged_features_asks_no_pipeline(online: Online) -> None:
    assert replayed(online.log(), target_of(pipeline=None), mode=ReplayMode.FEATURES).agrees
    bare = replace(target_of(), pipeline=None)
    assert replayed(online.log(), bare, mode=ReplayMode.FEATURES).agrees


def test_a_replay_of_the_pipeline_asks_no_model(online: Online) -> None:
    bare = replace(target_of(), scorer=None)
    assert replayed(online.log(), bare, mode=ReplayMode.PIPELINE).agrees
    with pytest.raises(ReplayError, match="replay with mode 'pipeline'"):
        replayed(online.log(), bare)


def test_records_cannot_be_replayed_in_full_without_a_pipeline(online: Online) -> None:
    with pytest.raises(ReplayError, match="no feature pipeline"):
        replayed(online.log(), replace(target_of(), pipeline=None))


# ------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize(
    ("plan", "batches"),
    [
        (BatchPlan(), [ROWS]),
        (BatchPlan(None), [i % 4 + 1 for i in range(30)]),
        (BatchPlan(1), [1] * ROWS),
        (BatchPlan(10), [10] * (ROWS // 10) + [ROWS % 10] * bool(ROWS % 10)),
    ],
)
def test_rows_are_scored_in_the_batches_of_the_plan(
    online: Online, plan: BatchPlan, batches: list[int]
) -> None:
    scorer = LinearScorer()
    report = replayed(online.log(), target_of(scorer), batch=plan)
    assert report.agrees
    assert scorer.batches == batches
    assert report.batch == str(plan)


def test_a_plan_says_logged_or_its_rows() -> None:
    assert [str(BatchPlan(None)), str(BatchPlan(7))] == ["logged", "7"]
    with pytest.raises(ConfigError, match="give 1 or more, or 'logged'"):
        BatchPlan(0)


def test_a_long_log_is_recomputed_in_parts_that_add_up() -> None:
    served = Online(target_of())
    for i in range(150):
        served.records(*(record(i + j) for j in range(64)))
    scorer = LinearScorer()
    report = replayed(served.log(), target_of(scorer))
    assert report.agrees
    assert only(report).rows == only(report).stages["scores"].rows == 150 * 64
    assert max(scorer.batches) <= CHUNK_ROWS
    assert len(scorer.batches) >= 150 * 64 / CHUNK_ROWS > 2


def test_a_model_that_depends_on_the_batch_agrees_only_at_the_logged_sizes() -> None:
    served = Online(target_of(BatchVariantScorer()))
    for i in range(40):
        served.records(*(record(i + j) for j in range(i % 3 + 1)))
    target = target_of(BatchVariantScorer())
    as_logged = replayed(served.log(), target, batch=BatchPlan(None))
    otherwise = replayed(served.log(), target, batch=BatchPlan(64))
    assert as_logged.agrees
    assert not otherwise.agrees
    assert only(otherwise).stages["features"].agrees
    first = only(otherwise).first_divergence
    assert first is not None
    assert first.stage == "outputs"
    found = explain_batch(only(as_logged).stages["scores"], only(otherwise).stages["scores"], 64)
    assert found.cause is Cause.BATCH_VARIANCE


# ------------------------------------------------------------------------------------ what is found


def test_another_model_is_found_behind_features_that_agree(online: Online) -> None:
    report = replayed(online.log(), target_of(LinearScorer(intercept=1e-9)))
    model = only(report)
    assert not report.agrees
    assert model.stages["features"].agrees
    assert model.stages["outputs"].rows_agreeing == model.stages["scores"].rows_agreeing == 0
    first = model.first_divergence
    assert first is not None
    assert (first.stage, first.name) == ("outputs", "score")
    assert {d.stage for d in model.worst} == {"outputs", "scores"}


def test_another_calibration_is_found_behind_outputs_that_agree() -> None:
    def with_platt(slope: float) -> ReplayTarget:
        flat = target_of(pipeline=pipeline_of(third=lambda x: x * 0.01, rate=0.001))
        return replace(flat, postprocess=PostProcess(calibration=Platt(slope, 0.0)))

    served = Online(with_platt(1.0))
    for i in range(5):
        served.records(record(i))
    report = replayed(served.log(), with_platt(1.0001))
    stages = only(report).stages
    assert stages["outputs"].agrees
    assert not stages["scores"].agrees
    first = only(report).first_divergence
    assert first is not None
    assert first.stage == "scores"


def test_a_feature_that_went_through_float32_is_found_named_and_proven() -> None:
    served = Online(target_of(pipeline=pipeline_of(third=_through_float32)))
    for i in range(10):
        served.records(*(record(i + j) for j in range(3)))
    report = replayed(served.log(), target_of())
    model = only(report)
    assert not report.agrees
    (name,) = model.features
    mismatch = model.features[name]
    assert name == "a_third"
    assert mismatch.finding.cause is Cause.STORAGE_PRECISION
    first = model.first_divergence
    assert first is not None
    assert (first.stage, first.name) == ("features", "a_third")
    # the row is the one of the request, and both values have all their digits
    request = served.log()[int(first.request_id.removeprefix("r-"))]
    sent = json.loads(request.payload.body)["data"]["insts"][first.row]["x"]
    assert first.offline == sent / 3
    assert first.online == float(np.float32(sent / 3))
    assert f"online {first.online!r}, offline {first.offline!r}" in str(first)
    assert first.abs_diff == abs(first.online - first.offline)
    assert first.ulps > 0
    moved = [abs(x - float(np.float32(x))) > 5e-11 for x in _thirds(served)]
    assert mismatch.rows == sum(moved)
    assert (
        mismatch.max_abs_diff
        == first.abs_diff
        == max(abs(x - float(np.float32(x))) for x in _thirds(served))
    )


def test_the_scores_that_a_bad_feature_drags_along_come_behind_it(online: Online) -> None:
    report = replayed(online.log(), target_of(pipeline=pipeline_of(third=_through_float32)))
    stages = [d.stage for d in only(report).worst]
    assert stages == sorted(stages, key=["payload", "features", "outputs", "scores"].index)
    assert set(stages) == {"features", "outputs", "scores"}


def test_a_default_for_a_missing_value_is_proven(online: Online) -> None:
    def filled(request: LoggedRequest) -> LoggedRequest:
        features = dict(request.fields["features"])
        features["gap_filled"] = [0.0 if v is None else v for v in features["gap_filled"]]
        return LoggedRequest({**request.fields, "features": features})

    report = replayed([filled(r) for r in online.log()], target_of())
    found = only(report).features["gap_filled"]
    assert found.finding.cause is Cause.MISSING_DEFAULT
    assert found.rows == ROWS


def test_a_cause_that_does_not_hold_in_every_part_of_the_log_is_unproven() -> None:
    served = Online(target_of(pipeline=pipeline_of(third=_through_float32)))
    for i in range(70):
        served.records(*(record(i + j) for j in range(64)))
    served.target = target_of(pipeline=pipeline_of(third=lambda x: x / 3 + 1e-6))
    for i in range(70):
        served.records(*(record(i + j) for j in range(64)))
    report = replayed(served.log(), target_of(), mode=ReplayMode.PIPELINE)
    assert only(report).features["a_third"].finding.cause is Cause.UNPROVEN


def test_at_most_the_asked_number_of_worst_values_is_kept_for_each_stage(online: Online) -> None:
    report = replayed(online.log(), target_of(LinearScorer(intercept=1.0)), worst=3)
    stages = [d.stage for d in only(report).worst]
    assert stages == ["outputs"] * 3 + ["scores"] * 3


def test_the_worst_of_a_stage_come_largest_first_over_all_parts() -> None:
    served = Online(target_of())
    for i in range(140):
        served.records(*(record(i + j) for j in range(64)))
    scaled = target_of(pipeline=pipeline_of(third=lambda x: x / 3 * (1 + 1e-6)))
    report = replayed(served.log(), scaled, mode=ReplayMode.PIPELINE, worst=5)
    sizes = [d.abs_diff for d in only(report).worst]
    assert len(sizes) == 5
    assert sizes == sorted(sizes, reverse=True, key=lambda size: size or 0.0)
    biggest = max(record(i)["x"] for i in range(140 + 63))
    assert sizes[0] == pytest.approx(biggest / 3 * 1e-6, rel=1e-4)


def test_fewer_decimals_forgive_more(online: Online) -> None:
    target = target_of(LinearScorer(intercept=1e-9))
    assert not replayed(online.log(), target).agrees
    report = replayed(online.log(), target, tolerance=Tolerance(8))
    assert report.agrees
    assert report.decimals == 8
    assert only(report).stages["scores"].rows_identical < ROWS


def test_float32_outputs_are_compared_as_float32() -> None:
    target = target_of(BatchVariantScorer())
    served = Online(target)
    logged = served.records(record(1))
    assert logged.outputs is not None
    assert logged.outputs["score"].dtype == np.float32
    report = replayed(served.log(), target, batch=BatchPlan(None))
    assert only(report).stages["outputs"].rows_identical == 1


def test_several_outputs_and_score_columns_are_compared() -> None:
    target = target_of(TwoOutputScorer(), postprocess=PostProcess(output="p"))
    served = Online(target)
    for i in range(6):
        served.records(record(i), record(i + 1))
    assert replayed(served.log(), target).agrees
    moved = target_of(TwoOutputScorer(intercept=1.0), postprocess=PostProcess(output="p"))
    model = only(replayed(served.log(), moved))
    assert {d.name for d in model.worst if d.stage == "outputs"} == {"p", "label"}
    texts = [d for d in model.worst if d.name == "label"]
    assert all(d.abs_diff is None and d.ulps == -1 for d in texts)


@pytest.mark.parametrize("kind", ["outputs", "features"])
def test_other_outputs_or_features_than_the_bundles_cannot_be_compared(
    online: Online, kind: str
) -> None:
    renamed = {}
    for request in online.log():
        held = dict(request.fields[kind])
        held["other"] = held.pop(next(iter(held)))
        renamed[request.request_id] = LoggedRequest({**request.fields, kind: held})
    with pytest.raises(ReplayError, match=r"a_third|other"):
        replayed(list(renamed.values()), target_of())


# ----------------------------------------------------------------------------------------- refusals


def test_what_was_refused_online_is_refused_offline_with_the_same_words() -> None:
    served = Online(target_of())
    served.records(record(1))
    served.ask(b"{")
    served.records({"x": "one", "city": "Bonn"})
    served.records(record(1), {"x": 1.0})
    served.ask({"type": "libsvm", "data": {"insts": ["0 9:1"]}})
    served.ask({"type": "record", "data": {"insts": []}})
    model = only(report := replayed(served.log(), target_of()))
    assert report.agrees
    assert (model.requests, model.rows, model.rejected, model.rejected_reproduced) == (6, 1, 5, 5)


def test_a_log_of_refusals_only_agrees_when_all_are_reproduced() -> None:
    served = Online(target_of())
    served.ask(b"{")
    report = replayed(served.log(), target_of())
    assert report.agrees
    assert only(report).rows == 0


@pytest.mark.parametrize("how", ["accepted", "other words"])
def test_a_refusal_that_is_not_reproduced_is_a_difference(how: str) -> None:
    served = Online(target_of())
    served.records(record(1))
    served.records(record(1, gap="no number"))
    changed = FieldType.STRING if how == "accepted" else FieldType.INT64
    fields = RecordSchema(
        (*FIELDS.fields[:2], Field("gap", changed, required=False, nullable=True))
    )
    later = target_of(pipeline=_without_gap(fields))
    model = only(report := replayed(served.log(), later, mode=ReplayMode.PIPELINE))
    assert (model.rejected, model.rejected_reproduced) == (1, 0)
    assert not report.agrees


def test_records_that_a_model_without_a_pipeline_refused_are_refused_again() -> None:
    bare = replace(target_of(), pipeline=None)
    served = Online(bare)
    served.ask({"type": "dense", "data": {"insts": [1, 2, 3]}})
    message = str(
        DataError("this model has no feature pipeline; send type libsvm or dense", field="type")
    )
    refused = {"outcome": Outcome.DATA_ERROR, "refused_by": "features", "message": message}
    body = {"type": "record", "data": {"insts": [record(1)]}}
    payload = Payload(orjson.dumps(body), "tione/1", "")
    request = make_request(
        "r-1", payload=payload, features=None, outputs=None, scores=None, **refused
    )
    served.lines.append(encode_line(request))
    assert replayed(served.log(), bare).agrees


def test_what_was_scored_online_and_is_refused_offline_diverges_at_the_payload() -> None:
    served = Online(target_of())
    served.records(record(1))
    served.records(record(2), record(3, gap=1.5))
    served.records(record(4))
    strict = RecordSchema((*FIELDS.fields[:2], Field("gap", FieldType.STRING, required=False)))
    report = replayed(
        served.log(), target_of(pipeline=_without_gap(strict)), mode=ReplayMode.PIPELINE
    )
    model = only(report)
    assert not report.agrees
    assert model.rows == 4
    assert (model.stages["payload"].rows, model.stages["payload"].rows_agreeing) == (4, 2)
    first = model.first_divergence
    assert first is not None
    assert (first.stage, first.request_id, first.row, first.name) == ("payload", "r-1", 1, "gap")
    assert first.online == "scored"
    assert "数据错误" in str(first.offline)


def test_a_payload_that_cannot_be_decoded_any_more_diverges_at_the_payload() -> None:
    served = Online(target_of())
    served.records(record(1))
    served.ask({"type": "dense", "data": {"insts": [1, 2, 3]}})
    wider = FeatureSchema.float64(("a_third", "city_rate", "gap_filled", "one_more"))
    report = replayed(served.log()[1:], replace(target_of(), schema=wider))
    first = only(report).first_divergence
    assert first is not None
    assert (first.stage, first.request_id, first.row) == ("payload", "r-1", 0)
    assert only(report).stages["payload"].rows_agreeing == 0


@pytest.mark.parametrize(
    ("outcome", "refused_by", "reason"),
    [
        (Outcome.BACKEND_ERROR, "", "backend_error"),
        (Outcome.TIMEOUT, "", "timeout"),
        (Outcome.DATA_ERROR, "amount_guard", "amount_guard"),
    ],
)
def test_what_has_no_score_for_other_reasons_is_counted_apart(
    outcome: Outcome, refused_by: str, reason: str
) -> None:
    served = Online(target_of())
    served.records(record(1))
    served.records(record(2), outcome=outcome, refused_by=refused_by, scores=None, outputs=None)
    report = replayed(served.log(), target_of())
    assert report.agrees
    assert only(report).not_replayable == {reason: 1}
    assert only(report).rows == 1
    alone = replayed(served.log()[1:], target_of())
    assert not alone.agrees, "nothing was replayed"


def test_without_a_pipeline_its_refusals_are_counted_apart() -> None:
    served = Online(target_of())
    served.records(record(1))
    served.records({"x": "one", "city": "Bonn"})
    served.ask(b"{")
    model = only(report := replayed(served.log(), target_of(), mode=ReplayMode.FEATURES))
    assert report.agrees
    assert model.not_replayable == {"features": 1}
    assert (model.rejected, model.rejected_reproduced) == (1, 1)


# ------------------------------------------------------------------------------------- what is read


def test_an_empty_log_is_no_agreement() -> None:
    report = replayed([], target_of())
    assert not report.agrees
    assert report.models == {}


@pytest.mark.parametrize(
    ("problem", "agrees"), [(TORN_TAIL, True), ("crc mismatch", False), ("no crc field", False)]
)
def test_damage_is_told_and_only_a_torn_tail_is_no_loss(
    online: Online, problem: str, agrees: bool
) -> None:
    damage = Damage("20260101.jsonl", 7, problem, 120)
    report = replayed([*online.log(), damage], target_of())
    assert report.damage == (damage,)
    assert report.agrees is agrees
    assert only(report).agrees
    assert report.to_json()["damage"] == [
        {"segment": "20260101.jsonl", "line": 7, "problem": problem, "bytes": 120}
    ]


def test_a_log_of_nothing_but_damage_is_no_agreement() -> None:
    assert not replayed([Damage("s", 1, TORN_TAIL, 5)], target_of()).agrees


@pytest.mark.parametrize("mode", [ReplayMode.FULL, ReplayMode.FEATURES])
def test_feature_rows_are_replayed_from_their_payload(mode: ReplayMode) -> None:
    bare = replace(target_of(), pipeline=None)
    served = Online(bare)
    served.ask({"type": "libsvm", "feature_num": "3", "data": {"insts": "0 1:0.1 3:-0.0"}})
    served.ask({"type": "dense", "data": {"insts": [[0.1, None, 2], [1e300, 0, -1e-300]]}})
    report = replayed(served.log(), bare, mode=mode)
    assert report.agrees
    assert only(report).rows == 3
    assert ("features" in only(report).stages) is (mode is ReplayMode.FULL)
    moved = replayed(served.log(), replace(bare, scorer=LinearScorer(1.0)), mode=mode)
    assert not moved.agrees


def test_records_and_feature_rows_of_one_model_are_replayed_side_by_side() -> None:
    served = Online(target_of())
    served.records(record(1))
    served.ask({"type": "dense", "data": {"insts": [1, 2, 3]}})
    served.records(record(2))
    report = replayed(served.log(), target_of())
    assert report.agrees
    assert only(report).rows == 3


def test_each_request_is_replayed_with_the_snapshot_that_it_read() -> None:
    rates = {"s1": 0.5, "s2": 0.7}
    served = Online(target_of())
    for snapshot in ("s1", "s2", "s1", "s2", "s2"):
        served.target = target_of(pipeline=pipeline_of(snapshot, rates[snapshot]))
        served.records(record(1))
    asked: list[str] = []

    def resolve(
        model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        assert (model, bundle_digest) == (("m", 1), INFO.bundle_digest)
        asked.append(snapshots["rates"])
        return target_of(pipeline=pipeline_of(asked[-1], rates[asked[-1]]))

    report = replayed(served.log(), resolve)
    assert report.agrees
    assert only(report).rows == 5
    assert set(asked) == {"s1", "s2"}

    stale = replayed(served.log(), target_of())
    assert not stale.agrees
    assert only(stale).stages["features"].rows_agreeing == 2
    first = only(stale).first_divergence
    assert first is not None
    assert first.name == "city_rate"


def test_features_that_are_no_numbers_are_replayed() -> None:
    def flow_of(suffix: str) -> BoundPipeline:
        flow = PipelineBuilder(FIELDS)
        flow.feature(_named("x2", lambda x: x * 2))
        flow.features("town", type=FeatureType.STRING)(
            _named("town", lambda city: np.array([c + suffix for c in city], object))
        )
        return flow.build().bind(FittedState({}), {})

    class X2(LinearScorer):
        def score(self, features: FeatureBatch) -> dict[str, Any]:
            return {"score": features.column("x2").copy()}

    def target(suffix: str) -> ReplayTarget:
        return target_of(X2(), pipeline=flow_of(suffix))

    served = Online(target(""))
    for i in range(5):
        served.records(record(i), record(i + 1))
    assert replayed(served.log(), target("")).agrees
    assert replayed(served.log(), target(""), mode=ReplayMode.FEATURES).agrees
    report = replayed(served.log(), target("!"))
    assert not report.agrees
    first = only(report).first_divergence
    assert first is not None
    assert (first.name, first.online, first.offline) == (
        "town",
        "Kiel",
        "Kiel!",
    ) or first.name == "town"
    assert only(report).features["town"].finding.cause is Cause.UNPROVEN


def test_models_and_versions_are_reported_apart() -> None:
    lines: list[bytes] = []
    for name, version, intercept in (("a", 1, 0.0), ("a", 2, 1.0), ("b", 1, 0.0)):
        info = replace(INFO, name=name, version=version)
        served = Online(target_of(LinearScorer(intercept)), lines, info=info)
        served.records(record(1))
        served.records(record(2))

    def resolve(model: tuple[str, int], *_: Any) -> ReplayTarget:
        return target_of(LinearScorer(1.0 if model == ("a", 2) else 0.0))

    log = [decode_line(line[:-1]) for line in lines]
    report = replayed(log, resolve)
    assert list(report.models) == ["a/1", "a/2", "b/1"]
    assert report.agrees
    one_bad = replayed(log, target_of())
    assert {name: m.agrees for name, m in one_bad.models.items()} == {
        "a/1": True, "a/2": False, "b/1": True
    }  # fmt: skip
    assert not one_bad.agrees


def test_a_model_without_a_bundle_ends_the_replay(online: Online) -> None:
    def resolve(*_: Any) -> ReplayTarget:
        raise ReplayError("no bundle for m/1")

    with pytest.raises(ReplayError, match="no bundle for m/1"):
        replayed(online.log(), resolve)


def test_progress_is_told_once_for_each_item(online: Online) -> None:
    steps: list[int] = []
    items = [*online.log(), Damage("s", 1, TORN_TAIL, 1)]
    replay(items, lambda *_: target_of(), None, lambda: steps.append(1))
    assert len(steps) == 31


def test_the_report_goes_to_json_whole(online: Online) -> None:
    served = Online(target_of(pipeline=pipeline_of(third=lambda x: np.where(x > 1, np.nan, x))))
    for i in range(9):
        served.records(record(i))
    value = orjson.loads(orjson.dumps(replayed(served.log(), target_of()).to_json()))
    assert value["agrees"] is False
    assert (value["mode"], value["batch"], value["decimals"]) == ("full", str(BatchPlan()), 10)
    model = value["models"]["m/1"]
    assert model["stages"]["features"]["rows"] == 9
    assert model["features"]["a_third"]["cause"] == "unproven"
    assert model["worst"][0]["abs_diff"] is None
    assert model["worst"][0]["stage"] == "features"
    assert (
        orjson.loads(orjson.dumps(replayed(online.log(), target_of()).to_json()))["agrees"] is True
    )


# ------------------------------------------------------------------------------------------- opaque


@dataclass
class Service:
    """An operator's InferenceService."""

    answer: Callable[[Any], Any]

    def process(self, request: Any) -> Any:
        return self.answer(request)


def insts(request: Any) -> Any:
    return {"message": "SUCCESS", "code": 0, "data": {"insts": [v / 3 for v in request["v"]]}}


def opaque(answer: Callable[[Any], Any]) -> ReplayTarget:
    return ReplayTarget(FeatureSchema((), ()), None, None, PostProcess(), Service(answer))


@pytest.mark.parametrize("mode", [ReplayMode.FULL, ReplayMode.FEATURES])
def test_an_opaque_answer_with_numbers_is_compared_as_scores(mode: ReplayMode) -> None:
    served = Online(opaque(insts), codec="opaque/1")
    served.ask({"v": [1, 2]})
    served.ask({"v": [0.1]})
    report = replayed(served.log(), opaque(insts), mode=mode)
    assert report.agrees
    assert only(report).rows == 3
    assert list(only(report).stages) == ["outputs", "scores"]

    def moved(request: Any) -> Any:
        return {"data": {"insts": [v / 3 + 1e-9 for v in request["v"]]}}

    later = replayed(served.log(), opaque(moved), mode=mode)
    assert not later.agrees
    first = only(later).first_divergence
    assert first is not None
    assert (first.stage, first.name) == ("outputs", "insts")


def test_another_opaque_answer_is_compared_as_text() -> None:
    served = Online(opaque(lambda request: {"label": request["x"]}), codec="opaque/1")
    served.ask({"x": "late"})
    assert replayed(served.log(), opaque(lambda _: {"label": "late"})).agrees
    report = replayed(served.log(), opaque(lambda _: {"label": "on time"}))
    first = only(report).first_divergence
    assert first is not None
    assert (first.online, first.offline) == ('{"label":"late"}', '{"label":"on time"}')


def test_opaque_requests_need_the_service_that_answered_them() -> None:
    served = Online(opaque(insts), codec="opaque/1")
    served.ask({"v": [1]})
    with pytest.raises(ReplayError, match="name the service"):
        replayed(served.log(), target_of())


def test_a_body_that_an_opaque_codec_refused_is_refused_again() -> None:
    served = Online(opaque(insts), codec="opaque/1")
    served.ask(b"{")
    served.ask(b"null")
    report = replayed(served.log(), opaque(insts))
    assert report.agrees
    assert (only(report).rejected, only(report).rejected_reproduced) == (2, 2)


def test_an_opaque_answer_of_another_kind_is_a_difference() -> None:
    served = Online(opaque(insts), codec="opaque/1")
    served.ask({"v": [1]})
    for answer in ({"error": "gone"}, {"data": {"insts": [1 / 3, 1.0]}}):
        assert not replayed(served.log(), opaque(lambda _, a=answer: a)).agrees


def _through_float32(x: Column) -> Column:
    return (x / 3).astype(np.float32).astype(np.float64)


def _thirds(served: Online) -> list[float]:
    bodies = [json.loads(r.payload.body)["data"]["insts"] for r in served.log()]
    return [row["x"] / 3 for rows in bodies for row in rows]


def _without_gap(fields: RecordSchema) -> BoundPipeline:
    """The same features, from records whose `gap` has another type."""
    flow = PipelineBuilder(fields, lookups=[Lookup("rates", ("city",))])
    flow.feature(_named("a_third", lambda x: x / 3))
    flow.feature(_named("city_rate", lambda city, rates: rates.take("rate", rates.rows(city))))
    flow.feature(_named("gap_filled", lambda x: np.full(len(x), math.nan)))
    return flow.build().bind(FittedState({}), {"rates": rates_of("s1", 0.5)})


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function
