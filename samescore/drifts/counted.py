"""The seam between counting a log and judging what was counted.

Whatever counts a log for a drift job (this process, or Spark) returns the same `Counted`: one
exactly mergeable state a window. The job knows nothing of how it came about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from consistency.jsontype import Json
from consistency.log import LoggedRequest, RequestLogReader
from consistency.log.reader import TORN_TAIL
from consistency.protocols import Damage, LogItems
from monitors.drift.counting import WindowCounter, WindowCounts
from monitors.drift.record import Subject
from monitors.drift.windows import Window, WindowLength
from monitors.reference import ReferenceSet

MOST_DAMAGE_LISTED: Final = 20


class Belongs(StrEnum):
    """Whether a request is one that a job counts."""

    YES = "yes"
    OTHER_MODEL = "other_model"
    OTHER_BUNDLE = "other_bundle"


@dataclass(slots=True)
class Skipped:
    """What of the log was not counted.

    Attributes:
        damaged_lines: that cannot be read; `damage` lists the first ones.
        torn_tails: unfinished last lines; they were never answered.
        other_models: requests of other models and versions.
        other_bundles: requests that another bundle of this very version served, by its digest.
    """

    damaged_lines: int = 0
    torn_tails: int = 0
    damage: list[Damage] = field(default_factory=list)
    other_models: int = 0
    other_bundles: dict[str, int] = field(default_factory=dict)

    def take(self, damage: Damage) -> None:
        """Note a line that cannot be read."""
        if damage.problem == TORN_TAIL:
            self.torn_tails += 1
            return
        self.damaged_lines += 1
        if len(self.damage) < MOST_DAMAGE_LISTED:
            self.damage.append(damage)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        listed = [{n: getattr(d, n) for n in Damage.__slots__} for d in self.damage]
        return {
            "damaged_lines": self.damaged_lines,
            "torn_tails": self.torn_tails,
            "damage": listed,
            "other_models": self.other_models,
            "other_bundles": dict(sorted(self.other_bundles.items())),
        }


@dataclass(frozen=True, slots=True)
class Counted:
    """What a log holds of one job.

    Attributes:
        windows: every window with a request, the earliest first.
        skipped: what was not counted.
    """

    windows: dict[Window, WindowCounts]
    skipped: Skipped


class CountLog(Protocol):
    """Counts a log; the job takes any. How it shows its progress is bound beforehand."""

    def __call__(
        self, log: Path, subject: Subject, reference: ReferenceSet, length: WindowLength
    ) -> Counted:
        """Return what the log holds of a job.

        Args:
            log: the request log's folder.
            subject: what is judged; it tells the requests that count, and by which time.
            reference: of the bundle that served.
            length: of the windows.

        Raises:
            LogError: no such log.
            MonitorError: the log does not fit the reference.
        """
        ...


def count_here(
    log: Path,
    subject: Subject,
    reference: ReferenceSet,
    length: WindowLength,
    on_request: Callable[[], object] = lambda: None,
) -> Counted:
    """Count a log in this process; see `CountLog`.

    Args:
        log: the request log's folder.
        subject: what is judged.
        reference: of the bundle that served.
        length: of the windows.
        on_request: called once for each line of the log, for a progress bar.
    """
    counter, skipped = WindowCounter(reference, length, subject.by), Skipped()
    count_items(RequestLogReader(log), subject, counter, skipped, on_request)
    return Counted(counter.windows(), skipped)


def count_items(
    items: LogItems,
    subject: Subject,
    counter: WindowCounter,
    skipped: Skipped,
    on_request: Callable[[], object],
) -> None:
    """Count some lines of a log; `counter` and `skipped` take what they hold."""
    for item in items:
        on_request()
        if not isinstance(item, LoggedRequest):
            skipped.take(item)
            continue
        match belongs(item, subject):
            case Belongs.OTHER_MODEL:
                skipped.other_models += 1
            case Belongs.OTHER_BUNDLE:
                digest = item.servable["bundle_digest"]
                skipped.other_bundles[digest] = skipped.other_bundles.get(digest, 0) + 1
            case Belongs.YES:
                counter.take(item)


def belongs(request: LoggedRequest, subject: Subject) -> Belongs:
    """Return whether a request was served by the bundle that is judged."""
    if request.model != (subject.model, subject.version):
        return Belongs.OTHER_MODEL
    same = request.servable["bundle_digest"] == subject.bundle_digest
    return Belongs.YES if same else Belongs.OTHER_BUNDLE
