from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.client import Client, Crowd, request_bytes
from benchmarks.workload import BenchmarkError

REQUEST = request_bytes("/", b"[1]")
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a": 12}'


class Peer:
    """A server that answers every request with the same parts, one write each."""

    def __init__(self) -> None:
        self.parts: list[bytes] = [ANSWER]
        self.seen: list[bytes] = []
        self.hangs_up = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone wakes no thread that accepts
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while request := connection.recv(1 << 16):
                self.seen.append(request)
                for part in self.parts:
                    connection.sendall(part)
                if self.hangs_up:
                    return


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def test_a_request_is_whole_http() -> None:
    head, _, body = request_bytes("/predict/m/1", b"{}").partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict/m/1 HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 2" in head
    assert body == b"{}"


def test_every_request_is_timed(peer: Peer) -> None:
    with Client(peer.port) as client:
        assert client.ask(REQUEST) == b'{"a": 12}'
        taken = client.block([REQUEST] * 20)
    assert len(taken) == 20
    assert min(taken) > 0
    assert peer.seen == [REQUEST] * 21


def test_an_answer_in_pieces_is_waited_for(peer: Peer) -> None:
    peer.parts = [ANSWER[:20], ANSWER[20:40], ANSWER[40:]]
    with Client(peer.port) as client:
        assert client.ask(REQUEST) == b'{"a": 12}'
        assert len(client.block([REQUEST] * 5)) == 5


def test_a_crowd_sends_every_request_once(peer: Peer) -> None:
    peer.parts = [ANSWER[:30], ANSWER[30:]]
    with Crowd(peer.port, 4) as crowd:
        assert crowd.throughput([REQUEST] * 50) > 0
        assert crowd.throughput([REQUEST] * 3) > 0
    assert len(peer.seen) == 53


def test_a_first_piece_may_be_a_few_bytes(peer: Peer) -> None:
    peer.parts = [ANSWER[:3], ANSWER[3:]]
    with Client(peer.port) as client:
        assert client.ask(REQUEST) == b'{"a": 12}'


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", b"junk"])
def test_an_answer_that_is_not_200_stops_the_benchmark(peer: Peer, answer: bytes) -> None:
    peer.parts = [answer]
    with Client(peer.port) as client, pytest.raises(BenchmarkError, match="the server answered"):
        client.block([REQUEST])
    with Crowd(peer.port, 2) as crowd, pytest.raises(BenchmarkError, match="the server answered"):
        crowd.throughput([REQUEST])


def test_an_answer_that_breaks_off_is_not_waited_for(peer: Peer) -> None:
    peer.parts, peer.hangs_up = [ANSWER[:40]], True
    with Client(peer.port) as client, pytest.raises(BenchmarkError, match="closed the connection"):
        client.block([REQUEST])
    with Crowd(peer.port, 2) as crowd, pytest.raises(BenchmarkError, match="closed the connection"):
        crowd.throughput([REQUEST])
