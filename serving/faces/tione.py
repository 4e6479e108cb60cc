"""TI-ONE's HTTP face: `POST {base}/predict/{model}/{version}`.

Answers `{"message": "SUCCESS", "code": 0, "data": {"insts": [...]}}`, with `flags` beside `insts`
where a guard flags rows; an error has its text in `message` and a `code` that is not 0 (`Code`).
Raw ASGI: a router and request objects would cost a single record as much as its feature pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from consistency.errors import LimitError, LogError, ModelNotFoundError, SamescoreError
from consistency.scored import Outcome, Payload
from serving.dataplane import DataPlane
from serving.run import Reply

Scope: TypeAlias = MutableMapping[str, Any]  # Any: ASGI's own untyped messages
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Code(IntEnum):
    """The envelope's `code`, by what went wrong."""

    SUCCESS = 0
    DATA_ERROR = 1
    MODEL_NOT_FOUND = 2
    TOO_LARGE = 3
    BACKEND_ERROR = 4
    TIMEOUT = 5
    NOT_LOGGED = 6


_STATUS: Final = {
    Code.SUCCESS: 200,
    Code.DATA_ERROR: 400,
    Code.MODEL_NOT_FOUND: 404,
    Code.TOO_LARGE: 413,
    Code.BACKEND_ERROR: 500,
    Code.TIMEOUT: 504,
    Code.NOT_LOGGED: 503,
}

_OUTCOME: Final = {
    Outcome.OK: Code.SUCCESS,
    Outcome.DATA_ERROR: Code.DATA_ERROR,
    Outcome.BACKEND_ERROR: Code.BACKEND_ERROR,
    Outcome.TIMEOUT: Code.TIMEOUT,
}

_PATH: Final = re.compile(r"(?:.*?/)?predict/+([^/]+)(?:/+([0-9]{1,19}))?/*")


@lru_cache(maxsize=1024)
def parse_path(path: str) -> tuple[str, int | None] | None:
    """Return model and version (None: the largest) of a predict path, or None for another path.

    Any base before it and doubled slashes are tolerated, as TI-ONE's gateway sends them.

    >>> parse_path("/gpu_cluster/inference-15//predict/m47/1")
    ('m47', 1)
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    return match[1], None if match[2] is None else int(match[2])


class ClientGoneError(SamescoreError):
    """The client went away before its body was complete."""


class TioneFace:
    """The face as an ASGI handler.

    Args:
        plane: the data plane.
        is_opaque: tells whether a model takes bodies as a whole.
        max_body_bytes: of one request.
        rejected: counts a request that never reached a model, by reason.
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        max_body_bytes: int,
        is_opaque: Callable[[str], bool] = lambda _name: False,
        rejected: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._plane = plane
        self._is_opaque = is_opaque
        self._max_body_bytes = max_body_bytes
        self._rejected = rejected

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, model: str, version: int | None
    ) -> None:
        """Answer one predict request."""
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
            codec = "opaque/1" if self._is_opaque(model) else "tione/1"
            payload = Payload(body, codec, _content_type(scope))
            reply = await self._plane.score(model, version, payload)
        except ModelNotFoundError as e:
            self._rejected("unknown_model")
            await _send(send, Code.MODEL_NOT_FOUND, _error(Code.MODEL_NOT_FOUND, str(e)))
        except LimitError as e:
            self._rejected("too_large")
            await _send(send, Code.TOO_LARGE, _error(Code.TOO_LARGE, str(e)))
        except LogError as e:
            self._rejected("unavailable")
            await _send(send, Code.NOT_LOGGED, _error(Code.NOT_LOGGED, str(e)))
        except ClientGoneError:
            self._rejected("malformed")
        else:
            code = _OUTCOME[reply.request.outcome]
            await _send(send, code, _body(reply, code), reply.request.request_id)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return a request's body.

    Raises:
        LimitError: it is larger than `limit` bytes; what was declared or read so far is enough.
        ClientGoneError: the client went away.
    """
    parts: list[bytes] = []
    got, declared = 0, _declared_length(scope)
    more = True
    while True:
        if max(got, declared) > limit:
            size = max(got, declared)
            raise LimitError("request body in bytes", got=size, limit=limit, remedy="send less")
        if not more:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client went away before its body was complete")
        parts.append(message.get("body", b""))
        got += len(parts[-1])
        more = message.get("more_body", False)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _content_type(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value.decode("latin-1"))
    return ""


def _body(reply: Reply, code: Code) -> bytes:
    if code is not Code.SUCCESS:
        return _error(code, reply.request.message)
    if reply.opaque:
        return orjson.dumps(reply.opaque_answer)
    scores = reply.request.scores
    data: dict[str, Any] = {"insts": [] if scores is None else scores.tolist()}
    if reply.request.flags:
        data["flags"] = reply.request.flags
    return orjson.dumps({"message": "SUCCESS", "code": 0, "data": data})


def _error(code: Code, message: str) -> bytes:
    return orjson.dumps({"message": message, "code": int(code), "data": {}})


async def _send(send: Send, code: Code, body: bytes, request_id: str = "") -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    if request_id:
        headers.append((b"x-request-id", request_id.encode()))
    await send({"type": "http.response.start", "status": _STATUS[code], "headers": headers})
    await send({"type": "http.response.body", "body": body})
