"""Causes, proven by intervention: change one factor and watch the mismatch vanish.

Labels are those of the fault catalogue. What no intervention explains stays "unproven".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.compare import Comparison
from consistency.jsontype import Json


class Cause(StrEnum):
    """Why two scores differ."""

    STORAGE_PRECISION = "storage_precision"
    """A value passed through float32 on its way."""
    STORAGE_ROUNDING = "storage_rounding"
    """A value was written with a fixed number of decimals."""
    MISSING_DEFAULT = "missing_default"
    """One side fills a missing value with a constant."""
    BATCH_VARIANCE = "batch_variance"
    """The model's result depends on the batch that a row is scored in."""
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Finding:
    """What an intervention showed.

    Attributes:
        cause: proven, or UNPROVEN.
        evidence: the counts behind it, for people.
    """

    cause: Cause
    evidence: str

    @property
    def proven(self) -> bool:
        """Whether an intervention made the whole mismatch vanish."""
        return self.cause is not Cause.UNPROVEN

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {"cause": self.cause.value, "proven": self.proven, "evidence": self.evidence}


def _through_float32(offline: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return offline.astype(np.float32).astype(np.float64)


def _rounded(decimals: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def change(offline: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.round(offline, decimals)

    return change


_STORAGE: Final[Mapping[str, tuple[Cause, Callable[..., NDArray[np.float64]]]]] = {
    "cast to float32": (Cause.STORAGE_PRECISION, _through_float32),
    **{
        f"rounded to {d} decimals": (Cause.STORAGE_ROUNDING, _rounded(d))
        for d in (6, 5, 4, 3, 2, 10, 8, 7)
    },
}


def explain_feature(online: NDArray[np.float64], offline: NDArray[np.float64]) -> Finding:
    """Find the one change to the offline values of a feature that reproduces the online ones.

    Args:
        online: the values that were logged, shape (N,), only rows that differ.
        offline: the values recomputed, shape (N,).

    Returns:
        A proven cause if one intervention makes all N rows equal bit for bit, else UNPROVEN.
    """
    rows = len(online)
    for name, (cause, change) in _STORAGE.items():
        if rows and _same(online, change(offline)):
            return Finding(cause, f"the offline value {name} equals the online one, bit for bit")
    filled = np.unique(online[np.isnan(offline)])
    if rows and np.isnan(offline).all() and len(filled) == 1:
        default = float(filled[0])
        return Finding(
            Cause.MISSING_DEFAULT, f"online is {default!r} wherever the offline value is missing"
        )
    return Finding(Cause.UNPROVEN, "no intervention on the stored value reproduces the online one")


def explain_batch(as_logged: Comparison, otherwise: Comparison, batch: int) -> Finding:
    """Tell whether scores depend on the batch: replay at the logged sizes, and at another.

    Args:
        as_logged: the comparison with each row scored in a batch as it was online.
        otherwise: the comparison at another batch size.
        batch: that other batch size, in rows.
    """
    evidence = (
        f"at the logged batch sizes {as_logged.rows - as_logged.rows_agreeing} of "
        f"{as_logged.rows} rows differ; at batch {batch} "
        f"{otherwise.rows - otherwise.rows_agreeing} of {otherwise.rows} do"
    )
    vanished = as_logged.agrees and as_logged.rows == otherwise.rows and not otherwise.agrees
    return Finding(Cause.BATCH_VARIANCE if vanished else Cause.UNPROVEN, evidence)


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())
