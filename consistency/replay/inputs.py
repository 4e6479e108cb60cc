"""What the payloads of a part of the log hold, kind by kind. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from consistency.codecs import codec_named
from consistency.features import FeatureBatch
from consistency.jsontype import Json
from consistency.log.lines.entry import LineContext, LoggedRequest
from consistency.protocols import Decoded
from consistency.records import Record
from consistency.replay.target import ReplayTarget

RECORDS: Final = "records"
FEATURES: Final = "features"
LOGGED: Final = "logged"
"""The kind of requests whose payload is not looked at: the logged features are where to start."""


@dataclass(slots=True)
class PartInputs:
    """The payloads of R requests of one kind.

    One of the lists has R entries, or none has any: the logged features are where to start.

    Attributes:
        records: raw records of each request.
        features: rows that clients sent as features, of each request.
        whole: requests without a feature stage.
    """

    records: list[Sequence[Record]] = field(default_factory=list)
    features: list[FeatureBatch] = field(default_factory=list)
    whole: list[Decoded] = field(default_factory=list)

    def add(self, decoded: Decoded) -> None:
        """Take a request's payload."""
        if decoded.records is not None:
            self.records.append(decoded.records)
        elif decoded.features is not None:
            self.features.append(decoded.features)
        elif is_whole(decoded):
            self.whole.append(decoded)


def decode_payload(item: LoggedRequest, target: ReplayTarget) -> Decoded:
    """Return what a logged payload holds, by the codec that decoded it online.

    Raises:
        DataError: malformed.
    """
    payload = item.payload
    return codec_named(payload.codec).decode(payload, target.schema)


def is_whole(decoded: Decoded) -> bool:
    """Return whether a payload is answered as a whole, without a feature stage."""
    return decoded.opaque is not None or decoded.call is not None


def kind_of(own: Mapping[str, Any], context: LineContext, decoded: Decoded) -> str:
    """Return what a request may stand beside in a part: one kind, one form of answer."""
    if decoded.records is not None:
        return RECORDS
    if decoded.features is not None:
        return FEATURES
    if not is_whole(decoded):
        return LOGGED
    # a service may answer one request with scores and the next one with a text; what a model
    # server's client asks for, and of what shape, is the client's choice
    outputs, types = own["outputs"] or {}, context.facts.get("output_types", {})
    forms = (f"{name} {types.get(name, '')} {_row_shape(outputs[name])}" for name in outputs)
    return "whole " + ",".join(forms)


def _row_shape(values: Json) -> list[int]:
    """Return the shape of one row of an output."""
    shape, value = [], values[0] if values else None
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape
