"""Which features' drift moved the score, of all requests or of a segment of them.

A feature moves the mean score by as much as its share moves between buckets of different scores:

    change = sum over buckets of (q - p) * mean score of the reference in that bucket

with p the reference's and q the window's share. It needs the window's counts only, neither the
model nor its rows. It is exact for a score that is a sum of functions of one feature each while
features are independent; features that go together (a distance and its logarithm) tell of the same
change twice, so the changes of a window do not add up to that of the score. It ranks, it does not
prove.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consistency.records import Column
from monitors.errors import MonitorError
from monitors.reference import CategoryReference, Counts, ReferenceSet


@dataclass(frozen=True, slots=True)
class Contribution:
    """By how much a feature's drift moved the mean score.

    Attributes:
        name: of the feature.
        change: of the mean score, in its own unit; the sign says whether up or down.
    """

    name: str
    change: float


@dataclass(frozen=True, slots=True)
class SegmentRanking:
    """What moved the score of a part of the requests.

    Attributes:
        segment: the category, `other`, `unseen` or `missing`.
        rows: of the window in the segment.
        ranking: its features, the one that moved the score most first.
    """

    segment: str
    rows: int
    ranking: tuple[Contribution, ...]


def rank(
    reference: ReferenceSet, counts: Mapping[str, Counts], output: int = 0
) -> tuple[Contribution, ...]:
    """Return the features by how much their drift moved the mean score, largest first.

    Args:
        reference: with the mean scores of its buckets; without them nothing is ranked.
        counts: of the window, by feature; features without mean scores are left out.
        output: of the score, 0 when there is one.
    """
    changes = [
        Contribution(name, _change(reference, name, counts[name], output))
        for name in reference.score_means
        if name in counts and counts[name].any()
    ]
    return tuple(sorted(changes, key=lambda c: (-abs(c.change), c.name)))


def rank_segments(
    reference: ReferenceSet, columns: Mapping[str, Column], by: str, output: int = 0
) -> tuple[SegmentRanking, ...]:
    """Return the ranking of each segment of a window, the segments by rows.

    Each segment is compared with the whole reference: the segment's own feature is left out, since
    a segment differs in it by definition.

    Args:
        reference: see `rank`.
        columns: the window's features, shape (N,) each.
        by: the category feature whose values are the segments.
        output: see `rank`.

    Raises:
        MonitorError: `by` is no category of the reference and the window.
    """
    held = reference.features.get(by)
    if not isinstance(held, CategoryReference) or by not in columns:
        known = [n for n, r in reference.features.items() if isinstance(r, CategoryReference)]
        raise MonitorError(
            f"segments by {by!r}: no category of the reference; it has {', '.join(known) or 'none'}"
        )
    buckets = held.buckets(columns[by])
    names = [*held.top, "other", "unseen", "missing"]
    found = []
    for bucket in np.unique(buckets).tolist():
        rows = np.flatnonzero(buckets == bucket)
        inside = {n: values[rows] for n, values in columns.items() if n != by}
        ranking = rank(reference, reference.counts(inside), output)
        found.append(SegmentRanking(names[bucket], len(rows), ranking))
    return tuple(sorted(found, key=lambda s: (-s.rows, s.segment)))


def _change(reference: ReferenceSet, name: str, counts: Counts, output: int) -> float:
    means = reference.score_means[name][output]
    return float((_shares(counts) - _shares(reference.features[name].training_counts)) @ means)


def _shares(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
