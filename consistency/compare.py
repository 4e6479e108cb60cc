"""Do two sets of numbers agree? One rule for features, raw outputs and scores.

As float64, a and b agree iff |a - b| <= 0.5 * 10**-decimals (5e-11 for ten decimals); NaN agrees
only with NaN, an infinity only with itself. Rounded values or texts are never compared: two numbers
1.4e-17 apart can print differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.records import Column

EXACT_DECIMALS: Final = 17
"""The histogram's last bucket: equal bit for bit (or both NaN)."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many decimals must agree.

    Attributes:
        decimals: 0 to 16.
    """

    decimals: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= 16:
            raise ConfigError(f"decimals is {self.decimals}; give 0 to 16")

    @property
    def limit(self) -> float:
        """The largest |a - b| that agrees."""
        return float(f"5e-{self.decimals + 1}")


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs.

    Attributes:
        position: the index of its row in the comparison.
        column: index of its column (0 for a vector).
        abs_diff: |online - offline|, NaN when one of the two is no finite number.
        ulps: distance in units in the last place of float64, -1 when there is none.
    """

    position: int
    column: int
    online: Any  # Any: a number, or text for a string feature
    offline: Any
    abs_diff: float
    ulps: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing rows found; adds up over parts of a log.

    Attributes:
        rows: rows compared.
        rows_agreeing: rows in which every value agrees.
        rows_identical: rows in which every value is equal bit for bit (NaN equals NaN).
        max_abs_diff: over all finite pairs.
        max_ulps: over all finite pairs, in units in the last place of float64.
        decimals: rows by the number of decimals that agree in their worst value, 0 to 16, and last
            the identical rows (`EXACT_DECIMALS`).
    """

    rows: int = 0
    rows_agreeing: int = 0
    rows_identical: int = 0
    max_abs_diff: float = 0.0
    max_ulps: int = 0
    decimals: tuple[int, ...] = (0,) * (EXACT_DECIMALS + 1)

    @property
    def agrees(self) -> bool:
        """Whether every row agrees; comparing nothing is no agreement."""
        return self.rows > 0 and self.rows_agreeing == self.rows

    @property
    def agree_ratio(self) -> float:
        """Rows agreeing over rows; 0 when nothing was compared."""
        return self.rows_agreeing / self.rows if self.rows else 0.0

    @property
    def identical_ratio(self) -> float:
        """Rows identical over rows; 0 when nothing was compared."""
        return self.rows_identical / self.rows if self.rows else 0.0

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.rows + other.rows,
            self.rows_agreeing + other.rows_agreeing,
            self.rows_identical + other.rows_identical,
            max(self.max_abs_diff, other.max_abs_diff),
            max(self.max_ulps, other.max_ulps),
            tuple(a + b for a, b in zip(self.decimals, other.decimals, strict=True)),
        )

    def to_json(self) -> dict[str, Json]:
        """Return JSON types, ratios included."""
        return {
            "rows": self.rows,
            "rows_agreeing": self.rows_agreeing,
            "rows_identical": self.rows_identical,
            "agree_ratio": self.agree_ratio,
            "bit_identical_ratio": self.identical_ratio,
            "max_abs_diff": self.max_abs_diff,
            "max_ulps": self.max_ulps,
            "decimals": list(self.decimals),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Build from what `to_json` returned."""
        return cls(
            value["rows"],
            value["rows_agreeing"],
            value["rows_identical"],
            value["max_abs_diff"],
            value["max_ulps"],
            tuple(value["decimals"]),
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison with what it says of each value.

    Attributes:
        summary: the figures.
        identical: shape (N, k), whether each value is equal bit for bit.
        agreeing: shape (N, k), whether each value agrees.
        diffs: |online - offline|, shape (N, k); NaN where one is no finite number.
    """

    summary: Comparison
    identical: NDArray[np.bool_]
    agreeing: NDArray[np.bool_]
    diffs: NDArray[np.float64]
    online: Column
    offline: Column

    def worst(self, most: int) -> list[Difference]:
        """Return the disagreeing values with the largest |difference|, non-finite pairs first."""
        rows, columns = np.nonzero(~self.agreeing)
        size = self.diffs[rows, columns]
        order = np.argsort(np.where(np.isnan(size), -np.inf, -size), kind="stable")[:most]
        return [self._difference(int(rows[i]), int(columns[i])) for i in order]

    def worst_of_each(self, most: int) -> list[Difference]:
        """Return what `worst` does, column by column: at most so many of each."""
        found = []
        for j in np.flatnonzero(~self.agreeing.all(axis=0)):
            rows = np.flatnonzero(~self.agreeing[:, j])
            size = self.diffs[rows, j]
            order = np.argsort(np.where(np.isnan(size), -np.inf, -size), kind="stable")[:most]
            found += [self._difference(int(rows[i]), int(j)) for i in order]
        return found

    def _difference(self, row: int, column: int) -> Difference:
        a, b = self.online[row, column], self.offline[row, column]
        number = bool(np.isfinite(self.diffs[row, column])) and isinstance(a, np.floating)
        ulps = int(ulp_distance(np.array([a]), np.array([b]))[0]) if number else -1
        return Difference(row, column, _plain(a), _plain(b), float(self.diffs[row, column]), ulps)


def compare(online: Column, offline: Column, tolerance: Tolerance | None = None) -> Compared:
    """Compare two arrays row by row.

    Args:
        online: shape (N,) or (N, k, ...): numbers, or objects (strings, token lists), which agree
            only when equal. float32 is widened exactly, so give it as float32.
        offline: the same shape.
        tolerance: ten decimals unless given.

    Raises:
        ConfigError: the shapes differ.

    >>> compare(np.array([0.1, np.nan]), np.array([0.1 + 4e-11, np.nan])).summary.rows_agreeing
    2
    """
    tolerance = tolerance or Tolerance()
    if online.shape != offline.shape:
        raise ConfigError(f"shapes differ: online {online.shape}, offline {offline.shape}")
    if online.dtype.kind in "fbiu" and offline.dtype.kind in "fbiu":
        return _compare_numbers(_as_matrix(online), _as_matrix(offline), tolerance)
    return _compare_objects(_as_matrix(online), _as_matrix(offline))


def _as_matrix(values: Column) -> Column:
    return values.reshape(len(values), -1) if values.size else values.reshape(len(values), 0)


def _compare_numbers(online: Column, offline: Column, tolerance: Tolerance) -> Compared:
    exact_ints = online.dtype.kind in "biu" and offline.dtype.kind in "biu"
    same_int = online == offline if exact_ints else None
    a, b = online.astype(np.float64), offline.astype(np.float64)
    identical = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
    if same_int is not None:
        identical = same_int
    if identical.all():
        return Compared(
            _all_identical(len(a)), identical, identical, np.zeros(a.shape), online, offline
        )
    with np.errstate(invalid="ignore", over="ignore"):
        diffs = np.abs(a - b)
    if same_int is not None:
        diffs = np.maximum(diffs, ~same_int)  # beyond 2**53 two integers can be one float64
    finite = np.isfinite(a) & np.isfinite(b)
    diffs = np.where(finite, diffs, np.where(identical, 0.0, np.nan))
    agreeing = identical | (finite & (diffs <= tolerance.limit))
    ulps = int(ulp_distance(a[finite], b[finite]).max(initial=0))
    if same_int is None:
        online, offline = a, b  # shown as compared; float64 would hide a large integer's low digits
    summary = _summary(identical, agreeing, diffs, ulps)
    return Compared(summary, identical, agreeing, diffs, online, offline)


def _compare_objects(online: Column, offline: Column) -> Compared:
    pairs = zip(online.ravel().tolist(), offline.ravel().tolist(), strict=True)
    equal = np.array([a == b for a, b in pairs], np.bool_).reshape(online.shape)
    diffs = np.where(equal, 0.0, np.nan)
    return Compared(_summary(equal, equal, diffs, 0), equal, equal, diffs, online, offline)


def _all_identical(rows: int) -> Comparison:
    return Comparison(rows, rows, rows, decimals=(0,) * EXACT_DECIMALS + (rows,))


def _summary(
    identical: NDArray[np.bool_], agreeing: NDArray[np.bool_], diffs: NDArray[np.float64], ulps: int
) -> Comparison:
    same_rows = identical.all(axis=1)
    # a row's worst value; a pair with a NaN or an infinity on one side agrees in no decimal
    worst = np.where(np.isnan(diffs), np.inf, diffs).max(axis=1, initial=0.0)
    digits = np.where(same_rows, EXACT_DECIMALS, agreed_decimals(worst))
    return Comparison(
        rows=len(identical),
        rows_agreeing=int(agreeing.all(axis=1).sum()),
        rows_identical=int(same_rows.sum()),
        max_abs_diff=float(np.nanmax(diffs, initial=0.0)),
        max_ulps=ulps,
        decimals=tuple(np.bincount(digits, minlength=EXACT_DECIMALS + 1).tolist()),
    )


def agreed_decimals(diffs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the largest d <= 16 with |difference| <= 0.5 * 10**-d, at least 0.

    >>> agreed_decimals(np.array([0.0, 5e-11, 6e-11, 0.3, np.inf])).tolist()
    [16, 10, 9, 0, 0]
    """
    limits = np.array([Tolerance(d).limit for d in range(16, 0, -1)])  # ascending
    return 16 - np.searchsorted(limits, diffs, side="left")


def ulp_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many float64 numbers lie between a and b, plus one (0 when equal), as float64.

    The bits of a float64, read as a sign-magnitude integer, count the representable numbers
    (Goldberg 1991); the count is exact up to 2**53, beyond that a ratio is all that matters.

    >>> ulp_distance(np.array([1.0, -0.0]), np.array([np.nextafter(1, 2), 0.0])).tolist()
    [1.0, 0.0]
    """
    distance: NDArray[np.float64] = np.abs(_ordered(a) - _ordered(b)).astype(np.float64)
    return distance


def _ordered(values: NDArray[np.float64]) -> NDArray[Any]:
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)
    ordered = np.where(bits < 0, np.int64(-(2**63)) - bits, bits)
    # two int64 of opposite sign can be more than 2**63 apart
    return ordered.astype(np.longdouble)


def _plain(value: object) -> Any:  # noqa: ANN401 - a number or a text, as reported
    return value.item() if isinstance(value, np.generic) else value


def joint(parts: Sequence[Compared]) -> Comparison:
    """Return the comparison of rows that are spread over several arrays, side by side.

    Args:
        parts: comparisons of the same N rows.
    """
    if len(parts) == 1:
        return parts[0].summary
    return _summary(
        np.hstack([p.identical for p in parts]),
        np.hstack([p.agreeing for p in parts]),
        np.hstack([p.diffs for p in parts]),
        max(p.summary.max_ulps for p in parts),
    )
