"""A baseline that follows the world: the windows before the one that is judged.

A model that has been served for a year is compared with training by the population stability index,
which people read. But what wakes somebody up is news: a window unlike those of the last weeks. The
windows' counts are kept in the reference's buckets, so they are blocks as those of the reference
are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from monitors.reference import Counts
from monitors.reference_blocks import ReferenceBlocks

WINDOWS: Final = 56
"""Windows of a day or more that the baseline looks back: eight of each weekday."""

_DAYS_OF_HOURS: Final = 28
_DAY: Final = 86_400
_MOST_WINDOWS: Final = 700


def windows_back(length_s: int) -> int:
    """Return how many windows the baseline looks back.

    Of windows of an hour those of four weeks, so that each has its hour of the week. With fewer
    than half of them, blocks of the reference that make up for them included, there is no baseline.

    >>> windows_back(86_400), windows_back(3_600)
    (56, 672)

    Args:
        length_s: of a window, seconds.
    """
    return min(max(_DAYS_OF_HOURS * _DAY // length_s, WINDOWS), _MOST_WINDOWS)


def rolling_blocks(
    windows: Sequence[tuple[int, Mapping[str, Counts], Sequence[Counts]]],
    length_s: int,
    before: ReferenceBlocks | None = None,
) -> ReferenceBlocks | None:
    """Return the last windows as blocks, or None while there are too few; see `windows_back`.

    Args:
        windows: start in seconds since the epoch, counts by measure, and counts of each output; in
            the order of time, all of one reference.
        length_s: of the windows, seconds.
        before: blocks of the reference, of the same length, that make up for missing windows.
    """
    most = windows_back(length_s)
    last = windows[-most:]
    if last and before is not None:
        before = before.chosen(before.starts_s < last[0][0])
    missing = max(most - len(last), 0)
    older = 0 if before is None else min(missing, len(before))
    if len(last) + older < most // 2:
        return None
    starts = np.array([start for start, _, _ in last], np.int64)
    names = [n for n in (last[-1][1] if last else ()) if all(n in held for _, held, _ in last)]
    features = {n: np.stack([held[n] for _, held, _ in last]) for n in names}
    scores = tuple(np.stack(each) for each in zip(*(s for _, _, s in last), strict=True))
    if not older or before is None:
        return ReferenceBlocks(length_s, starts, features, scores) if last else None
    past = before.chosen(np.arange(len(before) - older, len(before)))
    if not last:
        return past
    return ReferenceBlocks(
        length_s,
        np.concatenate([past.starts_s, starts]),
        {n: np.concatenate([past.features[n], c]) for n, c in features.items()},
        tuple(np.concatenate(pair) for pair in zip(past.scores, scores, strict=True)),
    )
