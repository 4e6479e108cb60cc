"""Which features' drift moved the score, told from counts alone.

A feature moves the mean score by as much as its share moves between buckets of different scores:

    change = sum over buckets of (q - p) * mean score of the reference in that bucket

with p the reference's and q the window's share. It needs the window's counts only, neither the
model nor its rows. It is exact for a score that is a sum of functions of one feature each while
features are independent; features that go together (a distance and its logarithm) tell of the same
change twice, so the changes of a window do not add up to that of the score. It ranks, it does not
prove; `monitors.drift.attribution` does, where the model can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.reference import Counts, ReferenceSet


@dataclass(frozen=True, slots=True)
class Contribution:
    """By how much a feature's drift moved the mean score.

    Attributes:
        name: of the feature.
        change: of the mean score, in its own unit; the sign says whether up or down.
    """

    name: str
    change: float


def rank(
    reference: ReferenceSet,
    counts: Mapping[str, Counts],
    output: int = 0,
    before: Mapping[str, Counts] | None = None,
) -> tuple[Contribution, ...]:
    """Return the features by how much their drift moved the mean score, largest first.

    Args:
        reference: with the mean scores of its buckets; without them nothing is ranked.
        counts: of the window, by feature; features without mean scores are left out.
        output: of the score, 0 when there is one.
        before: counts to compare with, in the same buckets; None for those of the reference.
    """
    held = {n: each.training_counts for n, each in reference.features.items()}
    earlier = held if before is None else before
    changes = [
        Contribution(name, _change(reference, name, earlier[name], counts[name], output))
        for name in reference.score_means
        if name in counts and counts[name].any() and name in earlier and earlier[name].any()
    ]
    return tuple(sorted(changes, key=lambda c: (-abs(c.change), c.name)))


def mean_score(reference: ReferenceSet, output: int = 0) -> float | None:
    """Return the mean score of the training sample; None when the reference does not tell."""
    for name, means in reference.score_means.items():
        return float(_shares(reference.features[name].training_counts) @ means[output])
    return None


def _change(
    reference: ReferenceSet, name: str, before: Counts, after: Counts, output: int
) -> float:
    means = reference.score_means[name][output]
    return float((_shares(after) - _shares(before)) @ means)


def _shares(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
