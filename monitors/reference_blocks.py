"""What each block of time of the reference held: how much a feature varies without drift.

A block is as long as the windows that are judged, mostly a day. Counts are integers in the buckets
of the whole reference, so blocks merge into longer ones exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from consistency.jsontype import Json
from monitors.errors import MonitorError

BlockCounts: TypeAlias = NDArray[np.int64]
"""Rows in each bucket of each block, shape (D, B)."""

BLOCK_SECONDS: Final = 86_400
MOST_BLOCKS: Final = 1_000
_USUAL_PARTS: Final = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceBlocks:
    """The counts of the reference, block by block; blocks without a row are left out.

    Attributes:
        length_s: seconds; a block begins at a multiple of it since 1970-01-01 UTC, as windows do.
        starts_s: seconds since the epoch, ascending, shape (D,).
        features: feature name to its counts, shape (D, B).
        scores: the same for each output of the score.
    """

    length_s: int
    starts_s: NDArray[np.int64]
    features: Mapping[str, BlockCounts]
    scores: tuple[BlockCounts, ...]

    def __len__(self) -> int:
        return len(self.starts_s)

    def without_ends(self) -> Self:
        """Return all blocks but the first and the last: a sample rarely begins at midnight."""
        return self.chosen(np.arange(1, max(len(self) - 1, 1)))

    def chosen(self, blocks: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Return some of the blocks, by index or mask."""
        features = {name: counts[blocks] for name, counts in self.features.items()}
        scores = tuple(counts[blocks] for counts in self.scores)
        return type(self)(self.length_s, self.starts_s[blocks], features, scores)

    def merged(self, length_s: int) -> Self | None:
        """Return blocks of another length, or None if these do not add up to it.

        Args:
            length_s: a multiple of the length. Longer blocks that miss one of their parts are left
                out: half a week is no week. Days made of shorter blocks may miss some, as in hours
                without a row at night, but hold three quarters of what they usually do.
        """
        if length_s % self.length_s:
            return None
        if length_s == self.length_s:
            return self
        starts, first, parts = np.unique(
            self.starts_s // length_s * length_s, return_index=True, return_counts=True
        )
        enough = length_s // self.length_s
        if self.length_s < BLOCK_SECONDS and len(parts):
            enough = math.ceil(_USUAL_PARTS * float(np.median(parts)))
        whole = parts >= enough
        features = {
            name: np.add.reduceat(counts, first)[whole] for name, counts in self.features.items()
        }
        scores = tuple(np.add.reduceat(counts, first)[whole] for counts in self.scores)
        return type(self)(length_s, starts[whole], features, scores)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types, exactly; the inverse of `from_json`."""
        return {
            "length_s": self.length_s,
            "starts_s": self.starts_s.tolist(),
            "features": {name: counts.tolist() for name, counts in self.features.items()},
            "scores": [counts.tolist() for counts in self.scores],
        }

    @classmethod
    def from_json(
        cls, value: Mapping[str, Json], buckets: Mapping[str, int], scores: Sequence[int]
    ) -> Self:
        """Build the blocks that `to_json` described.

        Args:
            value: the JSON.
            buckets: name of each measure to its number of buckets.
            scores: the same of each output.

        Raises:
            MonitorError: they do not fit the reference, or are damaged.
        """
        starts, length = np.array(value["starts_s"], np.int64), int(value["length_s"])
        if length < 1 or starts.ndim != 1 or len(starts) > MOST_BLOCKS:
            raise MonitorError(f"a reference has at most {MOST_BLOCKS} blocks of 1 second or more")
        if (starts % length).any() or (np.diff(starts) < 1).any():
            raise MonitorError("the blocks of a reference must be aligned and ascending")
        if value["features"].keys() != buckets.keys() or len(value["scores"]) != len(scores):
            raise MonitorError("the blocks of a reference must have its features and scores")
        features = {
            name: _stored(value["features"][name], (len(starts), count))
            for name, count in buckets.items()
        }
        pairs = zip(value["scores"], scores, strict=True)
        return cls(length, starts, features, tuple(_stored(v, (len(starts), n)) for v, n in pairs))


def _stored(value: object, shape: tuple[int, int]) -> BlockCounts:
    counts = np.array(value, np.int64).reshape(-1, shape[1])
    if counts.shape != shape or (counts < 0).any():
        raise MonitorError(f"the counts of the blocks must be {shape[0]} times {shape[1]}, >= 0")
    return counts
