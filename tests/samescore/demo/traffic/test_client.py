"""The client counts what it sent and what it got, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from samescore.demo.traffic.client import Courier, Job, Tally
from samescore.demo.traffic.plan import Phase, Planned
from samescore.demo.traffic.wire import Answer

GOOD = Planned(Phase.MIXED, (0, 1))
SPOILT = Planned(Phase.MIXED, (0,), "missing field")


def envelope(code: int, scores: list[float] | None = None) -> bytes:
    data = {} if scores is None else {"insts": scores}
    return orjson.dumps({"message": "SUCCESS", "code": code, "data": data})


def judged(planned: Planned, status: int, body: bytes) -> Tally:
    tally = Tally()
    tally.judge(planned, Answer(status, "id", body))
    return tally


def test_a_score_for_each_record_is_as_expected() -> None:
    tally = judged(GOOD, 200, envelope(0, [0.1, 0.2]))
    assert (tally.by_status, tally.rows, tally.unexpected, tally.failures) == ({200: 1}, 2, [], [])


def test_a_refusal_of_a_spoilt_request_is_as_expected() -> None:
    tally = judged(SPOILT, 400, envelope(1))
    assert (tally.by_status, tally.rows, tally.unexpected) == ({400: 1}, 0, [])


def test_a_score_for_a_spoilt_request_is_not() -> None:
    assert judged(SPOILT, 200, envelope(0, [0.1])).unexpected


def test_too_few_scores_are_not() -> None:
    assert judged(GOOD, 200, envelope(0, [0.1])).unexpected


def test_an_error_code_with_status_200_is_not() -> None:
    assert judged(GOOD, 200, envelope(1, [0.1, 0.2])).unexpected


def test_an_answer_without_the_envelope_is_no_answer() -> None:
    tally = judged(GOOD, 502, b"<html>bad gateway</html>")
    assert tally.to_json()["answered"] == 0
    assert tally.failures


@contextmanager
def speaking(answers: list[bytes]) -> Iterator[str]:
    """A server that reads once and answers once on each connection, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nX-Request-Id: r-7\r\n\r\n"
    return head.encode() + body


def test_a_broken_answer_is_sent_but_not_answered_and_the_next_one_is() -> None:
    whole = http(envelope(0, [0.1, 0.2]))
    with speaking([whole[:40], whole]) as url:
        courier = Courier(url, lambda: None)
        assert courier.send(Job("m", GOOD, b"{}")) is None
        answered = courier.send(Job("m", GOOD, b"{}"))
        courier.close()
    assert answered is not None
    assert answered[0] == "r-7"
    found = courier.tally.to_json()
    assert (found["sent"], found["answered"]) == (2, 1)
    assert len(found["failures"]) == 1


def test_nobody_listening_is_neither_sent_nor_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    courier = Courier(f"http://127.0.0.1:{port}", lambda: None)
    assert courier.send(Job("m", GOOD, b"{}")) is None
    assert courier.tally.to_json()["sent"] == 0
    assert courier.tally.failures
