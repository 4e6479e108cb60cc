"""From a scored request to its line, or to none: the key, sampling, and redaction."""

from __future__ import annotations

from collections.abc import Sequence

from consistency.jsontype import Json
from consistency.log.lines.encoding import line_parts
from consistency.log.lines.line import join_line, opening
from consistency.log.redaction import Redaction, as_text, parse_body
from consistency.log.sampling import Sampling, keeps
from consistency.log.settings import LogSettings
from consistency.scored import ScoredRequest


class LineShaper:
    """Makes the lines of a log that is sampled, redacted, or keyed.

    Args:
        settings: of the log.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._sampling: Sampling = settings.sampling
        self._redaction: Redaction = settings.redaction
        self._redacts = bool(self._redaction.fields or self._redaction.features)
        path = settings.key_field
        self._key_path = None if path is None else tuple(path.split("."))
        self._hashes_key = path is not None and self._redaction.covers(tuple(path.split(".")))

    def line(self, request: ScoredRequest) -> bytes | None:
        """Return a request's line, CRC and newline included, or None when it is sampled out."""
        body, is_json = None, False
        if self._redacts or self._key_path is not None:
            body, is_json = parse_body(request.payload.body)
        key = self._key(body)
        ratio = self._sampling.ratio_of(request.outcome)
        if ratio < 1 and not keeps(request.request_id if key is None else key, ratio):
            return None
        shared, own = line_parts(request)
        if ratio < 1:
            shared["sample_ratio"] = ratio
        if key is not None:
            own["key"] = key
        if self._redacts:
            self._redaction.apply(shared, own, request.payload.body, body, is_json)
        return join_line(opening(shared), own)

    def _key(self, body: Json) -> str | None:
        """Return the key of a body's first raw record."""
        value = _first_record(body)
        for i, name in enumerate(self._key_path or ()):
            if type(value) is not dict:
                return None
            flat = ".".join((self._key_path or ())[i:])  # a name may have dots
            if flat in value:
                value = value[flat]
                break
            value = value.get(name)
        if self._key_path is None or value is None or type(value) in (dict, list):
            return None
        return self._redaction.hashed(value) if self._hashes_key else as_text(value)


def _first_record(body: Json) -> Json:
    """Return the first of a TI-ONE body's records, or a body that is not TI-ONE's."""
    data = body.get("data") if type(body) is dict else None
    insts: Json = data.get("insts") if type(data) is dict else None
    if insts is None:
        return body
    if isinstance(insts, Sequence):
        return insts[0] if insts else None
    return insts
