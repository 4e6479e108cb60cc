"""Makes the lines of scored requests: exact, and cheap enough to stand before every reply."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from math import inf, isfinite
from typing import Any, Final

import numpy as np

from consistency.features import FeatureBatch
from consistency.log.entry import is_plain
from consistency.log.line import Opening, join_line, opening
from consistency.records import Column
from consistency.schema import FeatureSchema
from consistency.scored import STAGES, Outcome, Payload, ScoredRequest, ServableInfo

_MOST_OPENINGS: Final = 256

_openings: dict[tuple[Any, ...], tuple[FeatureSchema | None, Opening]] = {}
"""First parts of lines by what they say. A schema is known by its identity, since hashing hundreds
of names costs more than all the rest: it is held here, so that no other object can have its id."""


def encode_line(request: ScoredRequest) -> bytes:
    """Return a request's line, CRC and newline included."""
    text, encoding = payload_text(request.payload)
    plain = _is_plain(request)
    return join_line(_opening_of(request, encoding, plain), _own_facts(request, text, plain))


def line_parts(request: ScoredRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the facts that a request shares, and its own: for those who change them.

    `join_line(opening(shared), own)` is its line.
    """
    text, encoding = payload_text(request.payload)
    plain = _is_plain(request)
    return _shared_facts(request, encoding, plain), _own_facts(request, text, plain)


def payload_text(payload: Payload) -> tuple[str, str]:
    """Return a body as a text, and how the text stands for the bytes."""
    try:
        return payload.body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(payload.body).decode(), "base64"


def _opening_of(request: ScoredRequest, encoding: str, plain: bool) -> Opening:
    payload, features, outputs = request.payload, request.features, request.outputs
    schema = None if features is None else features.schema
    key: tuple[Any, ...] = (
        request.servable, request.instance, request.label, payload.codec, payload.content_type,
        encoding, request.signature, plain, id(schema), *request.snapshots.items(),
    )  # fmt: skip
    if outputs:
        key += (*outputs, *[values.dtype for values in outputs.values()])
    found = _openings.get(key)
    if found is None:
        if len(_openings) >= _MOST_OPENINGS:
            _openings.clear()
        shared = _shared_facts(request, encoding, plain)
        found = _openings[key] = (schema, opening(shared))
    return found[1]


def _shared_facts(request: ScoredRequest, encoding: str, plain: bool) -> dict[str, Any]:
    servable, features = request.servable, request.features
    shared: dict[str, Any] = {
        "model": servable.name,
        "version": servable.version,
        "label": request.label,
    }
    if plain:
        shared |= {"outcome": Outcome.OK, "message": "", "refused_by": ""}
    shared |= {
        "codec": request.payload.codec,
        "content_type": request.payload.content_type,
        "payload_encoding": encoding,
        "snapshots": dict(request.snapshots),
    }
    if request.signature:
        shared["signature"] = request.signature
    types = {n: _dtype_name(v.dtype) for n, v in (request.outputs or {}).items()}
    if odd := {name: kind for name, kind in types.items() if kind != "float64"}:
        shared["output_types"] = odd
    shared["feature_names"] = None if features is None else features.schema.numeric_names
    if features is not None and not features.schema.all_float64:
        pairs = zip(features.schema.names, features.schema.types, strict=True)
        shared["feature_types"] = {n: t.value for n, t in pairs if n in features.others}
    shared["latency_stages"] = STAGES
    shared["servable"] = _servable_facts(servable, request.instance)
    return shared


def _is_plain(request: ScoredRequest) -> bool:
    return is_plain(request.outcome, request.message, request.refused_by)


@lru_cache(maxsize=64)
def _servable_facts(info: ServableInfo, instance: str) -> dict[str, Any]:
    """Return what answered; of several instances of a backend, the one that did."""
    facts = {k: v for k, v in asdict(info).items() if k not in ("name", "version")}
    return facts | {"backend": instance} if instance else facts


def _own_facts(request: ScoredRequest, payload: str, plain: bool) -> dict[str, Any]:
    taken, features = request.latency, request.features
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
        "scores": None,
        "outputs": None,
        "feature_rows": None,
        "payload": payload,
    }  # fmt: skip
    if not plain:
        own["outcome"], own["message"] = request.outcome, request.message
        own["refused_by"] = request.refused_by
    if request.flags:
        own["flags"] = request.flags
    if request.scores is not None:
        _put_scores(own, request.scores)
    if request.outputs is not None:
        _put_outputs(own, request.outputs)
    if features is not None:
        _put_features(own, features)
    return own


def _put_scores(own: dict[str, Any], scores: Column) -> None:
    own["scores"] = listed = scores.tolist()
    if not _is_one_finite(listed) and (marks := _infinities(scores)):
        own["scores_inf"] = marks


def _put_outputs(own: dict[str, Any], outputs: Mapping[str, Column]) -> None:
    own["outputs"] = held = {}
    for name, values in outputs.items():
        held[name] = listed = values.tolist()
        if not _is_one_finite(listed) and (marks := _infinities(values)):
            own.setdefault("output_inf", {})[name] = marks


def _is_one_finite(listed: list[Any]) -> bool:
    """Return whether an array is one finite number: the most frequent one, seen without numpy."""
    return len(listed) == 1 and type(listed[0]) is float and isfinite(listed[0])


def _put_features(own: dict[str, Any], batch: FeatureBatch) -> None:
    own["feature_rows"] = rows = batch.numeric.tolist()
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
        own["other_features"] = {
            n: batch.others[n].tolist() for n in batch.schema.names if n in batch.others
        }
        for name, values in batch.others.items():
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


@lru_cache(maxsize=32)
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "str" if dtype.kind == "U" else dtype.name
