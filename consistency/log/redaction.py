"""Keeps named values out of the log: keyed hashes take their place, in canonical JSON.

A name is looked for at every depth of a body, so that a client's malformed envelope hides nothing;
a body that is no JSON leaves its hash and its length. The same value has the same hash wherever it
stands, so that requests of one person can still be counted and joined; without the key nobody can
find the value by trying.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from consistency.errors import DATA_ERROR_TEXT, ConfigError
from consistency.jsontype import Json
from consistency.log.lines.entry import HASHED, REDACTED

HASH_PREFIX: Final = "hmac-sha256:"
"""Before the 64 hex digits that stand for a value."""
WITHHELD: Final = "(withheld: the log is redacted)"
"""What stands for a message that might quote a redacted value."""
MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 4096

_KINDS: Final = ("record", "libsvm", "dense")
_FIELD_ERROR: Final = re.compile(
    rf"{DATA_ERROR_TEXT}: (?:row \d+ )?field (?P<field>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
)
_MALFORMED: Final = f"{DATA_ERROR_TEXT}: malformed JSON ("
_BRACKETS: Final = frozenset("{[")
_SHOWN_CHARACTERS: Final = 8
"""Messages cut long values off; so much of one is there if any of it is."""


def read_key(path: Path) -> bytes:
    """Return the key in a file, without the line's end.

    Raises:
        ConfigError: it cannot be read, everybody can read it, or it is no key.
    """
    remedy = f"write {MIN_KEY_BYTES} bytes or more: (umask 077; openssl rand -hex 32 > {path})"
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            held = stream.read(MAX_KEY_BYTES + 1).rstrip(b"\r\n")
    except OSError as e:
        raise ConfigError(f"--log-redact-key {path}: {e.strerror}; {remedy}") from None
    if mode & 0o007:
        raise ConfigError(
            f"--log-redact-key {path}: everybody on this machine can read it (mode "
            f"{mode & 0o777:o}); take that away: chmod o-rwx {path}"
        )
    if not MIN_KEY_BYTES <= len(held) <= MAX_KEY_BYTES:
        raise ConfigError(f"--log-redact-key {path}: holds {len(held)} bytes; {remedy}")
    return held


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is kept out of the log.

    Attributes:
        fields: names of record fields; `customer.name` is `name` inside `customer`.
        features: names of features; a feature that is named as a redacted field is one of them.
        key: of the hashes; never shown.

    Raises:
        ConfigError: a name is empty, or there is no key.
    """

    fields: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        for name in (*self.fields, *self.features):
            if not all(name.split(".")):
                raise ConfigError(f"redacted name {name!r}: give a field, or outer.inner")
        if (self.fields or self.features) and len(self.key) < MIN_KEY_BYTES:
            raise ConfigError(
                f"redaction needs a key of {MIN_KEY_BYTES} bytes or more; name its file with "
                f"--log-redact-key"
            )

    def covers(self, path: tuple[str, ...]) -> bool:
        """Return whether the field at a path is redacted, or lies in one that is."""
        joined = "." + ".".join(path) + "."
        return any(f".{name}." in joined for name in self.fields)

    def hashed(self, value: Json) -> str:
        """Return what stands for a value: a text by its bytes, anything else by its JSON."""
        return HASH_PREFIX + self._hex(as_text(value).encode("utf-8", "surrogatepass"))

    def _hex(self, content: bytes) -> str:
        return hmac.digest(self.key, content, "sha256").hex()

    def apply(
        self, shared: dict[str, Any], own: dict[str, Any], body: bytes, parsed: Json, is_json: bool
    ) -> None:
        """Redact a log line that is still two dicts.

        Args:
            shared: the facts that the request shares; changed.
            own: the request's own; changed.
            body: the payload as received.
            parsed: the payload as JSON, changed too; None when it is none.
            is_json: whether the payload's codec takes JSON and the payload is some.
        """
        codec = shared["codec"]
        own["payload"], shared["payload_encoding"], removed = self._payload(
            codec, body, parsed, is_json
        )
        shared["redacted"] = self.fields
        if "event_time" in self.fields:
            own["event_time_us"] = None
        if own.get("message"):
            own["message"] = self._message(own["message"], removed)
        if shared["feature_names"] is not None:
            self._take_out(shared, own)

    def _payload(
        self, codec: str, body: bytes, parsed: Json, is_json: bool
    ) -> tuple[str, str, list[Json] | None]:
        """Return what is logged of a payload, its encoding, and the values taken out.

        Of a payload of which only a hash is left, nobody knows the values: None.
        """
        if is_json and not (self.features and _holds_features(parsed, codec)):
            try:
                removed = self._redact(parsed, codec)
                text = orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS).decode()
            except orjson.JSONEncodeError:
                pass  # nested deeper than can be written again
            else:
                return text, REDACTED, removed
        return f"{self._hex(body)}:{len(body)}", HASHED, None

    def _redact(self, root: Json, codec: str) -> list[Json]:
        """Replace the named values below a root by their hashes, and return them."""
        paths = [tuple(n.split(".")) for n in self.fields] + [
            (n,)
            for n in self.fields
            if "." in n  # a flat field may have dots in its name
        ]
        kept = _envelope(root) if codec == "tione/1" else frozenset()
        removed: list[Json] = []
        # a stack, since a body may be nested deeper than Python calls may
        pending: list[tuple[Json, list[tuple[str, ...]]]] = [(root, paths)]
        while pending:
            node, wanted = pending.pop()
            if type(node) is list:
                pending.extend((each, wanted) for each in node if type(each) in (dict, list))
                continue
            if type(node) is not dict:
                continue
            for name, value in node.items():
                here = [path[1:] for path in wanted if path[0] == name]
                if () in here and value is not None and (id(node), name) not in kept:
                    removed.append(value)
                    node[name] = self.hashed(value)
                elif type(value) in (dict, list):
                    pending.append((value, [*paths, *(path for path in here if path)]))
        return removed

    def _message(self, message: str, removed: Sequence[Json] | None) -> str:
        """Return a message that quotes no redacted value.

        What is said of a field that is not redacted is kept, unless a redacted value shows in it;
        of anything else, exceptions of a model's own code above all, nobody knows what it quotes.
        """
        if removed is None:
            return message if message.startswith(_MALFORMED) else WITHHELD
        found = _FIELD_ERROR.match(message)
        if found is None:
            return WITHHELD
        named = found["field"][1:-1]
        parts = {part for name in self.fields for part in name.split(".")}
        is_redacted = named in self.features or not parts.isdisjoint(named.split("."))
        quoted = message[found.end() :]
        # of an object or a list that is cut off, the last characters may begin a value within
        is_redacted |= bool(removed) and not _BRACKETS.isdisjoint(quoted)
        if is_redacted or any(_shows(quoted, value) for value in removed):
            return f"{found[0]} {WITHHELD}"
        return message

    def _take_out(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        held = shared["feature_names"]
        names = {n for n in (*held, *shared.get("feature_types", {})) if self._takes(n)}
        if not names:
            return
        kept = [j for j, name in enumerate(held) if name not in names]
        shared["feature_names"] = [held[j] for j in kept]
        own["feature_rows"] = [[row[j] for j in kept] for row in own["feature_rows"]]
        shared["redacted_features"] = sorted(names)
        for part, said in (
            (shared, "feature_types"), (own, "other_features"), (own, "feature_inf"),
            (own, "feature_status"),
        ):  # fmt: skip
            if said in part:
                part[said] = {n: v for n, v in part[said].items() if n not in names}

    def _takes(self, feature: str) -> bool:
        return feature in self.features or feature in self.fields


def as_text(value: Json) -> str:
    """Return a JSON value as the text that keys and hashes are made of."""
    if type(value) is str:
        return value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def parse_body(body: bytes) -> tuple[Json, bool]:
    """Return a payload as JSON, and whether it is some."""
    try:
        return orjson.loads(body), True
    except orjson.JSONDecodeError:
        return None, False


def _envelope(body: Json) -> frozenset[tuple[int, str]]:
    """Return the places, by object and name, that make a TI-ONE body what it is."""
    if type(body) is not dict:
        return frozenset()
    places = {(id(body), "type")} if body.get("type") in _KINDS else set()
    data = body.get("data")
    if type(data) is dict:
        places.add((id(body), "data"))
        if type(data.get("insts")) in (dict, list):
            places.add((id(data), "insts"))
    return frozenset(places)


def _holds_features(body: Json, codec: str) -> bool:
    """Return whether a body may hold feature values, which have no names there."""
    is_record = isinstance(body, Mapping) and body.get("type") == "record"
    return codec == "tione/1" and not is_record


def _shows(text: str, value: Json) -> bool:
    """Return whether a text may quote a value, whole or its beginning, at whatever depth."""
    if type(value) in (dict, list):
        inner = value.values() if type(value) is dict else value
        return any(_shows(text, each) for each in inner)
    if value is None or type(value) is bool:
        return False
    plain = as_text(value)
    escaped = repr(value)[1:-1] if type(value) is str else repr(value)
    return any(form and form[:_SHOWN_CHARACTERS] in text for form in (plain, escaped))
