from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import orjson
import pytest

from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import LineDecoder, LineError, decode_line, join_line, opening
from consistency.scored import Payload, ScoredRequest
from tests.fixtures.scored import BODY, INFO, make_request


def signed(body: bytes) -> bytes:
    return b'%b,"crc":"%08x"}' % (body[:-1], zlib.crc32(body))


def several() -> list[ScoredRequest]:
    """Requests of different models, clients and outcomes, in turns."""
    infos = [replace(INFO, name=f"m{i}") for i in range(3)]
    types = ["application/json", 'text/json; x=",\\"request_id\\":"', "数据"]
    return [
        make_request(
            f"r-{i}",
            servable=infos[i % 3],
            payload=Payload(BODY, "tione/1", types[i % 2 + i % 3 // 2]),
            label="request_id" if i % 5 == 0 else None,
            message="late" if i % 4 == 0 else "",
        )
        for i in range(40)
    ]


def test_lines_that_begin_in_many_ways_are_read_in_turns() -> None:
    decoder = LineDecoder()
    for request in several():
        line = encode_line(request)[:-1]
        found = decoder.decode(line)
        assert found.request_id == request.request_id
        assert found.model == (request.servable.name, 1)
        assert found.payload == request.payload
        assert found.fields["label"] == request.label
        assert found.fields["message"] == request.message
        assert orjson.loads(line)["content_type"] == request.payload.content_type


def test_lines_that_begin_alike_share_one_context() -> None:
    contexts = {id(decode_line(encode_line(r)[:-1]).parts[1]) for r in several()}
    assert 1 < len(contexts) < 20
    same = [decode_line(encode_line(make_request(f"r-{i}"))[:-1]).parts[1] for i in range(3)]
    assert same[0] is same[1] is same[2]


def test_lines_that_begin_alike_begin_with_the_same_bytes() -> None:
    first, second = (encode_line(make_request(f"r-{i}", ingest_time_us=i)) for i in range(2))
    begin = first.index(b'"request_id"')
    assert first[:begin] == second[:begin]
    assert begin > len(first) // 2


@pytest.mark.parametrize("name", ["request_id", 'a,"request_id":', "crc", "v"])
def test_names_that_look_like_a_lines_own_mislead_nobody(name: str) -> None:
    request = make_request(snapshots={"a": "1", name: "2"}, outputs={name: make_request().scores})
    found = LineDecoder().decode(encode_line(request)[:-1])
    assert found.snapshots == {"a": "1", name: "2"}
    assert found.request_id == "r-1"
    assert found.outputs is not None
    assert found.outputs.keys() == {name}


def test_a_first_part_that_another_one_begins_with_is_not_taken_for_it() -> None:
    decoder = LineDecoder()
    for facts in ({"model": "m"}, {"model": "m", "version": 7}, {"model": "m"}):
        found = decoder.decode(join_line(opening(facts), {"request_id": "r", "rows": 1})[:-1])
        assert found.parts[1].facts == {"v": 2, **facts}
        assert found.parts[0] == {"request_id": "r", "rows": 1}


def test_more_beginnings_than_are_remembered_are_read_all_the_same() -> None:
    decoder = LineDecoder()
    lines = [encode_line(make_request(f"r-{i}", label=f"l{i}"))[:-1] for i in range(700)]
    for line in [*lines, *lines[::-1]]:
        assert decoder.decode(line).fields["label"] == json.loads(line)["label"]
    assert len(decoder._known) <= 256


def test_a_damaged_line_is_refused_and_the_next_one_read() -> None:
    decoder = LineDecoder()
    line = encode_line(make_request())[:-1]
    for position in range(0, len(line), 7):
        damaged = bytearray(line)
        damaged[position] ^= 0x01
        with pytest.raises((LineError, orjson.JSONDecodeError)):
            decoder.decode(bytes(damaged))
        assert decoder.decode(line).request_id == "r-1"


def test_a_cut_within_the_first_part_is_refused() -> None:
    decoder = LineDecoder()
    line = encode_line(make_request())[:-1]
    decoder.decode(line)
    for end in range(len(line)):
        with pytest.raises(LineError):
            decoder.decode(line[:end])


def test_any_facts_make_a_line() -> None:
    line = join_line(opening({"model": "m"}), {"request_id": "r", "rows": 1})
    assert json.loads(line) == {
        "v": 2, "model": "m", "request_id": "r", "rows": 1, "crc": json.loads(line)["crc"],
    }  # fmt: skip
    assert decode_line(line[:-1]).request_id == "r"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"v":3}', "line format 3, this version reads 1 and 2"),
        (b'{"v":2}', "line format 2, and no request in it"),
        (b'{"x":2}', "line format None"),
    ],
)
def test_a_line_of_another_format_says_which(body: bytes, problem: str) -> None:
    with pytest.raises(LineError, match=problem):
        decode_line(signed(body))


def test_a_request_knows_its_kind_without_its_features() -> None:
    found: Any = decode_line(encode_line(make_request(ingest_time_us=7))[:-1])
    assert (found.request_id, found.ingest_time_us, found.rows) == ("r-1", 7, 1)
    assert found._fields is None
    assert found == decode_line(encode_line(make_request(ingest_time_us=7))[:-1])
    assert found != decode_line(encode_line(make_request(ingest_time_us=8))[:-1])
    assert hash(found) == hash(decode_line(encode_line(make_request())[:-1]))
    assert repr(found) == "LoggedRequest('r-1')"
