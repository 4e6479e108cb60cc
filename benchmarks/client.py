"""A client as cheap as Python allows: raw sockets, requests built beforehand, answers as bytes.

The same code talks to every contestant, so that what it costs falls out of every difference.
"""

from __future__ import annotations

import gc
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Final, Self

from benchmarks.workload import BenchmarkError

_TIMEOUT_SECONDS: Final = 30.0
_READ: Final = 1 << 16
_HEAD_END: Final = b"\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 "


def request_bytes(path: str, body: bytes) -> bytes:
    """Return an HTTP/1.1 POST, ready to be sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Client:
    """One connection, kept open, one request at a time."""

    def __init__(self, port: int) -> None:
        self._socket = _connect(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the answer's body.

        Raises:
            BenchmarkError: the answer is not 200.
        """
        self._socket.sendall(request)
        answer = self._socket.recv(_READ)
        while not _whole(answer):
            answer += _rest(self._socket.recv(_READ))
        return answer.partition(_HEAD_END)[2]

    def block(self, requests: Sequence[bytes]) -> list[int]:
        """Send requests one after another.

        Returns:
            For each, the nanoseconds from the first byte out to the last byte in.

        Raises:
            BenchmarkError: an answer is not 200.
        """
        send, receive, now = self._socket.sendall, self._socket.recv, perf_counter_ns
        taken = []
        with _no_collection():
            for request in requests:
                start = now()
                send(request)
                answer = receive(_READ)
                end = now()
                while not _whole(answer):  # it came in pieces
                    answer += _rest(receive(_READ))
                    end = now()
                taken.append(end - start)
        return taken


class Crowd:
    """Several connections at once; each sends its next request when it has its answer."""

    def __init__(self, port: int, connections: int) -> None:
        sockets = [_connect(port) for _ in range(connections)]
        self._sockets = {s.fileno(): s for s in sockets}
        self._epoll = select.epoll()
        for number in self._sockets:
            self._epoll.register(number, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()
        for one in self._sockets.values():
            one.close()

    def throughput(self, requests: Sequence[bytes]) -> float:
        """Send every request once and return how many a second were answered.

        Raises:
            BenchmarkError: an answer is not 200, or none came for long.
        """
        waiting = iter(requests)
        with _no_collection():
            start = perf_counter_ns()
            for one, request in zip(self._sockets.values(), waiting, strict=False):
                one.sendall(request)
            self._serve(waiting, len(requests))
            return len(requests) / (perf_counter_ns() - start) * 1e9

    def _serve(self, waiting: Iterator[bytes], open_answers: int) -> None:
        parts = dict.fromkeys(self._sockets, b"")
        while open_answers:
            ready = self._epoll.poll(_TIMEOUT_SECONDS)
            if not ready:
                raise BenchmarkError(f"no answer within {_TIMEOUT_SECONDS:.0f} s")
            for number, _ in ready:
                one = self._sockets[number]
                answer = parts[number] + _rest(one.recv(_READ))
                if not _whole(answer):
                    parts[number] = answer
                    continue
                parts[number] = b""
                open_answers -= 1
                request = next(waiting, None)
                if request is not None:
                    one.sendall(request)


def _connect(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Blocking without a timeout spares a poll() before every read.
    one.settimeout(None)
    return one


def _whole(answer: bytes) -> bool:
    """Tell whether an answer has all its bytes.

    Raises:
        BenchmarkError: it is not 200, or nothing at all.
    """
    if not answer or not _OK.startswith(answer[: len(_OK)]):
        raise BenchmarkError(f"the server answered {answer[:300]!r}")
    head = answer.find(_HEAD_END)
    if head < 0:
        return False
    at = answer.find(b"content-length: ", 0, head)
    end = answer.find(b"\r\n", at)
    return at >= 0 and len(answer) - head - len(_HEAD_END) >= int(answer[at + 16 : end])


def _rest(part: bytes) -> bytes:
    if not part:
        raise BenchmarkError("the server closed the connection before its answer was whole")
    return part


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
