"""The HTTP face as an ASGI application: `RestApp(api)`; uvicorn runs it.

Raw ASGI, as in `serving.faces.tione`: a router would read the escaped paths and the queries
otherwise than upstream. Only the model server loads this: it imports TensorFlow.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from consistency.errors import LimitError
from serving.faces.tfs_rest.handler import HTTP_STATUS, Answer, RestHandler, error_answer
from serving.faces.tfs_rest.routes import Call, Route, SilentError, is_handled, parse_target
from serving.faces.tione import ClientGoneError, Message, Receive, Scope, Send, read_body
from serving.model_server.deadline import NEVER, until
from serving.model_server.recording.received import OnRefused, Reception
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from serving.model_server.api import InferenceApi

_METHODS: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_JSON: Final = (b"content-type", b"application/json")
_HTML: Final = (b"content-type", b"text/html")
_PLAIN: Final = (b"content-type", b"text/plain")
_CORS: Final = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
]
_REASONS: Final = {404: "Not Found", 501: "Not Implemented"}
_TOO_LARGE: Final = 413
_TIMED_OUT: Final = "Timed out waiting for notification"
_INFERENCE: Final = frozenset({Call.PREDICT, Call.CLASSIFY, Call.REGRESS})
_SHORT_SECONDS: Final = 0.001  # a call this short may run on the event loop
_SMALL_BYTES: Final = 4096  # and a body this small be parsed there

_T = TypeVar("_T")
Headers = list[tuple[bytes, bytes]]
Observer = Callable[[Route | None, Code, float], None]


@dataclass(frozen=True, slots=True)
class RestOptions:
    """How the face behaves.

    Attributes:
        timeout_seconds: of one request, 0 for none; upstream's `rest_api_timeout_in_ms`.
        threads: that compute; upstream's `rest_api_num_threads`.
        cors: send CORS headers; upstream's `enable_cors_support`.
        exact_floats: read and write floats exactly, an extension.
        max_body_bytes: of one body as it is sent; a larger one gets 413. Upstream has no limit.
        max_unzipped_bytes: of a body sent with gzip; a larger one counts as empty, as upstream's.
    """

    timeout_seconds: float = 30.0
    threads: int = 4 * (os.cpu_count() or 1)
    cors: bool = False
    exact_floats: bool = False
    max_body_bytes: int = 512 << 20
    max_unzipped_bytes: int = 100 << 20


def _no_observer(_route: Route | None, _code: Code, _seconds: float) -> None:
    """Count nothing."""


class RestApp:
    """The face.

    Args:
        api: what answers.
        options: how it behaves.
        pages: further pages by exact path, such as the monitoring page: a function that returns
            plain text. With a query the answer is 400, as upstream's.
        observe: told of every request that is the face's: what was asked (None where that is not
            clear), how it ended, how many seconds it took.
        hint_seconds: how long a model's calls take at most, 0.0 for unknown; short ones run on the
            event loop and save a change of threads.
        reception: where bodies are left for an API that logs them.
        refused: told of bodies that the API never saw.
    """

    def __init__(
        self,
        api: InferenceApi,
        options: RestOptions | None = None,
        *,
        pages: Mapping[str, Callable[[], bytes]] | None = None,
        observe: Observer = _no_observer,
        hint_seconds: Callable[[str], float] = lambda _model: 0.0,
        reception: Reception | None = None,
        refused: OnRefused | None = None,
    ) -> None:
        self._options = options or RestOptions()
        self._handler = RestHandler(
            api, exact_floats=self._options.exact_floats, reception=reception, refused=refused
        )
        self._pages = dict(pages or {})
        self._observe = observe
        self._hint_seconds = hint_seconds
        self._pool = ThreadPoolExecutor(self._options.threads, thread_name_prefix="tfs-rest")

    def close(self) -> None:
        """Wait for requests under way, and end the threads."""
        self._pool.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self.close()
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, target, method = _path(scope), _target(scope), str(scope["method"])
        if method not in _METHODS:
            await _send_html(send, 501)
        elif path in self._pages:
            await self._send_page(send, path, target)
        elif not is_handled(target):
            await _send_html(send, 404)
        elif method == "OPTIONS":
            await self._preflight(scope, send)
        else:
            await self._serve_model(scope, receive, send, method, target)

    async def _preflight(self, scope: Scope, send: Send) -> None:
        """Answer a browser that asks whether it may call."""
        from_page = re.search(rb"https?://", _header(scope, b"origin")) is not None
        await _send(send, 200 if from_page else 400, self._cors(), b"")

    def _cors(self) -> Headers:
        return list(_CORS) if self._options.cors else []

    async def _send_page(self, send: Send, path: str, target: str) -> None:
        if target != path:
            text = f"Unexpected path: {target}. Should be {path}".encode()
            await _send(send, 400, [_PLAIN], text)
            return
        await _send(send, 200, [_PLAIN], await self._on_thread(self._pages[path]))

    async def _serve_model(
        self, scope: Scope, receive: Receive, send: Send, method: str, target: str
    ) -> None:
        start = time.perf_counter()
        route: Route | None = None
        try:
            body = await read_body(scope, receive, self._options.max_body_bytes)
            route = parse_target(method, target)
            answer = await self._answer(route, self._unzipped(scope, body))
        except ClientGoneError:
            return
        except LimitError as error:
            await self._send(send, error_answer(Code.RESOURCE_EXHAUSTED, str(error)), _TOO_LARGE)
            return
        except SilentError as error:
            answer = Answer(error.code, b"")
        except StatusError as error:
            answer = error_answer(error.code, error.message)
        # First: who has read the answer finds it counted.
        self._observe(route, answer.code, time.perf_counter() - start)
        await self._send(send, answer)

    def _unzipped(self, scope: Scope, body: bytes) -> bytes:
        if b"gzip" not in _header(scope, b"content-encoding"):
            return body
        return unzip(body, self._options.max_unzipped_bytes)

    async def _answer(self, route: Route, body: bytes) -> Answer:
        quick = route.call in _INFERENCE and len(body) <= _SMALL_BYTES
        if quick and 0.0 < self._hint_seconds(route.model) <= _SHORT_SECONDS:
            return self._handler.answer(route, body)
        seconds = self._options.timeout_seconds or None
        deadline = NEVER if seconds is None else time.monotonic() + seconds
        work = self._on_thread(partial(self._answer_until, deadline, route, body))
        try:
            answer = await asyncio.wait_for(work, seconds)
        except TimeoutError:
            return error_answer(Code.DEADLINE_EXCEEDED, _TIMED_OUT)
        # The thread may find first that the time is over; the client shall not see who did.
        is_over = answer.code is Code.DEADLINE_EXCEEDED
        return error_answer(answer.code, _TIMED_OUT) if is_over else answer

    def _answer_until(self, deadline: float, route: Route, body: bytes) -> Answer:
        with until(deadline):
            return self._handler.answer(route, body)

    def _on_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _send(self, send: Send, answer: Answer, status: int | None = None) -> None:
        status = status or HTTP_STATUS.get(answer.code, 500)
        await _send(send, status, [_JSON, *self._cors()], answer.body)


def unzip(body: bytes, max_bytes: int) -> bytes:
    """Return a gzip body's content; empty if it is damaged or larger than `max_bytes`, as upstream.

    >>> import gzip
    >>> unzip(gzip.compress(b"{}"), 100), unzip(gzip.compress(b"0" * 101), 100)
    (b'{}', b'')
    """
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        return b""
    return content if stream.eof and len(content) <= max_bytes else b""


def _path(scope: Scope) -> str:
    """Return the path as it was sent."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("utf-8", "surrogateescape")


def _target(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    return _path(scope) + (f"?{query.decode('utf-8', 'surrogateescape')}" if query else "")


def _header(scope: Scope, name: bytes) -> bytes:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), b"")


async def _send_html(send: Send, status: int) -> None:
    """Answer as upstream's web server does where the face has no say."""
    reason = _REASONS[status]
    text = (
        f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{reason}</H1>\n</BODY></HTML>\n"
    )
    await _send(send, status, [_HTML], text.encode())


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [*headers, length],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
