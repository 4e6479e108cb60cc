"""The ASGI application: the predict face, and the pages for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from consistency.errors import ModelNotFoundError
from serving.arrivals import watch_arrivals
from serving.core.state import ManagerState, VersionStatus
from serving.faces.tione import Receive, Scope, Send, TioneFace, parse_path

_TIONE_STATE: Final = {
    ManagerState.START: "deploying",
    ManagerState.LOADING: "deploying",
    ManagerState.AVAILABLE: "serving",
    ManagerState.UNLOADING: "serving",
    ManagerState.END: "failed",
}


class App:
    """Sends predict requests to their face, and all else to the operators' pages.

    Args:
        face: answers predict requests.
        statuses: every known version's state.
        gate_of: the gate state of an available version and what its gate found, for the status
            page; it may raise ModelNotFoundError when the version is just gone.
        metrics: content and content type of `/metrics`, for a scraper's Accept header.
        on_shutdown: called once when the server stops, after the last request.
        arrival_waited: told, ten times a second, how many seconds an arriving request waits.
    """

    def __init__(
        self,
        face: TioneFace,
        *,
        statuses: Callable[[], Sequence[VersionStatus]],
        gate_of: Callable[[VersionStatus], tuple[str, str]],
        metrics: Callable[[str], tuple[bytes, str]],
        on_shutdown: Callable[[], None] = lambda: None,
        arrival_waited: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._face = face
        self._statuses, self._gate_of, self._metrics = statuses, gate_of, metrics
        self._on_shutdown, self._arrival_waited = on_shutdown, arrival_waited
        self._pages = Starlette(
            routes=[
                Route("/health/live", self._live),
                Route("/health/ready", self._ready),
                Route("/models", self._models),
                Route("/metrics", self._metrics_page),
            ],
            exception_handlers={404: _nowhere},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI event stream."""
        if scope["type"] == "http" and scope["method"] == "POST":
            target = parse_path(scope["path"])
            if target is not None:
                await self._face(scope, receive, send, *target)
                return
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._pages(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        watching: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                watching = asyncio.create_task(watch_arrivals(self._arrival_waited))
                await send({"type": "lifespan.startup.complete"})
            else:
                if watching is not None:
                    watching.cancel()
                self._on_shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _live(self, request: Request) -> Response:
        return Response("ok", media_type="text/plain")

    async def _ready(self, request: Request) -> Response:
        """Ready when every model has a version that serves."""
        found = self._statuses()
        serving = {s.id.name for s in found if s.state is ManagerState.AVAILABLE}
        waiting = sorted({s.id.name for s in found} - serving)
        ready = bool(serving) and not waiting
        body = {"ready": ready, "serving": sorted(serving), "not_serving": waiting}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def _models(self, request: Request) -> Response:
        return JSONResponse([self._model(status) for status in self._statuses()])

    def _model(self, status: VersionStatus) -> dict[str, object]:
        gone = status.state is ManagerState.END and not status.error
        gate, report = self._gate(status)
        return {
            "name": status.id.name,
            "version": status.id.version,
            "state": status.state.value,
            "status": "unloaded" if gone else _TIONE_STATE[status.state],
            "gate": gate,
            "gate_report": report,
            "error": status.error,
        }

    def _gate(self, status: VersionStatus) -> tuple[str | None, str]:
        if status.state is not ManagerState.AVAILABLE:
            return None, ""
        try:
            return self._gate_of(status)
        except ModelNotFoundError:  # unloaded since its status was read
            return None, ""

    async def _metrics_page(self, request: Request) -> Response:
        content, media_type = self._metrics(request.headers.get("accept", ""))
        return Response(content, media_type=media_type)


async def _nowhere(request: Request, _error: Exception) -> Response:
    message = (
        f"nothing is here for {request.method}; a score is asked for by POST {{base}}/predict/"
        "{model}/{version} with a whole number for the version, or without it; pages are /models,"
        " /health/live, /health/ready, /metrics"
    )
    return JSONResponse({"message": message, "code": 2, "data": {}}, status_code=404)
