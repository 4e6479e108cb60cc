"""The likely cause of differing scores, in one line, from the numbers alone.

A replay can prove causes by intervention; here only two columns of numbers are at hand, so what no
rule explains bit for bit is called unproven.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from consistency.compare import Compared
from consistency.diagnose import explain_feature

Floats = NDArray[np.float64]

_FLOAT32_STEP = 2.0**-21
"""A few units in the last place of float32, relative: what another order of sums moves."""


def likely_cause(compared: Compared) -> str:
    """Return the likely cause of a disagreement.

    Args:
        compared: at least one row disagrees.
    """
    if compared.online.dtype.kind != "f" or compared.offline.dtype.kind != "f":
        return "unproven: these are no floating-point numbers"
    online = np.asarray(compared.online, np.float64).reshape(compared.agreeing.shape)
    offline = np.asarray(compared.offline, np.float64).reshape(compared.agreeing.shape)
    moved = ~compared.agreeing
    a, b = online[moved], offline[moved]
    return _whole(online, offline) or _values(a, b)


def _whole(online: Floats, offline: Floats) -> str:
    """Explain by what happened to the rows as a whole."""
    if len(online) > 1 and _same_bag(online, offline):
        return "misaligned rows: both sides hold the same scores in another order"
    if len(online) > 2 and _same(online[1:], offline[:-1]):
        return "misaligned rows: online lags offline by one row"
    if len(online) > 2 and _same(online[:-1], offline[1:]):
        return "misaligned rows: offline lags online by one row"
    with np.errstate(invalid="ignore"):
        other_class = np.abs(online - (1.0 - offline)) <= 1e-15
    if other_class.all() and not _same(online, offline):
        return "the other class: online is 1 - offline in every row"
    return ""


def _values(online: Floats, offline: Floats) -> str:
    """Explain by what happened to each value that differs."""
    finding = explain_feature(online, offline)
    if finding.proven:
        return f"{finding.cause}: {finding.evidence}"
    mirrored = explain_feature(offline, online)
    if mirrored.proven:  # the same words with the sides exchanged
        text = mirrored.evidence.replace("offline", "\0").replace("online", "offline")
        return f"{mirrored.cause}: {text}".replace("\0", "online")
    if np.isnan(online).any() != np.isnan(offline).any():
        side = "online" if np.isnan(online).any() else "offline"
        return f"NaN only {side}: a missing value is handled on one side alone"
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.abs(online - offline) / np.maximum(np.abs(offline), np.finfo(np.float64).tiny)
    if (relative <= _FLOAT32_STEP).all():
        return (
            "unproven, but every difference is a few units of float32: one side computes in "
            "float32, or in other batches; compare `samescore replay --batch-rows`"
        )
    return f"unproven: {finding.evidence}"


def _same(a: Floats, b: Floats) -> bool:
    return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())


def _same_bag(a: Floats, b: Floats) -> bool:
    """Whether two sets of rows are equal up to their order."""
    return _same(a[np.lexsort(a.T)], b[np.lexsort(b.T)])
