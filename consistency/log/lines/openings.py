"""Which first part a request's line has: made once for all the requests that share it."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

import numpy as np

from consistency.log.lines.entry import is_plain
from consistency.log.lines.line import Opening, opening
from consistency.schema import FeatureSchema
from consistency.scored import STAGES, Outcome, ScoredRequest, ServableInfo

_MOST: Final = 256


class Openings:
    """First parts of lines by what they say."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Any, ...], Opening | None] = ((), None)
        # A schema is known by its identity, since hashing hundreds of names costs more than all the
        # rest: it is held here, so that no other object can have its id.
        self._known: dict[tuple[Any, ...], tuple[FeatureSchema | None, Opening]] = {}

    def of(self, request: ScoredRequest, encoding: str) -> Opening:
        """Return the first part of a request's line.

        Args:
            request: the request.
            encoding: how its payload stands in the line.
        """
        payload, features = request.payload, request.features
        schema = None if features is None else features.schema
        key: tuple[Any, ...] = (
            request.servable, request.outcome, request.message, request.refused_by, request.label,
            payload.codec, payload.content_type, encoding, request.instance, request.signature,
            schema, request.snapshots,
        )  # fmt: skip
        if request.outputs:
            for name, values in request.outputs.items():
                key += (name, values.dtype)
        held, first = self._last
        # Mostly what the request before it shared: the same objects, which costs less than a hash.
        if first is None or key != held:
            first = self._found(request, encoding, schema)
            self._last = key, first
        return first

    def _found(
        self, request: ScoredRequest, encoding: str, schema: FeatureSchema | None
    ) -> Opening:
        payload, outputs = request.payload, request.outputs or {}
        key: tuple[Any, ...] = (
            request.servable, _is_plain(request), request.label, payload.codec,
            payload.content_type, encoding, request.instance, request.signature, id(schema),
            *request.snapshots.items(), *outputs, *[v.dtype for v in outputs.values()],
        )  # fmt: skip
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[key] = (schema, opening(shared_facts(request, encoding)))
        return found[1]


def shared_facts(request: ScoredRequest, encoding: str) -> dict[str, Any]:
    """Return the facts that a request shares with others; `opening` makes a first part of them."""
    servable, features = request.servable, request.features
    shared: dict[str, Any] = {
        "model": servable.name,
        "version": servable.version,
        "label": request.label,
    }
    if _is_plain(request):
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


@lru_cache(maxsize=32)
def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "str" if dtype.kind == "U" else dtype.name
