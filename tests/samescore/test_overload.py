"""Requests that uvicorn turns away at its bound are told, each once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from samescore.overload import telling_protocol
from samescore.server import UVICORN, listen
from tests.fixtures.server import Client, wait_until

BOUND = 3


async def answer(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("requests", [1, 4])
def test_who_finds_no_room_is_counted_and_nobody_else(requests: int) -> None:
    told: list[str] = []
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    settings = {**UVICORN, "limit_concurrency": BOUND}
    protocol = telling_protocol(lambda: told.append("-"))
    config = uvicorn.Config(answer, **{**settings, "lifespan": "off", "http": protocol})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(BOUND)]
        wait_until(lambda: len(server.server_state.connections) == BOUND, "they are taken in")
        client = Client(port)
        for _ in range(requests):
            assert client.get("/").status == 503
            client.close()  # uvicorn closes it too
        assert len(told) == requests
        for connection in idle:
            connection.close()
        wait_until(lambda: not server.server_state.connections, "they are gone")
        assert client.get("/").status == 200
        client.close()
        assert len(told) == requests
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()
