"""A judged window, as it is kept: what was counted, with what it was compared, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Self

from consistency.jsontype import Json
from monitors.drift.counting import WindowCounts
from monitors.drift.judgement import Judgement, Measure, Thresholds, Verdict
from monitors.drift.windows import TimeBasis, Window
from monitors.errors import MonitorError

FORMAT: Final = 1
"""Version of the JSON's layout."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged.

    Attributes:
        model: its name; version: its version.
        bundle_digest: of the bundle that served; reference_digest: of its frozen reference.
        by: which time put a request into its window.
    """

    model: str
    version: int
    bundle_digest: str
    reference_digest: str
    by: TimeBasis


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """One judged window.

    Attributes:
        subject: what was judged.
        window: when.
        complete: whether the window was over when it was counted.
        counts: its requests, in the reference's buckets.
        thresholds: that it was judged with.
        judgement: what came out.
    """

    subject: Subject
    window: Window
    complete: bool
    counts: WindowCounts
    thresholds: Thresholds
    judgement: Judgement

    @property
    def verdict(self) -> Verdict:
        """What it was judged to be."""
        return self.judgement.verdict

    def to_json(self) -> dict[str, Json]:
        """Return JSON types; the inverse of `from_json`. Equal records give equal JSON."""
        return {
            "format": FORMAT,
            **asdict(self.subject),
            "window": {
                "start": self.window.start,
                "end": self.window.end,
                "start_s": self.window.start_s,
                "length_s": self.window.length_s,
                "complete": self.complete,
            },
            "verdict": self.verdict.value,
            "drifted": [m.name for m in self.judgement.drifted],
            "thresholds": asdict(self.thresholds),
            "counts": self.counts.to_json(),
            "measures": [m.to_json() for m in self.judgement.measures],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json], where: object) -> Self:
        """Read what `to_json` wrote.

        Args:
            value: the JSON.
            where: it was, for messages.

        Raises:
            MonitorError: it is something else, or damaged.
        """
        try:
            if value["format"] != FORMAT:
                raise MonitorError(f"{where}: format {value['format']!r}, this reads {FORMAT}")
            facts = {name: value[name] for name in Subject.__slots__}
            subject = Subject(**facts | {"by": TimeBasis(value["by"])})
            thresholds = dict(value["thresholds"])
            thresholds["report_only"] = tuple(thresholds["report_only"])
            measures = tuple(Measure.from_json(m) for m in value["measures"])
            return cls(
                subject,
                Window(value["window"]["start_s"], value["window"]["length_s"]),
                value["window"]["complete"],
                WindowCounts.from_json(value["counts"]),
                Thresholds(**thresholds),
                Judgement(Verdict(value["verdict"]), measures),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise MonitorError(f"{where}: no judged window ({e!r}); remove it") from e
