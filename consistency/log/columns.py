"""Many logged requests side by side, as columns: what a replay compares against."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ReplayError
from consistency.features import FeatureBatch
from consistency.log.entry import LoggedRequest
from consistency.records import Column
from consistency.schema import FeatureSchema, FeatureType

_INF: Final = float("inf")


def stack_features(requests: Sequence[LoggedRequest], schema: FeatureSchema) -> FeatureBatch:
    """Return the logged feature rows of requests, in order.

    Args:
        requests: that have a feature stage.
        schema: the features that they must hold.

    Raises:
        ReplayError: a request holds other features.
    """
    held = [r.fields["features"] for r in requests]
    wanted = set(schema.names)
    for request, features in zip(requests, held, strict=True):
        if features.keys() != wanted:
            odd = min(features.keys() ^ wanted)
            raise ReplayError(
                f"request {request.request_id} and the bundle disagree about feature {odd!r}; "
                f"replay with the bundle that served it"
            )
    rows = sum(r.rows for r in requests)
    names = schema.numeric_names
    numeric = np.empty((rows, len(names)), order="F")
    for j, name in enumerate(names):
        numeric[:, j] = list(chain.from_iterable([f[name] for f in held]))
    _restore_infinities(requests, names, numeric)
    others = {
        n: _objects(list(chain.from_iterable([f[n] for f in held])), kind)
        for n, kind in zip(schema.names, schema.types, strict=True)
        if kind is not FeatureType.FLOAT64
    }
    return FeatureBatch(schema, rows, numeric, others)


def stack_outputs(requests: Sequence[LoggedRequest]) -> dict[str, Column]:
    """Return the logged raw outputs of scored requests, dtypes restored, in order."""
    parts = [r.outputs or {} for r in requests]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def stack_scores(requests: Sequence[LoggedRequest]) -> NDArray[np.float64]:
    """Return the logged scores of scored requests, in order."""
    parts = [r.scores for r in requests]
    return np.concatenate([p for p in parts if p is not None])


def _restore_infinities(
    requests: Sequence[LoggedRequest], names: tuple[str, ...], numeric: NDArray[np.float64]
) -> None:
    start = 0
    for request in requests:
        for name, marks in request.fields.get("feature_inf", {}).items():
            for row, sign in marks:
                numeric[start + row, names.index(name)] = sign * _INF
        start += request.rows


def _objects(values: list[Any], kind: FeatureType) -> Column:
    if kind is FeatureType.TOKENS:
        out = np.empty(len(values), object)
        out[:] = values
        return out
    return np.array(values, kind.numpy)
