from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.errors import BackendError
from consistency.features import FeatureBatch
from consistency.postprocess import PostProcess
from consistency.scored import Outcome
from serving.backends.backend import Answer, InProcessBackend
from serving.core.state import ServableId
from serving.dataplane import DataPlane, DataPlaneSettings
from serving.faces.tione import TioneFace, parse_path
from serving.servable import Servable, opaque_servable
from tests.fakes.asgi import DISCONNECT, Response, Sent, body_events, call, scope_of
from tests.fakes.scorers import FailingScorer, TwoOutputScorer
from tests.fakes.serving import FullLog, MemoryLog, Shelf
from tests.fixtures.tiny import Tiny, record_body

LIMIT = 20_000
SEED_PATH = (
    "/gpu_cluster/tione-33333333/inference-1525426013831-85-model-service-2009-0//predict/m47/1"
)


@dataclass
class Face:
    """The face in front of one servable."""

    servable: Servable
    log: Any = field(default_factory=MemoryLog)
    opaque: bool = False
    rejected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        info = self.servable.info
        shelf = Shelf({(info.name, info.version): self.servable})
        plane = DataPlane(shelf, self.log, settings=DataPlaneSettings(max_rows=64))
        self.app: Callable[..., Awaitable[None]] = TioneFace(
            plane,
            max_body_bytes=LIMIT,
            is_opaque=lambda _: self.opaque,
            rejected=self.rejected.append,
        )

    def events(
        self,
        events: list[dict[str, Any]],
        headers: Mapping[str, str] | None = None,
        target: tuple[str, int | None] = ("tiny", 1),
    ) -> Sent:
        return call(self.app, scope_of("/predict/x/1", headers=headers), events, *target)

    def post(self, body: Any, **how: Any) -> Response:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.events(body_events(raw), **how).response


@pytest.fixture
def face(servable: Servable) -> Face:
    return Face(servable)


# --------------------------------------------------------------------------------------------- path


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/predict/m47/1", ("m47", 1)),
        ("/predict/m47", ("m47", None)),
        ("/predict/m47/", ("m47", None)),
        ("/predict/m47/1/", ("m47", 1)),
        ("//predict/m47/1", ("m47", 1)),
        ("/predict//m47//1", ("m47", 1)),
        (SEED_PATH, ("m47", 1)),
        ("/predict/m47/00000123", ("m47", 123)),
        ("/predict/m47/9223372036854775807", ("m47", 2**63 - 1)),
        ("/predict/m47/99999999999999999999", None),
        ("/predict/predict/1", ("predict", 1)),
        ("/predict/base//predict/m47/1", ("m47", 1)),
        ("/predict/m.4_7-x/0", ("m.4_7-x", 0)),
        ("predict/m47/1", ("m47", 1)),
        ("/predict", None),
        ("/predict/", None),
        ("/predicts/m47/1", None),
        ("/predict/m47/v1", None),
        ("/predict/m47/-1", None),
        ("/predict/m47/1.0", None),
        ("/predict/m47/1/extra", None),
        ("/predict/m47/१", None),
        ("/health/live", None),
        ("/", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_path_names_a_model_and_perhaps_a_version(
    path: str, target: tuple[str, int | None] | None
) -> None:
    assert parse_path(path) == target


# ------------------------------------------------------------------------------------------ answers


def test_a_score_comes_in_the_seeds_envelope(face: Face, tiny: Tiny) -> None:
    response = face.post(record_body(tiny.records[0]))
    (request,) = face.log.requests
    assert response.status == 200
    assert response.json == {
        "message": "SUCCESS", "code": 0, "data": {"insts": request.scores.tolist()}
    }  # fmt: skip
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.body)
    assert response.headers["x-request-id"] == request.request_id


def test_scores_are_written_with_all_their_digits(face: Face, tiny: Tiny) -> None:
    response = face.post(record_body(tiny.records[:40]))
    sent = np.array(json.loads(response.body)["data"]["insts"])
    assert sent.tobytes() == face.log.requests[0].scores.tobytes()


def test_a_score_that_is_no_number_is_null(servable: Servable, tiny: Tiny) -> None:
    class Odd:
        async def score(self, features: FeatureBatch) -> Answer:
            return Answer({"output": np.array([np.nan, np.inf, -0.0])}, 3, 0, 0, 1)

    servable.backend = Odd()
    face = Face(servable)
    response = face.post(record_body(tiny.records[:3]))
    assert response.json["data"]["insts"] == [None, None, -0.0]
    assert b"NaN" not in response.body
    assert np.isnan(face.log.requests[0].scores[0])


def test_several_scores_a_row_come_as_lists(servable: Servable, tiny: Tiny) -> None:
    servable.backend = InProcessBackend(TwoOutputScorer())
    servable.postprocess = PostProcess(output="p")
    response = Face(servable).post(record_body(tiny.records[:2]))
    assert [len(row) for row in response.json["data"]["insts"]] == [2, 2]


# ------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_body_may_come_in_chunks(face: Face, tiny: Tiny, size: int) -> None:
    raw = orjson.dumps(record_body(tiny.records[:3]))
    chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
    response = face.events(body_events(*chunks)).response
    assert response.status == 200
    assert face.log.requests[0].payload.body == raw
    assert response.body == face.post(raw).body


@pytest.mark.parametrize("tail", [[b""], [b"", b""]])
def test_empty_chunks_do_no_harm(face: Face, tiny: Tiny, tail: list[bytes]) -> None:
    raw = orjson.dumps(record_body(tiny.records[0]))
    assert face.events(body_events(b"", raw, *tail)).response.status == 200
    assert face.log.requests[0].payload.body == raw


def test_an_event_without_body_and_without_more_ends_the_request(face: Face) -> None:
    assert face.events([{"type": "http.request"}]).response.status == 400


def test_a_body_that_is_declared_too_large_is_refused_unread(face: Face) -> None:
    response = face.events([], {"Content-Length": str(LIMIT + 1)}).response
    assert response.status == 413
    assert response.json["code"] == 3
    assert response.json["message"] == (
        f"request body in bytes: got {LIMIT + 1}, the limit is {LIMIT}; send less"
    )
    assert face.rejected == ["too_large"]
    assert face.log.requests == []


@pytest.mark.parametrize(
    "chunks",
    [[b"x" * (LIMIT + 1)], [b"x" * LIMIT, b"x"], [b"x" * 6000] * 4, [b"x" * LIMIT, b"x", b"rest"]],
)
def test_an_undeclared_body_is_cut_off_at_the_limit(face: Face, chunks: list[bytes]) -> None:
    response = face.events(body_events(*chunks)).response
    assert response.status == 413
    assert face.rejected == ["too_large"]
    assert face.log.requests == []


def test_a_body_that_lies_about_its_length_is_cut_off_too(face: Face) -> None:
    sent = face.events(body_events(b"x" * (LIMIT + 1)), {"Content-Length": "5"})
    assert sent.response.status == 413


def test_a_body_of_exactly_the_limit_is_read(face: Face) -> None:
    raw = b"{" + b" " * (LIMIT - 2) + b"}"
    assert face.events(body_events(raw), {"Content-Length": str(LIMIT)}).response.status == 400
    assert len(face.log.requests[0].payload.body) == LIMIT


def test_a_length_that_is_no_number_is_ignored(face: Face, tiny: Tiny) -> None:
    assert face.post(record_body(tiny.records[0]), headers={"Content-Length": "many"}).status == 200


@pytest.mark.parametrize("before", [0, 1])
def test_a_client_that_goes_away_is_not_answered(face: Face, before: int) -> None:
    start = [{"type": "http.request", "body": b"{", "more_body": True}] * before
    sent = face.events([*start, DISCONNECT])
    assert sent.events == []
    assert face.rejected == ["malformed"]
    assert face.log.requests == []


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "text/plain", "", "application/x-wwwé"],
)
def test_the_content_type_is_logged_and_decides_nothing(
    face: Face, tiny: Tiny, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert face.post(record_body(tiny.records[0]), headers=headers).status == 200
    assert face.log.requests[0].payload.content_type == content_type


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "malformed JSON"),
        (b"{", "malformed JSON"),
        (b'{"type":"record","data":{"insts":[{"amount":NaN}]}}', "NaN and Infinity are not JSON"),
        ({"type": "record", "data": {"insts": []}}, "is empty"),
        ({"type": "other", "data": {"insts": []}}, "send one of record, libsvm, dense"),
        (record_body({"amount": 1.0}), "row 0 field 'age' is missing"),
        (record_body({"amount": "1", "age": 1, "city": "B"}), "row 0 field 'amount' is the string"),
        (record_body([{"amount": 1, "age": 1, "city": "B", "x": 1}]), "row 0 field 'x' is not in"),
        ({"type": "libsvm", "feature_num": "524", "data": {"insts": "0 1:1"}}, "takes 6 features"),
    ],
)  # fmt: skip
def test_bad_data_answers_400_with_a_code_and_the_place(face: Face, body: Any, text: str) -> None:
    response = face.post(body)
    assert response.status == 400
    assert response.json["code"] == 1
    assert response.json["message"].startswith("数据错误: ")
    assert text in response.json["message"]
    assert response.json["data"] == {}
    (request,) = face.log.requests
    assert response.headers["x-request-id"] == request.request_id
    assert face.rejected == [], "it reached the servable: the request metrics count it"


def test_an_unknown_model_answers_404(face: Face) -> None:
    for target in (("other", 1), ("tiny", 9), ("other", None)):
        response = face.post({}, target=target)
        assert response.status == 404
        assert response.json["code"] == 2
        assert "is not available" in response.json["message"]
        assert "x-request-id" not in response.headers
    assert face.rejected == ["unknown_model"] * 3


def test_too_many_rows_answer_413(face: Face, tiny: Tiny) -> None:
    response = face.post(record_body(tiny.records[:65]))
    assert response.status == 413
    assert "rows in one request: got 65, the limit is 64" in response.json["message"]
    assert face.rejected == ["too_large"]


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (BackendError("down"), 500, 4, Outcome.BACKEND_ERROR),
        (TimeoutError("late"), 504, 5, Outcome.TIMEOUT),
        (RuntimeError("bug"), 500, 4, Outcome.BACKEND_ERROR),
    ],
)
def test_a_backend_that_fails_has_its_status_and_its_code(
    servable: Servable, tiny: Tiny, error: Exception, status: int, code: int, outcome: Outcome
) -> None:
    class Raising:
        async def score(self, features: FeatureBatch) -> Answer:
            raise error

    servable.backend = Raising()
    face = Face(servable)
    response = face.post(record_body(tiny.records[0]))
    assert (response.status, response.json["code"]) == (status, code)
    assert face.log.requests[0].outcome is outcome


def test_a_request_that_cannot_be_logged_answers_503(servable: Servable, tiny: Tiny) -> None:
    face = Face(servable, FullLog())
    response = face.post(record_body(tiny.records[0]))
    assert response.status == 503
    assert response.json["code"] == 6
    assert "move sealed segments away" in response.json["message"]
    assert "insts" not in response.json["data"]
    assert face.rejected == ["unavailable"]


def test_the_face_goes_on_after_each_of_them(servable: Servable, tiny: Tiny) -> None:
    face = Face(servable)
    good = record_body(tiny.records[0])
    expected = face.post(good).body
    face.post(b"{")
    face.post({}, target=("other", 1))
    face.events([DISCONNECT])
    face.events(body_events(b"x" * (LIMIT + 1)))
    assert face.post(good).body == expected


# ------------------------------------------------------------------------------------------- opaque


@dataclass
class Service:
    answer: Any

    def process(self, request: Any) -> Any:
        if self.answer is None:
            raise BackendError("process_request raised KeyError: 'data'")
        return self.answer


def opaque_face(answer: Any) -> Face:
    made = opaque_servable(ServableId("m47", 1), Service(answer), "in_process/mine")
    return Face(made, opaque=True)


@pytest.mark.parametrize(
    "answer",
    [{"message": "SUCCESS", "code": 0, "data": {"insts": [0.1]}}, {"own": ["form"]}, [1], "x", 0],
)
def test_an_inference_services_answer_is_passed_on_as_it_is(answer: Any) -> None:
    face = opaque_face(answer)
    response = face.post({"anything": 1}, target=("m47", 1))
    assert response.status == 200
    assert response.json == answer
    assert face.log.requests[0].payload.codec == "opaque/1"


def test_an_inference_service_that_fails_answers_500() -> None:
    response = opaque_face(None).post({}, target=("m47", 1))
    assert (response.status, response.json["code"]) == (500, 4)


def test_a_body_that_is_no_json_never_reaches_the_service() -> None:
    response = opaque_face({}).post(b"{", target=("m47", 1))
    assert (response.status, response.json["code"]) == (400, 1)


def test_a_failing_scorer_is_told_in_the_envelope(servable: Servable, tiny: Tiny) -> None:
    face = Face(replace(servable, backend=InProcessBackend(FailingScorer())))
    assert face.post(record_body(tiny.records[0])).json["message"] == "out of order"
