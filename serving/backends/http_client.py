"""A small HTTP/1.1 client on the event loop: requests with a body, kept-alive connections, bounds.

It never repeats a request by itself: only who asks knows whether that is safe.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httptools

_CHUNK_BYTES: Final = 1 << 16
LONGEST_IDLE_SECONDS: Final = 10.0
"""A connection that was idle for longer is not used again: the server may be about to close it."""


class HttpRefusedError(Exception):
    """No connection came about: nothing was sent."""


class HttpLostError(Exception):
    """The connection broke, or what came is no HTTP, after the request was sent."""


@dataclass(slots=True)
class _Answer:
    """What the parser of an answer tells."""

    limit_bytes: int
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    keeps: bool = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"connection" and value.lower() == b"close":
            self.keeps = False

    def on_body(self, part: bytes) -> None:
        self.body += part
        if len(self.body) > self.limit_bytes:
            raise HttpLostError(f"its answer is larger than {self.limit_bytes} bytes")

    def on_message_complete(self) -> None:
        self.complete = True


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0

    def is_usable(self) -> bool:
        gone = self.reader.at_eof() or self.writer.is_closing()
        return not gone and time.monotonic() - self.idle_since < LONGEST_IDLE_SECONDS


class HttpConnections:
    """Connections to one host. Belongs to one event loop.

    Args:
        host: name or IP address.
        port: TCP.
        netloc: both, for the Host header.
        limit_bytes: of an answer's body.
    """

    def __init__(self, host: str, port: int, netloc: str, limit_bytes: int) -> None:
        self._host, self._port, self._netloc = host, port, netloc
        self._limit_bytes = limit_bytes
        self._idle: deque[_Connection] = deque()

    async def ask(
        self, method: str, path: str, body: bytes, timeout_seconds: float
    ) -> tuple[int, bytes]:
        """Send a request and return status and body of its answer.

        Raises:
            HttpRefusedError: no connection came about.
            HttpLostError: it broke, or the answer is larger than it may be, or is no HTTP.
            TimeoutError: there is no whole answer in time; the connection is closed.
        """
        async with asyncio.timeout(timeout_seconds):
            connection = await self._connect()
            try:
                status, answer, keep = await self._exchange(connection, method, path, body)
            except BaseException:
                connection.writer.transport.abort()
                raise
        if keep:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.writer.close()
        return status, answer

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().writer.close()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()  # the one used last is the least likely to be closed
            if connection.is_usable():
                return connection
            connection.writer.close()
        try:
            return _Connection(*await asyncio.open_connection(self._host, self._port))
        except OSError as e:
            raise HttpRefusedError(str(e)) from e

    async def _exchange(
        self, connection: _Connection, method: str, path: str, body: bytes
    ) -> tuple[int, bytes, bool]:
        import httptools

        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answer = _Answer(self._limit_bytes)
        parser = httptools.HttpResponseParser(answer)
        try:
            connection.writer.write(head.encode("latin-1") + body)
            await connection.writer.drain()
            while not answer.complete:
                part = await connection.reader.read(_CHUNK_BYTES)
                if not part:
                    raise HttpLostError("it closed the connection before its answer was whole")
                parser.feed_data(part)
        except httptools.HttpParserCallbackError as e:
            raise HttpLostError(f"its answer cannot be taken: {e.__context__ or e}") from e
        except httptools.HttpParserError as e:
            raise HttpLostError(f"its answer is no HTTP: {e}") from e
        except OSError as e:
            raise HttpLostError(str(e)) from e
        return parser.get_status_code(), bytes(answer.body), self._keeps(answer, parser)

    @staticmethod
    def _keeps(answer: _Answer, parser: httptools.HttpResponseParser) -> bool:
        """Return whether the server keeps the connection: it does in HTTP/1.1 unless it says so."""
        return answer.keeps and parser.get_http_version() == "1.1"
