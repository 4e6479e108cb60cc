from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.errors import (
    BackendError,
    DataError,
    LimitError,
    LogError,
    ModelNotFoundError,
)
from consistency.features import FeatureBatch
from consistency.log import LoggedRequest, LogSettings, RequestLogReader, RequestLogWriter
from consistency.protocols import Decoded
from consistency.records import Record
from consistency.scored import (
    STAGES,
    GateState,
    Outcome,
    Outputs,
    Payload,
    ScoredRequest,
    ServableInfo,
)
from serving.backends.backend import Answer, InProcessBackend
from serving.backends.instance_errors import InstanceTimeoutError
from serving.core.state import ServableId
from serving.dataplane import DataPlane, DataPlaneSettings, Incidents, OnLogFailure
from serving.run import Reply
from serving.servable import Servable, opaque_servable
from tests.fakes.scorers import FailingScorer
from tests.fakes.serving import FullLog, MemoryLog, Shelf
from tests.fixtures.tiny import Tiny, record_body


@dataclass
class Plane:
    """A data plane in front of one servable, and what became of its requests."""

    servable: Servable
    log: Any = field(default_factory=MemoryLog)
    how: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        info = self.servable.info
        self.shelf = Shelf({(info.name, info.version): self.servable})
        self.plane = DataPlane(self.shelf, self.log, **self.how)

    def ask(self, body: Any, name: str = "tiny", version: int | None = 1, **more: Any) -> Reply:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        codec = more.pop("codec", "tione/1")
        payload = Payload(raw, codec, "application/json")
        return asyncio.run(self.plane.score(name, version, payload, **more))

    def records(self, *records: Any) -> ScoredRequest:
        return self.ask(record_body(list(records))).request


@dataclass
class Spy:
    """A guard and an observer that write down when they were asked."""

    events: list[str]
    name: str = "spy"

    def check(self, decoded: Decoded, servable: ServableInfo) -> None:
        self.events.append("guard")

    def observe(self, request: ScoredRequest) -> None:
        self.events.append(f"observer {request.outcome}")


@dataclass
class Refusing:
    """A guard that refuses what it is told to."""

    name: str = "amount_guard"
    error: Exception = field(default_factory=lambda: DataError("is odd", row=0, field="amount"))

    def check(self, decoded: Decoded, servable: ServableInfo) -> None:
        raise self.error


@dataclass
class Flagging:
    """A guard that flags the last row."""

    name: str = "flagging"

    def check(self, decoded: Decoded, servable: ServableInfo) -> dict[str, list[int]]:
        return {"amount:be_between": [len(decoded.records or ()) - 1]}


# ------------------------------------------------------------------------------------------ the way


def test_what_a_guard_flags_is_scored_and_said(servable: Servable, tiny: Tiny) -> None:
    plane = Plane(servable, MemoryLog(), {"guards": [Flagging()]})
    request = plane.records(*tiny.records[:3])
    assert (request.outcome, request.flags) == (Outcome.OK, {"amount:be_between": [2]})
    assert request.scores is not None


def test_a_request_passes_the_stages_in_their_order(servable: Servable, tiny: Tiny) -> None:
    events: list[str] = []
    servable.pipeline = _watched(servable.pipeline, events)
    servable.backend = _Told(servable.backend, events)
    servable.postprocess = _noted(servable.postprocess, events)
    spy = Spy(events)
    plane = Plane(servable, MemoryLog(events=events), {"guards": [spy], "observers": [spy]})
    plane.records(tiny.records[0])
    assert events == ["guard", "features", "backend", "postprocess", "log", "observer ok"]


def test_the_score_is_the_bundles(servable: Servable) -> None:
    assert servable.bundle is not None
    golden = servable.bundle.golden()
    assert golden.records is not None
    plane = Plane(servable)
    for i in range(0, 40, 8):
        request = plane.records(*golden.records[i : i + 8])
        assert request.scores is not None
        assert request.scores.tobytes() == golden.scores[i : i + 8].tobytes()


def test_the_scored_request_says_what_happened(servable: Servable, tiny: Tiny) -> None:
    plane = Plane(servable)
    before = time.time_ns() // 1000
    body = record_body(tiny.records[:3], event_time="2026-01-01T00:00:00Z")
    request = plane.ask(body, label="canary").request
    after = time.time_ns() // 1000
    assert plane.log.requests == [request]
    assert request.outcome is Outcome.OK
    assert (request.rows, request.batch_rows, request.batch_position) == (3, 3, 0)
    assert request.servable is servable.info
    assert request.servable.gate is GateState.VERIFIED
    assert request.label == "canary"
    assert request.event_time_us == 1_767_225_600_000_000
    assert before <= request.ingest_time_us <= after
    assert request.payload.body == orjson.dumps(body)
    assert request.snapshots == tiny.request.snapshots
    assert request.features is not None
    assert request.features.rows == 3
    assert request.outputs is not None
    assert request.scores is not None
    assert (request.message, request.refused_by) == ("", "")


def test_every_stage_takes_time_and_all_of_them_make_the_total(
    servable: Servable, tiny: Tiny
) -> None:
    latency = Plane(servable).records(tiny.records[0]).latency
    times = {stage: getattr(latency, f"{stage}_ns") for stage in STAGES}
    assert times.pop("queue") == 0
    total = times.pop("total")
    assert all(time_ns > 0 for time_ns in times.values())
    assert sum(times.values()) <= total


@pytest.mark.parametrize("version", [1, None])
def test_the_version_may_be_left_to_the_server(
    servable: Servable, tiny: Tiny, version: int | None
) -> None:
    reply = Plane(servable).ask(record_body(tiny.records[0]), version=version)
    assert reply.request.servable.version == 1


def test_ids_are_unique_over_requests_and_planes(servable: Servable, tiny: Tiny) -> None:
    planes = [Plane(servable) for _ in range(3)]
    for plane in planes:
        for record in tiny.records[:20]:
            plane.records(record)
        plane.ask(b"{")
    ids = [request.request_id for plane in planes for request in plane.log.requests]
    assert len(set(ids)) == 63


def test_the_servable_is_given_back_whatever_happens(servable: Servable, tiny: Tiny) -> None:
    plane = Plane(servable)
    plane.records(tiny.records[0])
    plane.ask(b"{")
    with pytest.raises(LimitError):
        plane.ask(record_body(tiny.records * 10))
    with pytest.raises(LogError):
        Plane(servable, FullLog()).records(tiny.records[0])
    assert plane.shelf.held == 0


# ------------------------------------------------------------------------------------------ the log


def test_the_line_is_in_the_file_before_the_reply(
    servable: Servable, tiny: Tiny, tmp_path: Path
) -> None:
    log = RequestLogWriter(LogSettings(tmp_path / "log"))
    seen_by_observer: list[list[str]] = []

    class Reader:
        name = "reader"

        def observe(self, request: ScoredRequest) -> None:
            items = RequestLogReader(tmp_path / "log")
            seen_by_observer.append([i.request_id for i in items if isinstance(i, LoggedRequest)])

    plane = Plane(servable, log, {"observers": [Reader()]})
    requests = [plane.records(record) for record in tiny.records[:3]]
    log.close()
    ids = [request.request_id for request in requests]
    assert seen_by_observer == [ids[:1], ids[:2], ids]


def test_a_request_that_cannot_be_logged_is_not_answered(servable: Servable, tiny: Tiny) -> None:
    events: list[str] = []
    plane = Plane(servable, FullLog(), {"observers": [Spy(events)]})
    with pytest.raises(LogError, match="is full"):
        plane.records(tiny.records[0])
    assert events == [], "observers see what was logged"


def test_with_drop_it_is_answered_and_counted(
    servable: Servable, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    dropped: list[int] = []
    events: list[str] = []
    plane = Plane(
        servable,
        FullLog(),
        {
            "settings": DataPlaneSettings(on_log_failure=OnLogFailure.DROP),
            "incidents": Incidents(log_dropped=lambda: dropped.append(1)),
            "observers": [Spy(events)],
        },
    )
    request = plane.records(tiny.records[0])
    assert request.scores is not None
    assert dropped == [1]
    assert events == ["observer ok"]
    assert request.request_id in caplog.text


# ---------------------------------------------------------------------------------------- observers


def test_an_observer_that_fails_is_counted_and_fails_nothing(
    servable: Servable, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name = "broken"

        def observe(self, request: ScoredRequest) -> None:
            raise ZeroDivisionError

    failed: list[str] = []
    events: list[str] = []
    incidents = Incidents(observer_failed=failed.append)
    plane = Plane(servable, how={"observers": [Broken(), Spy(events)], "incidents": incidents})
    assert plane.records(tiny.records[0]).outcome is Outcome.OK
    assert failed == ["broken"]
    assert events == ["observer ok"], "the next observer sees it all the same"
    assert "observer broken failed" in caplog.text


def test_observers_see_refused_requests_too(servable: Servable) -> None:
    events: list[str] = []
    Plane(servable, how={"observers": [Spy(events)]}).ask(b"{")
    assert events == ["observer data_error"]


# ------------------------------------------------------------------------------------------- guards


def test_a_guards_refusal_is_logged_with_its_name(servable: Servable, tiny: Tiny) -> None:
    events: list[str] = []
    servable.backend = _Told(servable.backend, events)
    plane = Plane(servable, how={"guards": [Refusing(), Spy(events)]})
    request = plane.records(tiny.records[0])
    assert request.outcome is Outcome.DATA_ERROR
    assert request.refused_by == "amount_guard"
    assert request.message == "数据错误: row 0 field 'amount' is odd"
    assert (request.rows, request.features, request.scores) == (1, None, None)
    assert plane.log.requests == [request]
    assert events == [], "neither the next guard nor the backend was asked"


def test_a_guard_with_a_bug_costs_its_own_request_only(servable: Servable, tiny: Tiny) -> None:
    plane = Plane(servable, how={"guards": [Refusing("odd_guard", KeyError("x"))]})
    request = plane.records(tiny.records[0])
    assert request.outcome is Outcome.BACKEND_ERROR
    assert request.message == "stage odd_guard failed: KeyError: 'x'"


def test_guards_see_what_the_payload_holds(servable: Servable, tiny: Tiny) -> None:
    seen: list[Decoded] = []

    class Looking:
        name = "looking"

        def check(self, decoded: Decoded, servable: ServableInfo) -> None:
            seen.append(decoded)

    plane = Plane(servable, how={"guards": [Looking()]})
    plane.records(tiny.records[0])
    plane.ask({"type": "libsvm", "data": {"insts": "0 1:1"}})
    assert seen[0].records == [tiny.records[0]]
    assert seen[1].features is not None


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("body", "refused_by", "rows", "text"),
    [
        (b"{", "payload", 0, "malformed JSON"),
        ({"type": "record", "data": {"insts": []}}, "payload", 0, "is empty"),
        ({"type": "libsvm", "data": {"insts": "0 7:1"}}, "payload", 0, "row 0 has index 7"),
        (record_body([{"amount": 1.0, "age": 3}]), "features", 1, "row 0 field 'city' is missing"),
        (
            record_body([{"amount": 1.0, "age": 3, "city": "Bonn"}] * 2 + [{"age": "x"}]),
            "features", 3, "row 2 field 'amount' is missing",
        ),
        (
            record_body({"amount": 1.0, "age": 3, "city": "Bonn", "extra": 1}),
            "features", 1, "row 0 field 'extra' is not in the schema",
        ),
    ],
)  # fmt: skip
def test_unusable_data_is_refused_and_logged_with_row_and_field(
    servable: Servable, body: Any, refused_by: str, rows: int, text: str
) -> None:
    plane = Plane(servable)
    request = plane.ask(body).request
    assert request.outcome is Outcome.DATA_ERROR
    assert request.refused_by == refused_by
    assert request.message.startswith("数据错误: ")
    assert text in request.message
    assert (request.rows, request.scores, request.outputs) == (rows, None, None)
    assert plane.log.requests == [request]


def test_an_unknown_model_or_version_is_refused_and_not_logged(servable: Servable) -> None:
    plane = Plane(servable)
    for name, version in (("other", None), ("tiny", 2)):
        with pytest.raises(ModelNotFoundError) as caught:
            plane.ask(b"{}", name, version)
        assert (caught.value.name, caught.value.version) == (name, version)
    assert plane.log.requests == []


@pytest.mark.parametrize("rows", [8, 9, 100])
def test_rows_are_bounded(servable: Servable, tiny: Tiny, rows: int) -> None:
    plane = Plane(servable, how={"settings": DataPlaneSettings(max_rows=8)})
    if rows <= 8:
        assert plane.records(*tiny.records[:rows]).outcome is Outcome.OK
        return
    with pytest.raises(LimitError, match=f"got {rows}, the limit is 8; send several requests"):
        plane.records(*tiny.records[:rows])
    assert plane.log.requests == []


def test_records_need_a_pipeline(servable: Servable, tiny: Tiny) -> None:
    servable.pipeline = None
    request = Plane(servable).records(tiny.records[0])
    assert request.outcome is Outcome.DATA_ERROR
    assert "send type libsvm or dense" in request.message


def test_feature_rows_skip_the_pipeline(servable: Servable) -> None:
    servable.pipeline = _failing_pipeline
    request = (
        Plane(servable).ask({"type": "dense", "data": {"insts": [1, 2, 3, 0, 5, None]}}).request
    )
    assert request.outcome is Outcome.OK
    assert request.snapshots == {}


# --------------------------------------------------------------------------------------------- bugs


def _failing_pipeline(records: Sequence[Record]) -> FeatureBatch:
    if records[0]["amount"] == 13:
        raise ZeroDivisionError("thirteen")
    raise AssertionError("not asked for anything else")


def test_a_bug_in_a_pipeline_costs_its_own_request_only(
    servable: Servable, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    good = servable.pipeline
    assert good is not None

    def sometimes(records: Sequence[Record]) -> FeatureBatch:
        return _failing_pipeline(records) if records[0]["amount"] == 13 else good(records)

    servable.pipeline = sometimes  # type: ignore[assignment]
    plane = Plane(servable)
    bad = plane.records({**tiny.records[0], "amount": 13})
    assert bad.outcome is Outcome.BACKEND_ERROR
    assert bad.message == "stage features failed: ZeroDivisionError: thirteen"
    assert "ZeroDivisionError" in caplog.text
    assert plane.records(tiny.records[0]).outcome is Outcome.OK
    assert [r.outcome for r in plane.log.requests] == [Outcome.BACKEND_ERROR, Outcome.OK]


@dataclass
class Raising:
    """A backend that fails."""

    error: Exception

    async def score(self, features: FeatureBatch) -> Answer:
        raise self.error


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (BackendError("out of order"), Outcome.BACKEND_ERROR, "out of order"),
        (TimeoutError("no answer within 0.2 s"), Outcome.TIMEOUT, "no answer within 0.2 s"),
        (TimeoutError(), Outcome.TIMEOUT, "the backend timed out"),
        (RuntimeError("boom"), Outcome.BACKEND_ERROR, "stage backend failed: RuntimeError: boom"),
    ],
)
def test_a_backend_that_fails_has_its_outcome_and_keeps_the_features(
    servable: Servable, tiny: Tiny, error: Exception, outcome: Outcome, message: str
) -> None:
    servable.backend = Raising(error)
    plane = Plane(servable)
    request = plane.records(tiny.records[0])
    assert (request.outcome, request.message) == (outcome, message)
    assert request.features is not None
    assert (request.outputs, request.scores) == (None, None)
    assert plane.log.requests == [request]
    assert request.latency.backend_ns > 0, "it was asked, and that took its time"
    assert (request.latency.queue_ns, request.latency.postprocess_ns) == (0, 0)


@pytest.mark.parametrize(("instance", "stage"), [("", "queue"), ("grpc://a:8500", "backend")])
def test_a_request_that_finds_no_room_in_time_has_queued(
    servable: Servable, tiny: Tiny, instance: str, stage: str
) -> None:
    servable.backend = Raising(InstanceTimeoutError(instance, "too late"))
    request = Plane(servable).records(tiny.records[0])
    assert request.outcome is Outcome.TIMEOUT
    times = {"queue": request.latency.queue_ns, "backend": request.latency.backend_ns}
    assert times.pop(stage) > 0
    assert set(times.values()) == {0}


def test_a_scorer_that_fails_in_process_is_a_backend_error(servable: Servable, tiny: Tiny) -> None:
    servable.backend = InProcessBackend(FailingScorer())
    assert Plane(servable).records(tiny.records[0]).message == "out of order"


def test_a_post_processing_that_does_not_fit_is_a_backend_error(
    servable: Servable, tiny: Tiny
) -> None:
    servable.postprocess = replace(servable.postprocess, output="nothing")
    request = Plane(servable).records(tiny.records[0])
    assert request.outcome is Outcome.BACKEND_ERROR
    assert request.outputs is None, "what was not scored has no outputs"


def test_a_batching_backends_own_figures_are_logged(servable: Servable, tiny: Tiny) -> None:
    class Batching:
        async def score(self, features: FeatureBatch) -> Answer:
            outputs: Outputs = {"output": np.zeros(features.rows)}
            return Answer(outputs, batch_rows=64, batch_position=17, queue_ns=123, backend_ns=456)

    servable.backend = Batching()
    request = Plane(servable).records(tiny.records[0])
    assert (request.batch_rows, request.batch_position) == (64, 17)
    assert (request.latency.queue_ns, request.latency.backend_ns) == (123, 456)


# ------------------------------------------------------------------------------------------- opaque


@dataclass
class Service:
    answer: Callable[[Any], Any]

    def process(self, request: Any) -> Any:
        return self.answer(request)


def opaque_plane(answer: Callable[[Any], Any]) -> Plane:
    return Plane(opaque_servable(ServableId("m47", 1), Service(answer), "in_process/mine"))


def test_an_inference_service_answers_for_itself() -> None:
    sent = {"type": "libsvm", "data": {"insts": "0 1:1"}}
    plane = opaque_plane(lambda body: {"got": body, "data": {"insts": [0.25, 0.5]}})
    reply = plane.ask(sent, "m47", codec="opaque/1")
    assert reply.opaque_answer == {"got": sent, "data": {"insts": [0.25, 0.5]}}
    assert reply.request.rows == 2
    assert reply.request.scores is not None
    assert reply.request.scores.tolist() == [0.25, 0.5]
    assert reply.request.servable.gate is GateState.NONE
    assert reply.request.features is None


def test_an_inference_service_that_fails_is_a_backend_error() -> None:
    def fail(_: Any) -> Any:
        raise BackendError("process_request raised KeyError: 'x'")

    reply = opaque_plane(fail).ask({}, "m47", codec="opaque/1")
    assert reply.request.outcome is Outcome.BACKEND_ERROR
    assert reply.opaque_answer is None


def _watched(pipeline: Any, events: list[str]) -> Any:
    def run(records: Sequence[Record]) -> FeatureBatch:
        events.append("features")
        made: FeatureBatch = pipeline(records)
        return made

    return run


def _noted(postprocess: Any, events: list[str]) -> Any:
    def run(outputs: Outputs) -> Any:
        events.append("postprocess")
        return postprocess(outputs)

    return run


@dataclass
class _Told:
    backend: Any
    events: list[str]

    async def score(self, features: FeatureBatch) -> Answer:
        self.events.append("backend")
        answer: Answer = await self.backend.score(features)
        return answer
