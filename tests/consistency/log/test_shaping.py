from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from consistency.errors import ConfigError
from consistency.log import LoggedRequest, LogSettings
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.line import decode_line
from consistency.log.redaction import HASH_PREFIX, Redaction
from consistency.log.sampling import Sampling, keeps
from consistency.log.shaping import LineShaper
from consistency.scored import Outcome, Payload
from tests.fixtures.scored import make_request

SECRET_KEY = b"k" * 32


def body(*records: Any) -> Payload:
    held = {"type": "record", "data": {"insts": list(records)}}
    return Payload(orjson.dumps(held), "tione/1", "application/json")


def shaped(shaper: LineShaper, **changes: Any) -> LoggedRequest | None:
    made = shaper.line(make_request(**changes))
    return None if made is None else decode_line(made[:-1])


def key_of(field: str, payload: Payload, redacts: tuple[str, ...] = ()) -> str | None:
    redaction = Redaction(redacts, key=SECRET_KEY if redacts else b"")
    shaper = LineShaper(LogSettings(Path(), key_field=field, redaction=redaction))
    request = shaped(shaper, payload=payload)
    assert request is not None
    return request.key


@pytest.mark.parametrize(
    ("field", "record", "key"),
    [
        ("user_id", {"user_id": "u1"}, "u1"),
        ("user_id", {"user_id": 42}, "42"),
        ("user_id", {"user_id": 1.5}, "1.5"),
        ("user_id", {"user_id": True}, "true"),
        ("user_id", {"user_id": None}, None),
        ("user_id", {"user_id": ["u1"]}, None),
        ("user_id", {}, None),
        ("user.id", {"user": {"id": "u1"}}, "u1"),
        ("user.id", {"user.id": "u1"}, "u1"),
        ("user.id", {"user": "u1"}, None),
        ("user.id", {"user": {"id": {"deep": 1}}}, None),
    ],
)
def test_the_key_is_the_fields_value_as_text(field: str, record: Any, key: str | None) -> None:
    assert key_of(field, body(record)) == key


def test_the_key_is_the_first_records() -> None:
    assert key_of("user", body({"user": "a"}, {"user": "b"})) == "a"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"u1"', b'{"data":{"insts":[]}}', b'{"data":{"insts":[[1]]}}',
     b'{"data":{"insts":"1:2"}}', b'{"data":[]}'],
)  # fmt: skip
def test_a_body_without_records_has_no_key(raw: bytes) -> None:
    assert key_of("user", Payload(raw, "tione/1", "application/json")) is None


def test_a_single_record_and_a_body_that_is_not_ti_ones_have_keys_too() -> None:
    one = Payload(b'{"type":"record","data":{"insts":{"user":"a"}}}', "tione/1", "")
    assert key_of("user", one) == "a"
    assert key_of("user", Payload(b'{"user":"b"}', "opaque/1", "")) == "b"


@pytest.mark.parametrize(
    ("field", "redacts"), [("user", "user"), ("user.id", "user"), ("user.id", "user.id"),
                           ("user.id", "id")]
)  # fmt: skip
def test_the_key_of_a_redacted_field_is_its_hash(field: str, redacts: str) -> None:
    record = {"user": "u1"} if field == "user" else {"user": {"id": "u1"}}
    key = key_of(field, body(record), (redacts,))
    assert key == Redaction(("user",), key=SECRET_KEY).hashed("u1")
    assert key.startswith(HASH_PREFIX)


def test_without_a_setting_a_line_has_neither_key_nor_ratio() -> None:
    request = decode_line(encode_line(make_request())[:-1])
    assert request.key is None
    assert request.sample_ratio == 1.0
    assert not {"key", "sample_ratio", "redacted"} & request.fields.keys()


@pytest.mark.parametrize("redacts", [(), ("user",)])
def test_all_requests_of_a_key_are_kept_or_none_and_offline_agrees(
    redacts: tuple[str, ...],
) -> None:
    redaction = Redaction(redacts, key=SECRET_KEY if redacts else b"")
    settings = LogSettings(Path(), key_field="user", sampling=Sampling(0.3), redaction=redaction)
    shaper = LineShaper(settings)
    kept = 0
    for user in map(str, range(200)):
        key = redaction.hashed(user) if redacts else user
        lines = [
            shaped(shaper, request_id=f"{user}-{i}", payload=body({"user": user})) for i in range(3)
        ]
        assert [line is not None for line in lines] == [keeps(key, 0.3)] * 3
        for line in lines:
            assert line is None or (line.key, line.sample_ratio) == (key, 0.3)
        kept += lines[0] is not None
    assert 30 < kept < 90


def test_without_a_key_requests_are_sampled_by_their_ids() -> None:
    shaper = LineShaper(LogSettings(Path(), sampling=Sampling(0.3)))
    for i in range(100):
        assert (shaped(shaper, request_id=f"r-{i}") is not None) == keeps(f"r-{i}", 0.3)


def test_errors_have_a_ratio_of_their_own() -> None:
    def count(sampling: Sampling) -> tuple[int, set[float]]:
        shaper = LineShaper(LogSettings(Path(), sampling=sampling))
        made = [shaped(shaper, request_id=f"r-{i}", outcome=Outcome.DATA_ERROR) for i in range(100)]
        return len([m for m in made if m]), {m.sample_ratio for m in made if m}

    assert count(Sampling(0.0)) == (100, {1.0})
    few, ratios = count(Sampling(1.0, 0.2))
    assert 0 < few < 50
    assert ratios == {0.2}


@pytest.mark.parametrize("field", ["", ".", "a.", "a..b"])
def test_a_key_with_nothing_in_it_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=r"give a field, or outer\.inner"):
        LogSettings(Path(), key_field=field)


def test_a_shaped_line_is_the_plain_line_where_nothing_applies() -> None:
    shaper = LineShaper(LogSettings(Path(), key_field="nobody"))
    assert shaper.line(make_request()) == encode_line(make_request())
