"""The ASGI application on a real core: HTTP, limits, extensions, strange bodies."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samescore.model_server.server import ModelServerSettings, make_core
from serving.faces.tfs_rest.app import RestApp, RestOptions
from serving.faces.tfs_rest.routes import Call, Route
from serving.model_server.deadline import call_deadline, exceeded
from serving.model_server.status import Code
from tests.fixtures.model_server import HALF_PLUS_TWO
from tests.serving.faces.tfs_rest.bodies import strange_body

pytestmark = pytest.mark.slow  # TensorFlow

PREDICT = "/v1/models/half:predict"
BODY = b'{"instances": [1.0, 2.0, 5.0]}'


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


async def ask(
    app: RestApp,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[bytes, bytes] | None = None,
) -> Reply:
    """Send one request to an application."""
    path, _, query = target.partition("?")
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(),
             "query_string": query.encode(), "headers": list((headers or {}).items())}  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, end = sent
    return Reply(start["status"], dict(start["headers"]), end["body"])


@pytest.fixture(scope="module")
def core() -> Iterator[Any]:
    from serving.model_server.configuration.model_config import single_model

    found = make_core(ModelServerSettings())
    found.start(single_model("half", str(HALF_PLUS_TWO)))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def app(core: Any) -> Iterator[RestApp]:
    found = RestApp(core)
    yield found
    found.close()


def get(app: RestApp, *args: Any, **more: Any) -> Reply:
    return asyncio.run(ask(app, *args, **more))


def test_answers(app: RestApp) -> None:
    reply = get(app, "POST", PREDICT, BODY)
    assert (reply.status, json.loads(reply.body)) == (200, {"predictions": [2.5, 3.0, 4.5]})
    assert reply.headers[b"content-length"] == b"%d" % len(reply.body)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed(app: RestApp, method: str) -> None:
    reply = get(app, method, PREDICT)
    assert (reply.status, reply.error) == (400, f"Malformed request: {method} {PREDICT}")


def test_other_paths_and_unknown_methods(app: RestApp) -> None:
    assert get(app, "GET", "/elsewhere").status == 404
    assert get(app, "TRACE", PREDICT).status == 501
    reply = get(app, "POST", f"{PREDICT}?x=1", BODY)
    assert (reply.status, reply.error) == (400, f"Malformed request: POST {PREDICT}?x=1")
    reply = get(app, "GET", "/v1/models/half?x=1")  # the query counts as part of the name
    assert reply.status == 404
    assert "half?x=1" in reply.error


def test_preflight_and_cors(core: Any, app: RestApp) -> None:
    page = {b"origin": b"https://example.org"}
    assert get(app, "OPTIONS", PREDICT, headers=page).status == 200
    assert get(app, "OPTIONS", PREDICT).status == 400
    assert b"access-control-allow-origin" not in get(app, "POST", PREDICT, BODY).headers
    open_app = RestApp(core, RestOptions(cors=True))
    reply = get(open_app, "POST", PREDICT, BODY)
    assert reply.headers[b"access-control-allow-origin"] == b"*"
    open_app.close()


def test_gzip_bodies(core: Any, app: RestApp) -> None:
    zipped = {b"content-encoding": b"gzip"}
    assert get(app, "POST", PREDICT, gzip.compress(BODY), zipped).status == 200
    for damaged in (b"no gzip", gzip.compress(BODY)[:-9]):
        reply = get(app, "POST", PREDICT, damaged, zipped)
        assert (reply.status, reply.error) == (400, "JSON Parse error: The document is empty")
    small = RestApp(core, RestOptions(max_unzipped_bytes=10_000))
    bomb = gzip.compress(b'{"instances": [1.0]}' + b" " * 10_000_000)
    assert (
        get(small, "POST", PREDICT, bomb, zipped).error == "JSON Parse error: The document is empty"
    )
    small.close()


def test_a_large_body_is_refused(core: Any) -> None:
    small = RestApp(core, RestOptions(max_body_bytes=10))
    reply = get(small, "POST", PREDICT, BODY)
    assert reply.status == 413
    assert "10" in reply.error
    small.close()


@pytest.mark.parametrize("key", ["instances", "inputs", "other", "signature_name"])
def test_500_000_levels(app: RestApp, key: str) -> None:
    body = b'{"%s": ' % key.encode() + b"[" * 500_000 + b"1" + b"]" * 500_000 + b"}"
    reply = get(app, "POST", PREDICT, body)
    assert reply.status == 400
    assert reply.error


def test_large_bodies_go_the_quick_way(app: RestApp) -> None:
    values = [n / 8 for n in range(5000)]
    reply = get(app, "POST", PREDICT, json.dumps({"instances": values}).encode())
    assert json.loads(reply.body)["predictions"] == [v / 2 + 2 for v in values]
    named = json.dumps({"instances": [{"x": v} for v in values]}).encode()
    assert get(app, "POST", PREDICT, named).body == reply.body
    mixed = json.dumps({"instances": [*values, True]}).encode()
    assert "element: 5000" in get(app, "POST", PREDICT, mixed).error


def test_exact_floats(core: Any, app: RestApp) -> None:
    body = b'{"instances": [0.2]}'
    assert b"2.1]" in get(app, "POST", PREDICT, body).body.replace(b"\n    ", b"")
    exact = RestApp(core, RestOptions(exact_floats=True))
    assert b"2.0999999046325684" in get(exact, "POST", PREDICT, body).body
    exact.close()


def test_pages(core: Any) -> None:
    app = RestApp(core, pages={"/metrics": lambda: b"up 1\n"})
    assert get(app, "GET", "/metrics").body == b"up 1\n"
    reply = get(app, "GET", "/metrics?x=1")
    assert (reply.status, reply.body) == (400, b"Unexpected path: /metrics?x=1. Should be /metrics")
    app.close()


def test_requests_are_observed(core: Any) -> None:
    seen: list[tuple[Route | None, Code]] = []
    app = RestApp(core, observe=lambda route, code, _seconds: seen.append((route, code)))
    for target in (PREDICT, "/v1/models/nope:predict", "/v1/nothing"):
        get(app, "POST", target, BODY)
    known, unknown = (
        Route(Call.PREDICT, "half", None, None),
        Route(Call.PREDICT, "nope", None, None),
    )
    assert seen == [
        (known, Code.OK), (unknown, Code.NOT_FOUND), (None, Code.INVALID_ARGUMENT)
    ]  # fmt: skip
    app.close()


class _SlowApi:
    """A core whose model computes until it is told to end."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.threads: list[str] = []
        self.called = threading.Event()
        self.go_on = threading.Event()

    def signature(self, spec: Any) -> Any:
        return self._core.signature(spec)

    def predict(self, request: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        self.called.set()
        assert self.go_on.wait(60)
        return self._core.predict(request)


def test_a_slow_model_does_not_hold_up_the_loop(core: Any) -> None:
    api = _SlowApi(core)
    app = RestApp(api)  # type: ignore[arg-type] # the calls that a predict request makes

    async def both() -> Reply:
        slow = asyncio.create_task(ask(app, "POST", PREDICT, BODY))
        await asyncio.to_thread(api.called.wait, 60)
        assert (await ask(app, "GET", "/elsewhere")).status == 404
        api.go_on.set()
        return await slow

    assert asyncio.run(both()).status == 200
    assert api.threads[0].startswith("tfs-rest")
    app.close()


def test_a_short_model_runs_on_the_loop(core: Any) -> None:
    api = _SlowApi(core)
    api.go_on.set()
    app = RestApp(api, hint_seconds=lambda _model: 0.0001)  # type: ignore[arg-type] # as above
    assert get(app, "POST", PREDICT, BODY).status == 200
    assert api.threads == [threading.current_thread().name]
    app.close()


def test_a_request_times_out(core: Any) -> None:
    api = _SlowApi(core)
    app = RestApp(api, RestOptions(timeout_seconds=0.05))  # type: ignore[arg-type] # as above
    reply = get(app, "POST", PREDICT, BODY)
    assert (reply.status, reply.error) == (504, "Timed out waiting for notification")
    api.go_on.set()
    app.close()


@pytest.mark.parametrize("timeout_seconds", [0.0, 60.0])
def test_a_call_knows_until_when_its_client_waits(core: Any, timeout_seconds: float) -> None:
    seen: list[float] = []

    class Api(_SlowApi):
        def predict(self, request: Any) -> Any:
            seen.append(call_deadline() - time.monotonic())
            if timeout_seconds:
                raise exceeded("in a batch")
            return super().predict(request)

    api = Api(core)
    api.go_on.set()
    app = RestApp(api, RestOptions(timeout_seconds=timeout_seconds))  # type: ignore[arg-type]
    reply = get(app, "POST", PREDICT, BODY)
    if timeout_seconds:
        assert (reply.status, reply.error) == (504, "Timed out waiting for notification")
        assert 0 < seen[0] <= timeout_seconds
    else:
        assert (reply.status, seen) == (200, [math.inf])
    app.close()


def check_strange(app: RestApp, rng: random.Random) -> None:
    """Send a strange body; whatever it is, the answer has a status and a message."""
    body = strange_body(rng)
    verb = rng.choice(("predict", "predict", "classify", "regress"))
    route = Route(Call(verb), "half", None, None)
    answer = app._handler.answer(route, body)  # below HTTP: there are 50,000 of them
    assert answer.code is not Code.INTERNAL, body
    assert answer.body
    if answer.code is not Code.OK:
        assert json.loads(answer.body.decode("utf-8", "replace"))["error"], body


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=0))
def test_strange_bodies(app: RestApp, seed: int) -> None:
    check_strange(app, random.Random(seed))


@settings(max_examples=500, deadline=None)
@given(st.integers(min_value=0))
def test_50_000_strange_bodies(app: RestApp, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        check_strange(app, rng)
