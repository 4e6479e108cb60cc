"""What holds scores: numbers, lists, arrays, tensors, pandas, dicts; brought side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ConfigError

Given: TypeAlias = Any  # whatever a test holds scores in
Numbers: TypeAlias = NDArray[Any]  # Any: a number type
Fail: TypeAlias = Callable[[str], Exception]


@dataclass(frozen=True, slots=True)
class Named:
    """Two arrays to compare, each of shape (N,) or (N, k).

    Attributes:
        name: empty when there is only one.
        labels: what to call each row beside its number, or None.
    """

    name: str
    online: Numbers
    offline: Numbers
    labels: list[str] | None = None


def named_scores(online: Given, offline: Given, fail: Fail) -> Iterator[Named]:
    """Yield the pairs of arrays to compare.

    Args:
        online: the scores that the service gave.
        offline: the scores recomputed.
        fail: makes the exception for sides that do not hold the same rows or names.

    Raises:
        ConfigError: something holds no numbers.
    """
    frames = _is_pandas(online, "DataFrame"), _is_pandas(offline, "DataFrame")
    series = _is_pandas(online, "Series"), _is_pandas(offline, "Series")
    if all(frames) or all(series):
        yield from _aligned(online, offline, all(frames), fail)
    elif isinstance(online, Mapping) and isinstance(offline, Mapping):
        _expect_names(list(online), list(offline), "names", fail)
        for name in online:
            for pair in named_scores(online[name], offline[name], fail):
                joined = f"{name}.{pair.name}" if pair.name else str(name)
                yield Named(joined, pair.online, pair.offline, pair.labels)
    else:
        yield Named("", _numbers("online", online), _numbers("offline", offline))


def _is_pandas(value: Given, kind: str) -> bool:
    # pandas itself is not imported: without it, nothing can be a DataFrame
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, kind))


def _aligned(online: Given, offline: Given, frames: bool, fail: Fail) -> Iterator[Named]:
    """Bring pandas objects side by side by their index, and frames by their columns."""
    for side, given in (("online", online), ("offline", offline)):
        if not given.index.is_unique:
            twice = given.index[given.index.duplicated()].tolist()[0]
            raise fail(f"index {twice!r} is twice in {side}: rows cannot be aligned; reset_index?")
    _expect_names(online.index.tolist(), offline.index.tolist(), "index", fail)
    offline = offline.loc[online.index]
    labels = [f"index {i!r}" for i in online.index.tolist()]
    if not frames:
        pair = _numbers("online", online), _numbers("offline", offline)
        yield Named("", *pair, labels)
        return
    _expect_names(list(online.columns), list(offline.columns), "columns", fail)
    for name in online.columns:
        pair = _numbers("online", online[name]), _numbers("offline", offline[name])
        yield Named(str(name), *pair, labels)


def _expect_names(online: list[Any], offline: list[Any], what: str, fail: Fail) -> None:
    left, right = set(online), set(offline)
    if left == right:
        return
    only_online = [n for n in online if n not in right]
    only_offline = [n for n in offline if n not in left]
    parts = [
        f"{len(names)} only {side} (first {names[0]!r})"
        for side, names in (("online", only_online), ("offline", only_offline))
        if names
    ]
    raise fail(f"{what} differ: {', '.join(parts)}; {len(left & right)} on both sides")


def _numbers(side: str, given: Given) -> Numbers:
    """Return numbers as an array of at least one dimension, their dtype kept.

    Raises:
        ConfigError: they are no numbers, or ragged.
    """
    if hasattr(given, "detach"):  # a torch tensor, perhaps with gradients or on a GPU
        given = given.detach().cpu()
    try:
        values = np.atleast_1d(np.asarray(given))
    except ValueError as e:
        raise ConfigError(f"{side} is ragged: {e}; give rows of one length") from e
    if values.size and values.dtype.kind not in "fiub":
        bad = next(v for v in values.ravel().tolist() if not isinstance(v, float | int))
        raise ConfigError(
            f"{side} holds {bad!r}, which is no number; scores are numbers, and a missing one is "
            f"NaN, not None"
        )
    return values
