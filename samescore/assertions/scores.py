"""`assert_same_scores`: the comparison of the house, for tests written by hand.

    from samescore import assert_same_scores

    def test_the_service_scores_as_training_did(client, offline):
        assert_same_scores(client.score(offline.records), offline["score"])

Nothing is rounded before it is compared (rounding disagrees for 1% of rows at a difference of
1e-12), and the usual helpers are looser by orders of magnitude: numpy's and pandas' defaults accept
4e-6 at 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from consistency.compare import EXACT_DECIMALS, Compared, Comparison, Difference, Tolerance, compare
from consistency.errors import ConfigError
from consistency.laws.invariance import first_difference
from samescore.assertions.hints import likely_cause
from samescore.assertions.inputs import Named, named_scores

SourceType = Literal["float32", "float64"]


class ScoresDifferError(AssertionError):
    """Online and offline scores differ.

    Attributes:
        name: of the score, where several were compared; empty for one.
        comparison: all figures; of no rows when there was nothing to compare, or another shape.
        difference: the first value that differs, or None.
        hint: the likely cause in one line.
    """

    def __init__(
        self,
        text: str,
        *,
        name: str = "",
        comparison: Comparison | None = None,
        difference: Difference | None = None,
        hint: str = "",
    ) -> None:
        self.name, self.comparison = name, comparison or Comparison()
        self.difference, self.hint = difference, hint
        super().__init__(text)


def assert_same_scores(
    online: Any,  # noqa: ANN401 - whatever holds numbers
    offline: Any,  # noqa: ANN401 - as above
    *,
    decimals: int = 10,
    request_ids: Sequence[str] | None = None,
    source_dtype: SourceType | None = None,
) -> Comparison:
    """Assert that online and offline scores agree, row by row, to so many decimals.

    Args:
        online: the scores that the service gave: a number, a list, an array or tensor of shape
            (N,) or (N, k), a pandas Series or DataFrame, or a dict of these by name.
        offline: the scores recomputed, in the same form. Series and DataFrames on both sides are
            aligned by their index (and columns), whatever their order.
        decimals: a and b agree iff |a - b| <= 0.5 * 10**-decimals; NaN only with NaN.
        request_ids: a name for each of the N rows, for the message.
        source_dtype: ``"float32"`` when both sides come from float32 numbers, even if one was
            printed and read back: both are rounded to float32 first. ``"float64"`` never rounds.
            None rounds only the side that is plainly the printed form of float32 numbers, when the
            other side is float32.

    Returns:
        The figures: rows, rows identical, largest difference, agreed decimals.

    Raises:
        ScoresDifferError: an AssertionError with the first differing row, all digits, the
            difference, ULPs, how many rows agree and to how many decimals, and the likely cause.
            Also for other shapes, rows or names, and when there is no row at all.
        ConfigError: what was given holds no numbers, or None among them.

    >>> assert_same_scores([0.1, 0.2], [0.1 + 4e-11, 0.2]).rows_agreeing
    2
    >>> assert_same_scores([0.1, 0.7], [0.1, 0.7 + 6e-11])
    Traceback (most recent call last):
        ...
    samescore.assertions.scores.ScoresDifferError: scores differ: 1 of 2 rows agree to 10 decimals
      first: row 1: online 0.7, offline 0.70000000006
      ...
    """
    tolerance = Tolerance(decimals)
    if source_dtype not in (None, "float32", "float64"):
        raise ConfigError(f"source_dtype is {source_dtype!r}; give 'float32', 'float64' or None")
    total: Comparison | None = None
    for pair in named_scores(online, offline, ScoresDifferError):
        found = _expect_same(pair, tolerance, request_ids, source_dtype)
        total = found if total is None else total + found
    if total is None:
        raise ScoresDifferError("there is nothing to compare: no scores by any name")
    return total


def _expect_same(
    pair: Named,
    tolerance: Tolerance,
    request_ids: Sequence[str] | None,
    source_dtype: SourceType | None,
) -> Comparison:
    online, offline = pair.online, pair.offline
    title = "scores" if not pair.name else f"scores {pair.name!r}"
    if online.shape != offline.shape:
        raise ScoresDifferError(
            f"{title}: shapes differ: online {online.shape}, offline {offline.shape}",
            name=pair.name,
        )
    if not online.size:
        text = f"{title}: there is nothing to compare: shape {online.shape}; an empty comparison"
        raise ScoresDifferError(f"{text} is no agreement", name=pair.name)
    labels = pair.labels if request_ids is None else _labels(request_ids, len(online))
    online, offline, note = _as_float32(online, offline, source_dtype)
    compared = compare(online, offline, tolerance)
    if compared.summary.agrees:
        return compared.summary
    raise _failure(pair.name, title, compared, tolerance, labels, note)


def _labels(request_ids: Sequence[str], rows: int) -> list[str]:
    labels = [f"request {r}" for r in request_ids]
    if len(labels) != rows:
        raise ConfigError(f"{len(labels)} request_ids for {rows} rows; give one a row")
    return labels


def _failure(
    name: str,
    title: str,
    compared: Compared,
    tolerance: Tolerance,
    labels: Sequence[str] | None,
    note: str,
) -> ScoresDifferError:
    found = compared.summary
    position = int(np.flatnonzero(~compared.agreeing.all(axis=1))[0])
    first = first_difference(compared, position, position)
    hint = likely_cause(compared)
    width = compared.agreeing.shape[1]
    where = f"row {position}" + (f", column {first.column}" if width > 1 else "")
    where += "" if labels is None else f" ({labels[position]})"
    ulps = f", {first.ulps} ULP" if first.ulps >= 0 else ""
    counts = f"{found.rows_agreeing} of {found.rows} rows agree to {tolerance.decimals} decimals"
    lines = [
        f"{title} differ: {counts}",
        f"  first: {where}: online {first.online!r}, offline {first.offline!r}",
        f"         |Δ| {first.abs_diff!r}{ulps}",
        f"  largest |Δ| {found.max_abs_diff!r}; rows by agreed decimals: {_histogram(found)}",
        *([f"  {note}"] if note else []),
        f"  likely cause: {hint}",
    ]
    return ScoresDifferError(
        "\n".join(lines), name=name, comparison=found, difference=first, hint=hint
    )


def _histogram(found: Comparison) -> str:
    """Show how many rows agree in how many decimals, empty buckets left out."""
    buckets = [(d, n) for d, n in enumerate(found.decimals) if n]
    return ", ".join(f"{'same bits' if d == EXACT_DECIMALS else d}: {n}" for d, n in buckets)


Numbers = NDArray[Any]  # Any: a number type

_DIGITS: Final = (".7g", ".8g", ".9g")
"""How float32 is printed by those who do not print the shortest text."""


def _as_float32(
    online: Numbers, offline: Numbers, source_dtype: SourceType | None
) -> tuple[Numbers, Numbers, str]:
    """Round to float32 what was float32 on its way; the note says so."""
    if source_dtype == "float64" or not online.dtype.kind == offline.dtype.kind == "f":
        return online, offline, ""
    if source_dtype == "float32":
        return _rounded(online), _rounded(offline), "both sides were rounded to float32 first"
    narrow = [side.dtype.itemsize < 8 for side in (online, offline)]
    if narrow == [False, True] and _printed_float32(online):
        return _rounded(online), offline, "online is printed float32: rounded to float32 first"
    if narrow == [True, False] and _printed_float32(offline):
        return online, _rounded(offline), "offline is printed float32: rounded to float32 first"
    return online, offline, ""


def _rounded(values: Numbers) -> Numbers:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _printed_float32(values: Numbers) -> bool:
    """Whether every number is one that printing a float32 gives."""
    finite = values[np.isfinite(values)].ravel()
    return all(_is_printed(v, n) for v, n in zip(finite.tolist(), _rounded(finite), strict=True))


def _is_printed(value: float, narrow: np.float32) -> bool:
    texts = (str(narrow), *(format(float(narrow), digits) for digits in _DIGITS))
    return value == float(narrow) or any(value == float(text) for text in texts)
