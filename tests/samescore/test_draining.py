from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from samescore.draining import DrainingServer
from samescore.server import UVICORN, listen

ANSWER = b"done"
BLOCKED_SECONDS = 0.3

Connect = Callable[[int], http.client.HTTPConnection]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer; `/block` holds up the event loop, so that others wait to be accepted."""
    await receive()
    if scope["path"] == "/block":
        time.sleep(BLOCKED_SECONDS)  # noqa: ASYNC251 - that is the point
    headers = [(b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


@contextmanager
def running() -> Iterator[tuple[DrainingServer, int, threading.Thread]]:
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = DrainingServer(uvicorn.Config(app, lifespan="off", **UVICORN))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield server, port, thread
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[http.client.HTTPConnection] = []

    def new(port: int) -> http.client.HTTPConnection:
        made.append(http.client.HTTPConnection("127.0.0.1", port, timeout=30))
        return made[-1]

    yield new
    for connection in made:
        connection.close()


def answered(connection: http.client.HTTPConnection) -> bool:
    """Read an answer; tell whether it says that the connection ends."""
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, ANSWER)
    return reply.getheader("connection") == "close"


def test_what_was_sent_is_answered_and_the_next_connection_refused(connect: Connect) -> None:
    with running() as (server, port, thread):
        kept, blocking = connect(port), connect(port)
        kept.request("GET", "/")
        assert not answered(kept)
        blocking.request("GET", "/block")
        time.sleep(BLOCKED_SECONDS / 3)
        # The loop is held up: none of these was accepted or read when the stop begins.
        waiting = [connect(port) for _ in range(5)]
        for each in (kept, *waiting):
            each.request("GET", "/")
        server.should_exit = True
        answered(blocking)
        for each in (kept, *waiting):
            answered(each)
        thread.join(30)
        assert not thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            connect(port).request("GET", "/")


def test_a_connection_that_stays_silent_is_closed() -> None:
    with (
        running() as (server, port, thread),
        socket.create_connection(("127.0.0.1", port)) as silent,
    ):
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
        with suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_closed_loops_never_lose_a_request(connect: Connect) -> None:
    lost: list[str] = []

    def ask(port: int) -> None:
        connection = connect(port)
        try:
            while True:
                connection.request("GET", "/")
                answered(connection)
        except ConnectionRefusedError:
            return
        except (OSError, http.client.HTTPException) as error:
            lost.append(repr(error))

    for _ in range(3):
        with running() as (server, port, thread):
            clients = [threading.Thread(target=ask, args=(port,), daemon=True) for _ in range(8)]
            for client in clients:
                client.start()
            time.sleep(0.2)
            server.should_exit = True
            thread.join(30)
            for client in clients:
                client.join(30)
                assert not client.is_alive()
    assert not lost
