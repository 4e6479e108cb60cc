"""Makes the lines of scored requests: exact, and cheap enough to stand before every reply."""

from __future__ import annotations

import base64
from math import inf, isfinite
from typing import Any, Final

import numpy as np

from consistency.features import FeatureBatch
from consistency.log.lines.entry import is_plain
from consistency.log.lines.line import join_line
from consistency.log.lines.openings import Openings, shared_facts
from consistency.records import Column
from consistency.scored import Payload, ScoredRequest

_openings: Final = Openings()


def encode_line(request: ScoredRequest) -> bytes:
    """Return a request's line, CRC and newline included."""
    text, encoding = payload_text(request.payload)
    return join_line(_openings.of(request, encoding), _own_facts(request, text))


def line_parts(request: ScoredRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the facts that a request shares, and its own: for those who change them.

    `join_line(opening(shared), own)` is its line.
    """
    text, encoding = payload_text(request.payload)
    return shared_facts(request, encoding), _own_facts(request, text)


def payload_text(payload: Payload) -> tuple[str, str]:
    """Return a body as a text, and how the text stands for the bytes."""
    try:
        return payload.body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(payload.body).decode(), "base64"


def _own_facts(request: ScoredRequest, payload: str) -> dict[str, Any]:
    taken, features, scores = request.latency, request.features, request.scores
    own: dict[str, Any] = {
        "request_id": request.request_id,
        "ingest_time_us": request.ingest_time_us,
        "event_time_us": request.event_time_us,
        "rows": request.rows,
        "batch_rows": request.batch_rows,
        "batch_position": request.batch_position,
        "latency_ns": (
            taken.decode_ns, taken.guards_ns, taken.features_ns, taken.queue_ns, taken.backend_ns,
            taken.postprocess_ns, taken.total_ns,
        ),
        "scores": None if scores is None else scores.tolist(),
        "outputs": None,
        "feature_rows": None if features is None else features.numeric.tolist(),
        "payload": payload,
    }  # fmt: skip
    if scores is not None and not _is_one_finite(own["scores"]) and (marks := _infinities(scores)):
        own["scores_inf"] = marks
    if request.outputs is not None:
        own["outputs"] = outputs = {}
        for name, values in request.outputs.items():
            outputs[name] = each = values.tolist()
            if not _is_one_finite(each) and (marks := _infinities(values)):
                own.setdefault("output_inf", {})[name] = marks
    if features is not None:
        _put_more_of_features(own, features)
    if not is_plain(request.outcome, request.message, request.refused_by):
        own["outcome"], own["message"] = request.outcome, request.message
        own["refused_by"] = request.refused_by
    if request.flags:
        own["flags"] = request.flags
    return own


def _is_one_finite(listed: list[Any]) -> bool:
    """Return whether an array is one finite number: the most frequent one, seen without numpy."""
    return len(listed) == 1 and type(listed[0]) is float and isfinite(listed[0])


def _put_more_of_features(own: dict[str, Any], batch: FeatureBatch) -> None:
    """Add what the rows of numbers do not hold."""
    rows = own["feature_rows"]
    if len(rows) == 1:  # the most frequent form, seen without numpy
        (row,) = rows
        # a sum that is finite has no infinity in it; one that is not may have a NaN
        holds_infinity = not isfinite(sum(row)) and (inf in row or -inf in row)
    else:
        holds_infinity = bool(np.isinf(batch.numeric).any())
    if holds_infinity:
        pairs = zip(batch.schema.numeric_names, batch.numeric.T, strict=True)
        own["feature_inf"] = {n: m for n, c in pairs if (m := _infinities(c))}
    if batch.others:
        others = {n: batch.others[n] for n in batch.schema.names if n in batch.others}
        own["other_features"] = {n: values.tolist() for n, values in others.items()}
        for name, values in others.items():
            if marks := _infinities(values):
                own.setdefault("feature_inf", {})[name] = marks
    if batch.status:
        own["feature_status"] = {n: codes.tolist() for n, codes in batch.status.items()}


def _infinities(values: Column) -> list[list[int]]:
    """Return [flat index, sign] of each infinite value."""
    if values.dtype.kind != "f":
        return []
    flat = values.ravel()
    return [[int(i), 1 if flat[i] > 0 else -1] for i in np.flatnonzero(np.isinf(flat))]
