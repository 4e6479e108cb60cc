"""Paths of the HTTP face: which model, which version, what is asked. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from serving.model_server.status import StatusError, invalid


class Call(StrEnum):
    """What is asked of a model; inference calls have the name that metrics give them."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    METADATA = "metadata"
    STATUS = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed path.

    Attributes:
        call: what is asked.
        model: the name; empty only for STATUS and METADATA.
        version: None for the default one.
        label: of a version; None without one, and never next to a version.
    """

    call: Call
    model: str
    version: int | None
    label: str | None


class SilentError(StatusError):
    """A path that upstream answers with a status and an empty body."""


_MODEL: Final = r"(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?"
_HANDLED: Final = re.compile(r"/v1/.*", re.IGNORECASE | re.ASCII | re.DOTALL)
_POST: Final = re.compile(
    rf"/v1/models/([^/:]+){_MODEL}:(classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_GET: Final = re.compile(
    rf"/v1/models(?:/([^/:]+))?{_MODEL}(?:/(metadata))?", re.IGNORECASE | re.ASCII
)
_MAX_VERSION: Final = 2**63 - 1
_VERBS: Final = {call.value: call for call in (Call.PREDICT, Call.CLASSIFY, Call.REGRESS)}


def is_handled(target: str) -> bool:
    """Tell whether a target belongs to this face; others get 404.

    >>> is_handled("/v1/models/m"), is_handled("/metrics")
    (True, False)
    """
    return _HANDLED.fullmatch(target) is not None


@lru_cache(maxsize=1024)
def parse_target(method: str, target: str) -> Route:
    """Return what a request asks for.

    Args:
        method: as sent.
        target: path as sent, percent-escapes and all, with `?` and the query if there is one: like
            upstream's, a query is part of what it follows.

    Raises:
        StatusError: INVALID_ARGUMENT, no such path.
        SilentError: a version beyond 64 bits.

    >>> parse_target("POST", "/v1/models/a%20b/versions/7:predict")
    Route(call=<Call.PREDICT: 'predict'>, model='a b', version=7, label=None)
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    match = pattern.fullmatch(target) if pattern is not None else None
    if match is None:
        raise invalid(f"Malformed request: {method} {target}")
    name, version, label, word = match.groups()
    route = Route(Call.STATUS, _unescaped(name), _version(version), _unescaped(label) or None)
    if method == "GET":
        call = Call.METADATA if word == Call.METADATA else Call.STATUS
        return Route(call, route.model, route.version, route.label)
    if word not in _VERBS:  # the path is compared in any case, the verb as written
        raise invalid(f"Malformed request: {method} {target}")
    return Route(_VERBS[word], route.model, route.version, route.label)


def _unescaped(text: str | None) -> str:
    return unquote_to_bytes(text or "").decode("utf-8", "replace")


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_MAX_VERSION)) or int(digits) > _MAX_VERSION:
        error = invalid(f"Failed to convert version: {text} to numeric.")
        raise SilentError(error.code, error.message)
    return int(digits)
