"""Calls an ASGI application as a server would, event by event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

DISCONNECT = {"type": "http.disconnect"}


@dataclass(frozen=True)
class Response:
    """What the application sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Sent:
    """The events that an application sent, in order."""

    events: list[dict[str, Any]]

    @property
    def response(self) -> Response:
        start, *parts = self.events
        assert start["type"] == "http.response.start"
        assert all(part["type"] == "http.response.body" for part in parts)
        headers = {k.decode(): v.decode() for k, v in start["headers"]}
        return Response(start["status"], headers, b"".join(p.get("body", b"") for p in parts))


def scope_of(
    path: str, method: str = "POST", headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    raw = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": raw,
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 9),
    }


def body_events(*chunks: bytes) -> list[dict[str, Any]]:
    """Return the events of a body in chunks; the last one ends it."""
    more = [True] * (len(chunks) - 1) + [False]
    return [
        {"type": "http.request", "body": chunk, "more_body": m}
        for chunk, m in zip(chunks, more, strict=True)
    ]


def call(
    app: Callable[..., Awaitable[None]],
    scope: dict[str, Any],
    events: Sequence[Mapping[str, Any]],
    *arguments: Any,
) -> Sent:
    """Run one request; reading beyond `events` is an error of the application."""
    pending, sent = iter(events), Sent([])

    async def receive() -> Mapping[str, Any]:
        event = next(pending, None)
        assert event is not None, "the application read beyond the end of the request"
        return event

    async def send(event: dict[str, Any]) -> None:
        sent.events.append(event)

    asyncio.run(app(scope, receive, send, *arguments))  # type: ignore[arg-type]
    return sent
