"""The HTTP client against sockets that answer oddly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.backends import http_client
from serving.backends.http_client import HttpConnections, HttpLostError, HttpRefusedError

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def says(*parts: bytes, then_close: bool = True) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_request(reader)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                if then_close:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    return answer


def asked(answer: Answer, times: int = 1, seconds: float = 60.0, limit: int = 1000) -> list[Any]:
    """Ask a server of this answer, and return what came or what was raised."""
    connections_seen = []

    async def run() -> list[Any]:
        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections_seen.append(1)
            await answer(reader, writer)

        server = await asyncio.start_server(count, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = HttpConnections("127.0.0.1", port, f"127.0.0.1:{port}", limit)
        got: list[Any] = []
        for _ in range(times):
            try:
                got.append(await client.ask("POST", "/x", b"{}", seconds))
            except (HttpLostError, HttpRefusedError, TimeoutError) as e:
                got.append(e)
            await asyncio.sleep(0.01)
        client.close()
        server.close()
        await asyncio.sleep(0.01)
        return [*got, len(connections_seen)]

    return asyncio.run(run())


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_a_connection_is_kept() -> None:
    assert asked(says(OK, then_close=False), times=3) == [(200, b"{}")] * 3 + [1]


def test_one_that_the_server_closed_is_not_used_again() -> None:
    assert asked(says(OK), times=3) == [(200, b"{}")] * 3 + [3]


def test_one_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "LONGEST_IDLE_SECONDS", 0.0)
    assert asked(says(OK, then_close=False), times=2)[-1] == 2


def test_one_that_the_server_wants_closed_is_closed() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert asked(says(closing, then_close=False), times=2) == [(200, b"{}")] * 2 + [2]


def test_an_answer_in_chunks_and_in_many_parts() -> None:
    head = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [head[:9], head[9:], b"1\r\n{\r\n", b"1\r\n", b"}\r\n", b"0\r\n\r\n"]
    assert asked(says(*parts))[0] == (503, b"{}")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "closed the connection before"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"], "closed the connection before"),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], "is no HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", b"x" * 2000], "larger than 1000"),
    ],
)
def test_what_is_no_whole_answer_is_a_lost_connection(parts: list[bytes], said: str) -> None:
    error, _ = asked(says(*parts))
    assert isinstance(error, HttpLostError)
    assert said in str(error)


def test_silence_ends_at_the_deadline() -> None:
    error, _ = asked(says(then_close=False), seconds=0.2)
    assert isinstance(error, TimeoutError)


def test_a_refused_connection_is_told_from_a_lost_one() -> None:
    async def run() -> None:
        server = await asyncio.start_server(says(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(HttpRefusedError):
            await HttpConnections("127.0.0.1", port, "x", 10).ask("GET", "/", b"", 5.0)

    asyncio.run(run())
