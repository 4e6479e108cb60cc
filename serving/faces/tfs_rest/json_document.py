"""What every request body has in common: a JSON object with an optional signature name."""

from __future__ import annotations

import binascii
import re
from typing import Final

from serving.faces.tfs_rest.json_errors import JsonError
from serving.faces.tfs_rest.json_quote import quoted_value
from serving.faces.tfs_rest.json_read import JsonObject, JsonValue, parse_json
from serving.model_server.status import StatusError, invalid

SIGNATURE_NAME: Final = b"signature_name"

_B64: Final = b"b64"
_B64_DIGITS: Final = re.compile(rb"[A-Za-z0-9+/]*")
_B64_SPACE: Final = b" \t\n\v\f\r"


def text_of(name: bytes) -> str:
    """Return bytes as they go into an error message."""
    return name.decode("utf-8", "surrogateescape")


def name_of(name: bytes) -> str:
    """Return bytes as a name in a message, which must be UTF-8; upstream's names end at a NUL."""
    return name.split(b"\0")[0].decode("utf-8", "replace")


def parse_document(body: bytes, *, exact: bool) -> JsonObject:
    """Return a request's JSON object.

    Raises:
        StatusError: INVALID_ARGUMENT, it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = parse_json(body, exact=exact)
    except JsonError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, JsonObject):
        raise format_error(document, "Is not object")
    return document


def format_error(value: JsonValue, what: str) -> StatusError:
    """Return the error that quotes a value."""
    return invalid(f"JSON Value: {quoted_value(value)} {what}")


def signature_name(document: JsonObject) -> str:
    """Return the signature name, empty if there is none.

    Raises:
        StatusError: it is no string.
    """
    value = member(document, SIGNATURE_NAME)
    if value is ABSENT:
        return ""
    if not isinstance(value, bytes):
        what = "not formatted correctly. 'signature_name' key must be a string value."
        raise format_error(document, what)
    return value.decode("utf-8", "replace")


class _Absent(JsonObject):
    """The type of `ABSENT`."""


ABSENT: Final = _Absent()
"""Stands for a member that is not there; compare by identity."""


def member(document: JsonObject, name: bytes) -> JsonValue:
    """Return the first member of a name, or `ABSENT`."""
    at = document.find(name)
    return ABSENT if at < 0 else document.values[at]


def is_base64(value: JsonValue) -> bool:
    """Tell whether a value is a binary string: `{"b64": "..."}` and nothing else."""
    return _base64_text(value) is not None


def _base64_text(value: JsonValue) -> bytes | None:
    if not isinstance(value, JsonObject) or value.names != [_B64]:
        return None
    text = value.values[0]
    return text if isinstance(text, bytes) else None


def decode_base64(value: JsonValue) -> bytes:
    """Return the bytes of a binary string.

    Padding may be missing and white space is skipped, as upstream's library has it.

    Raises:
        StatusError: INVALID_ARGUMENT, it is none.
    """
    text = _base64_text(value)
    if text is None:
        raise invalid(f"JSON Value: {quoted_value(value)} not formatted correctly for base64 data")
    text = text.translate(None, _B64_SPACE).replace(b".", b"=")
    digits = text.rstrip(b"=")
    padding, missing = len(text) - len(digits), -len(digits) % 4
    if _B64_DIGITS.fullmatch(digits) is None or missing > 2 or padding not in (0, missing):
        raise invalid("Unable to base64 decode")
    return binascii.a2b_base64(digits + b"=" * missing)
