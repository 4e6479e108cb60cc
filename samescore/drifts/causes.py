"""Why the score of a window is what it is: what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from consistency.jsontype import Json
from monitors.drift.attribution import Attribution
from monitors.drift.record import WindowRecord
from monitors.thresholds.ranking import Contribution
from monitors.thresholds.segments import SegmentShift

MOST_LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class Ranked:
    """What counts alone tell of a feature.

    Attributes:
        name: of the feature; change: of the mean score that its drift makes likely.
        psi: its index in the window.
        correlation: of its index with the score's, by rank, over the windows of the history; None
            with fewer than five of them.
    """

    name: str
    change: float
    psi: float
    correlation: float | None

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SegmentCause:
    """A segment, and what moved it.

    Attributes:
        shift: of its mean score, against its own windows before.
        ranking: features, by what their drift within the segment makes likely.
        attribution: what the model says of the segment's rows; None where it was not asked.
    """

    shift: SegmentShift
    ranking: tuple[Contribution, ...]
    attribution: Attribution | None

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            **asdict(self.shift),
            "change": self.shift.change,
            "ranking": [asdict(each) for each in self.ranking[:MOST_LISTED]],
            "attribution": None if self.attribution is None else asdict(self.attribution),
        }


@dataclass(frozen=True, slots=True)
class RootCause:
    """Why the score of a window is what it is.

    Attributes:
        record: the window.
        output: which score, as it is called; training_mean: its mean in training, if known.
        ranking: features by what their counts make likely: unproven.
        attribution: what the model says; None where it was not asked or could not be.
        why_not: why there is no attribution; empty when there is one.
        segments: by field, those that could be compared; the moved ones first.
    """

    record: WindowRecord
    output: str
    training_mean: float | None
    ranking: tuple[Ranked, ...]
    attribution: Attribution | None
    why_not: str
    segments: Mapping[str, tuple[SegmentCause, ...]]

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "window": self.record.window.start,
            "score": self.output,
            "training_mean": self.training_mean,
            "ranking": [each.to_json() for each in self.ranking],
            "attribution": None if self.attribution is None else asdict(self.attribution),
            "unproven": self.why_not,
            "segments": {
                name: [each.to_json() for each in causes] for name, causes in self.segments.items()
            },
        }
