"""Where the buckets of a numeric reference end: quantile bins, atoms for point masses, tails.

An edge never lies on a training value, so that noise in the last digits moves no row to another
bucket. Between two bins it lies half way. A point mass (an *atom*) is more than a bin: what leaves
it has changed even when it stays close. Its bucket reaches only a tenth of the data's own step to
either side: integers that became integers + 0.001 stay in it, a 0/1 flag that became 0.3 does not.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

ATOM_REACH: Final = 0.1
"""Half the width of an atom's bucket, in steps between neighbouring training values."""

FEWEST_BINS: Final = 4
"""Bins for what is not in atoms, however little it is: 0.5% of positive amounts can still drift."""

MOST_EDGES_A_BIN: Final = 2.1
"""With ten bins at most 21 edges, so 25 buckets: 200 bytes of int64 a feature."""


def frozen_edges(finite: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return the ascending edges of the buckets of a sample.

    Args:
        finite: the sample without NaN and infinities, shape (N,), N >= 0.
        bins: quantile bins; a value that holds more than 1/bins of the rows is an atom.

    Returns:
        Finite edges, shape (E,); the first is at or below the smallest value, the last above the
        largest. (Without a last one when the largest value is the largest float64.)
    """
    if not finite.size:
        return np.empty(0)
    values, counts = np.unique(finite, return_counts=True)
    atoms = counts * bins > finite.size
    with np.errstate(over="ignore"):
        step = float(np.median(np.diff(values))) if values.size > 1 else 0.0
    rest = int(np.where(atoms, 0, counts).sum())
    parts = max(round(bins * rest / finite.size), min(bins, FEWEST_BINS))
    edges = _edges(values, counts, atoms, parts, step)
    while len(edges) > max(MOST_EDGES_A_BIN * bins, 6) and parts > 1:
        parts -= 1  # many atoms cut the rest into more pieces than it has bins
        edges = _edges(values, counts, atoms, parts, step)
    return np.array([e for e in edges if math.isfinite(e)])


def _edges(
    values: NDArray[np.float64], counts: NDArray[np.intp], atoms: NDArray[np.bool_],
    parts: int, step: float,
) -> list[float]:  # fmt: skip
    """Return the edges, the tails' included, with so many bins for what is not in atoms."""
    last = np.append(np.flatnonzero(np.diff(_groups(counts, atoms, parts))), values.size - 1)
    edges = [_lower_tail(values, atoms, step)]
    for i in last[:-1].tolist():
        low, high = float(values[i]), float(values[i + 1])
        edges += _edges_between(low, high, bool(atoms[i]), bool(atoms[i + 1]), step)
    return [*edges, _upper_tail(values, atoms, step)]


def _groups(counts: NDArray[np.intp], atoms: NDArray[np.bool_], parts: int) -> NDArray[np.int64]:
    """Return a number for each distinct value; it changes where the bucket does."""
    rest = np.where(atoms, 0, counts).astype(np.int64)
    total = int(rest.sum())
    groups = -1 - np.arange(counts.size)  # an atom is a group by itself
    if total:
        middle = 2 * np.cumsum(rest) - rest  # twice the rank, so that it is an integer
        groups = np.where(atoms, groups, middle * parts // (2 * total))
    return groups


def _edges_between(
    low: float, high: float, low_is_atom: bool, high_is_atom: bool, step: float
) -> list[float]:
    """Return the edge (two between atoms) of neighbouring groups; each is in (low, high]."""
    reach = ATOM_REACH * min(high - low, step)
    wanted = [low + reach] * low_is_atom + [high - reach] * high_is_atom
    # Floats may be so close that nothing lies between: then the edge is the upper one itself.
    first = math.nextafter(low, math.inf)
    return sorted(min(max(e, first), high) for e in wanted or [low / 2 + high / 2])


def _lower_tail(values: NDArray[np.float64], atoms: NDArray[np.bool_], step: float) -> float:
    gap = float(values[1]) - float(values[0]) if values.size > 1 else 0.0
    edge = float(values[0]) - (ATOM_REACH if atoms[0] else 0.5) * min(gap, step)
    return max(edge, -float(np.finfo(np.float64).max))


def _upper_tail(values: NDArray[np.float64], atoms: NDArray[np.bool_], step: float) -> float:
    gap = float(values[-1]) - float(values[-2]) if values.size > 1 else 0.0
    edge = float(values[-1]) + (ATOM_REACH if atoms[-1] else 0.5) * min(gap, step)
    above = math.nextafter(float(values[-1]), math.inf)
    return max(edge, above) if math.isfinite(edge) else above
