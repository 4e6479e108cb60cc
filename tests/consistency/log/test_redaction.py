from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.errors import ConfigError, DataError, ReplayError
from consistency.features import FeatureBatch
from consistency.log import LoggedRequest, LogSettings
from consistency.log.lines.entry import HASHED, PayloadForm
from consistency.log.lines.line import decode_line
from consistency.log.redaction import HASH_PREFIX, WITHHELD, Redaction, read_key
from consistency.log.shaping import LineShaper
from consistency.schema import FeatureSchema, FeatureType
from consistency.scored import Outcome, Payload
from tests.fixtures.scored import make_request

KEY = b"k" * 32
SECRET = "ada@example.org"


def line(
    body: bytes, *fields: str, hidden: tuple[str, ...] = (), codec: str = "tione/1", **changes: Any
) -> bytes:
    """The line of a request with a body, without its newline."""
    settings = LogSettings(Path(), redaction=Redaction(fields, hidden, KEY))
    made = LineShaper(settings).line(
        make_request(payload=Payload(body, codec, "application/json"), **changes)
    )
    assert made is not None
    return made[:-1]


def logged(body: bytes, *fields: str, **changes: Any) -> LoggedRequest:
    return decode_line(line(body, *fields, **changes))


def records(*held: Any) -> bytes:
    return orjson.dumps({"type": "record", "data": {"insts": list(held)}})


def insts(request: LoggedRequest) -> Any:
    return orjson.loads(request.payload.body)["data"]["insts"]


def hashed(text: str) -> str:
    """What stands for a text, computed as anybody who has the key can."""
    return HASH_PREFIX + hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


# ------------------------------------------------------------------------------------------ payload


def test_the_named_values_are_keyed_hashes_and_the_rest_is_as_it_was() -> None:
    request = logged(records({"x": 1.5, "email": SECRET, "n": None}, {"x": -0.0}), "email")
    assert insts(request) == [{"x": 1.5, "email": hashed(SECRET), "n": None}, {"x": -0.0}]
    assert b"-0.0" in request.payload.body
    assert request.payload_form is PayloadForm.REDACTED
    assert request.redacted == ("email",)
    assert request.scores is not None


def test_the_payload_is_canonical() -> None:
    one = logged(b'{ "type":"record", "data":{"insts":[{"b":1e2,"a":"x","email":"e"}]}}', "email")
    other = logged(b'{"data":{"insts":[{"email":"e","a":"x","b":100.0}]},"type":"record"}', "email")
    assert one.payload.body == other.payload.body


@pytest.mark.parametrize("value", [1, 1.5, True, ["a", 1], {"b": 1, "a": 2}])
def test_any_kind_of_value_is_hashed_by_its_json(value: Any) -> None:
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    assert insts(logged(records({"f": value}), "f")) == [{"f": hashed(text)}]


def test_a_null_stays_a_null_and_an_absent_field_absent() -> None:
    assert insts(logged(records({"email": None}, {}), "email")) == [{"email": None}, {}]


def test_a_path_reaches_into_objects_lists_and_dotted_names() -> None:
    held = {"customer": {"name": "Ada", "age": 3}, "customer.name": "Bob", "name": "kept"}
    many = {"customer": [{"name": "Cleo"}, {"name": "Dan"}], "deep": [[{"customer": {"name": 1}}]]}
    request = logged(records(held, many), "customer.name")
    assert insts(request) == [
        {"customer": {"name": hashed("Ada"), "age": 3}, "customer.name": hashed("Bob"),
         "name": "kept"},
        {"customer": [{"name": hashed("Cleo")}, {"name": hashed("Dan")}],
         "deep": [[{"customer": {"name": hashed("1")}}]]},
    ]  # fmt: skip


def test_a_whole_object_can_be_redacted() -> None:
    request = logged(records({"customer": {"name": SECRET}}), "customer", "customer.name")
    assert insts(request) == [{"customer": hashed(f'{{"name":"{SECRET}"}}')}]


def test_the_envelope_survives_fields_of_its_names() -> None:
    request = logged(records({"type": "t", "data": "d", "insts": "i"}), "type", "data", "insts")
    held = {"type": hashed("t"), "data": hashed("d"), "insts": hashed("i")}
    assert insts(request) == [held]


@pytest.mark.parametrize(
    "body",
    [
        {"email": SECRET},
        {"type": "record", "email": SECRET, "data": {"insts": []}},
        {"type": "record", "data": {"insts": {"email": SECRET}}},
        {"type": "record", "data": {"email": SECRET}},
        {"type": {"email": SECRET}, "data": [{"email": [SECRET]}]},
        [{"email": SECRET}],
        {"a": [[[{"b": {"email": {"x": SECRET}}}]]]},
    ],
)
@pytest.mark.parametrize("codec", ["tione/1", "opaque/1"])
def test_a_malformed_envelope_hides_nothing(body: Any, codec: str) -> None:
    assert SECRET.encode() not in line(orjson.dumps(body), "email", codec=codec)


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b'{"email":"' + SECRET.encode() + b'"}' + b"}" * depth


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", SECRET.encode(), b'{"email":"' + SECRET.encode() + b'"',
     b'{"email": NaN}', nested(300), nested(900), nested(5000), b"email=" + SECRET.encode()],
    ids=lambda b: f"{len(b)} bytes",
)  # fmt: skip
def test_what_cannot_be_parsed_or_written_leaves_hash_and_length(body: bytes) -> None:
    made = line(body, "email", outcome=Outcome.DATA_ERROR, features=None)
    assert SECRET.encode() not in made
    request = decode_line(made)
    assert request.fields["payload_encoding"] == HASHED
    assert request.payload_form is PayloadForm.HASHED
    expected = f"{hmac.new(KEY, body, hashlib.sha256).hexdigest()}:{len(body)}"
    assert request.fields["payload"] == expected
    with pytest.raises(ReplayError, match="start from its features"):
        _ = request.payload


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["email", "a", "data", "insts", "type"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(json_values, st.sampled_from(["tione/1", "opaque/1"]))
def test_no_value_under_a_redacted_name_is_ever_left(body: Any, codec: str) -> None:
    marked = plant(body)
    request = logged(orjson.dumps(marked), "email", codec=codec)
    assert SECRET not in request.payload.body.decode()
    found = orjson.loads(request.payload.body)
    assert strip(found) == strip(marked), "and nothing else is touched"


def plant(node: Any) -> Any:
    """Put the secret wherever the name is."""
    if isinstance(node, list):
        return [plant(each) for each in node]
    if isinstance(node, dict):
        return {k: SECRET if k == "email" else plant(v) for k, v in node.items()}
    return node


def strip(node: Any) -> Any:
    if isinstance(node, list):
        return [strip(each) for each in node]
    if isinstance(node, dict):
        return {k: "-" if k == "email" else strip(v) for k, v in node.items()}
    return node


# ----------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "message",
    [
        str(DataError(f"is {SECRET!r:.60}; send a number", row=0, field="email")),
        str(DataError(f"is {SECRET!r}", field="email")),
        str(DataError(f"the mail {SECRET} is odd", row=0, field="x")),
        str(DataError(f"the mail {SECRET[:9]}... is odd", row=0, field="x")),
        str(DataError(f"holds {SECRET}")),
        f"stage features failed: ValueError: {SECRET}",
        SECRET,
    ],
)
def test_no_message_quotes_a_redacted_value(message: str) -> None:
    body = records({"x": 1.5, "email": SECRET})
    made = line(body, "email", outcome=Outcome.DATA_ERROR, message=message)
    assert b"ada@exam" not in made
    assert WITHHELD in decode_line(made).fields["message"]


@pytest.mark.parametrize("padding", range(20, 60))
@pytest.mark.parametrize("held", [SECRET, [SECRET], {"of": SECRET}])
def test_no_message_quotes_the_beginning_of_a_value_within_another(padding: int, held: Any) -> None:
    outer = {"p" * padding: 1, "email": held}
    message = str(DataError(f"is the object {outer!r:.60}...; send a float64", row=0, field="x"))
    request = logged(records({"x": outer}), "email", message=message)
    assert request.fields["message"] == f"数据错误: row 0 field 'x' {WITHHELD}"


def test_a_message_still_says_where() -> None:
    message = str(DataError(f"is {SECRET!r}; send a number", row=7, field="email"))
    request = logged(records({"email": SECRET}), "email", message=message)
    assert request.fields["message"] == f"数据错误: row 7 field 'email' {WITHHELD}"


@pytest.mark.parametrize(
    "message",
    [
        str(DataError("is 'many'; send a number", row=0, field="x")),
        str(DataError("is missing; send a float64", row=3, field="it's")),
        "",
    ],
)
def test_what_is_said_of_other_fields_is_kept(message: str) -> None:
    body = records({"x": "many", "email": SECRET})
    assert logged(body, "email", message=message).fields["message"] == message


def test_a_value_with_odd_characters_is_recognised_as_python_shows_it() -> None:
    value = "a\n'b\"\\c"
    message = str(DataError(f"beside {value!r}", row=0, field="x"))
    request = logged(records({"email": value}), "email", message=message)
    assert request.fields["message"] == f"数据错误: row 0 field 'x' {WITHHELD}"


def test_of_a_body_that_is_no_json_only_the_parsers_own_message_is_kept() -> None:
    plain = "数据错误: malformed JSON (unexpected end at line 1 column 1); send one JSON object"
    assert logged(b"{", "email", message=plain).fields["message"] == plain
    assert logged(b"{", "email", message=f"got {SECRET}").fields["message"] == WITHHELD


# ----------------------------------------------------------------------------------------- features


def batch(**columns: tuple[FeatureType, list[Any]]) -> FeatureBatch:
    schema = FeatureSchema(tuple(columns), tuple(kind for kind, _ in columns.values()))
    floats = [v for kind, v in columns.values() if kind is FeatureType.FLOAT64]
    others = {
        n: np.array(v, object)
        for n, (kind, v) in columns.items()
        if kind is not FeatureType.FLOAT64
    }
    numeric = np.array(floats, np.float64).T.reshape(1, len(floats))
    status = {name: np.array([1], np.uint8) for name in columns}
    return FeatureBatch(schema, 1, np.asfortranarray(numeric), others, status)


def test_redacted_features_and_all_that_is_said_of_them_are_gone() -> None:
    features = batch(
        age=(FeatureType.FLOAT64, [float("inf")]),
        mail=(FeatureType.STRING, [SECRET]),
        kept=(FeatureType.FLOAT64, [2.5]),
    )
    made = line(records({"a": 1}), hidden=("age", "mail"), features=features)
    assert SECRET.encode() not in made
    request = decode_line(made)
    assert request.redacted_features == ("age", "mail")
    assert request.fields["features"] == {"kept": [2.5]}
    for said in ("feature_types", "feature_inf", "feature_status"):
        assert request.fields.get(said, {}).keys() <= {"kept"}
    held = request.features
    assert held is not None
    assert held.schema.names == ("kept",)


def test_a_feature_that_is_named_as_a_redacted_field_goes_with_it() -> None:
    request = logged(records({"x": 1.5}), "x")
    assert request.redacted_features == ("x",)
    assert request.fields["features"] == {}
    assert b"1.5" not in request.payload.body


@pytest.mark.parametrize("kind", ["dense", "libsvm", "nonsense"])
def test_rows_that_came_as_features_are_hashed_when_a_feature_is_redacted(kind: str) -> None:
    body = orjson.dumps({"type": kind, "data": {"insts": [[48151.6]]}})
    message = str(DataError("is 48151.6; send a finite number", row=0, field="value 1"))
    made = line(body, hidden=("x",), message=message)
    assert b"48151" not in made
    assert decode_line(made).payload_form is PayloadForm.HASHED


def test_a_redacted_event_time_is_not_told_either() -> None:
    body = b'{"type":"record","event_time":"2026-01-01T00:00:00Z","data":{"insts":[{}]}}'
    made = line(body, "event_time", event_time_us=1_767_225_600_000_000)
    assert b'"event_time_us":null' in made
    assert b"2026-01-01" not in made


# ---------------------------------------------------------------------------------------------- key


def write_key(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_key_is_read_without_the_lines_end(tmp_path: Path, mode: int) -> None:
    assert read_key(write_key(tmp_path / "key", KEY + b"\r\n", mode)) == KEY


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"", 0o600, "holds 0 bytes; write 16 bytes or more: (umask 077; openssl"),
        (b"\n\n", 0o600, "holds 0 bytes"),
        (b"short", 0o600, "holds 5 bytes"),
        (b"k" * 5000, 0o600, "holds 4097 bytes"),
        (KEY, 0o644, "everybody on this machine can read it (mode 644); take that away: chmod"),
        (KEY, 0o602, "everybody"),
    ],
)
def test_a_key_that_is_no_secret_or_no_key_is_refused(
    tmp_path: Path, content: bytes, mode: int, said: str
) -> None:
    with pytest.raises(ConfigError) as told:
        read_key(write_key(tmp_path / "key", content, mode))
    assert said in str(told.value)
    assert "kkkk" not in str(told.value)


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("fields", [("email",), ("a.b",)])
def test_redaction_without_a_key_is_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--log-redact-key"):
        Redaction(fields)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b"])
def test_a_name_with_nothing_in_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"give a field, or outer\.inner"):
        Redaction((name,), key=KEY)


def test_the_key_is_in_no_text_of_the_settings() -> None:
    settings = LogSettings(Path(os.sep), redaction=Redaction(("email",), key=KEY))
    assert "kkk" not in repr(settings)
