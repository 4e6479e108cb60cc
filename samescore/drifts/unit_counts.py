"""What a worker does for the drift job: reads a unit of the log, and tells what it holds.

All that an executor imports of the job: it needs neither the bundle nor what judges. What it sends
home is a packed state for each window that the unit met; no row is among it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from consistency.errors import SamescoreError
from consistency.replay.units import UnitReader
from monitors.drift.counting import WindowCounter
from monitors.drift.record import Subject
from monitors.drift.state import CountsPacker
from monitors.drift.windows import Window, WindowLength
from monitors.reference import ReferenceSet
from samescore.drifts.counted import Skipped, count_items
from samescore.engines.work import NumberedUnit, OnBytes


@dataclass(frozen=True, slots=True)
class CountJob:
    """What is counted, as it goes to whoever does a part of it; see `Work`.

    Attributes:
        log: the request log's folder.
        subject: tells the requests that count, and by which time.
        reference: `ReferenceSet.to_bytes` of what is needed to count.
        length: of the windows.
    """

    log: Path
    subject: Subject
    reference: bytes
    length: WindowLength

    name: ClassVar[str] = "drift"
    advice: ClassVar[str] = ""

    def anywhere(self) -> Self:
        """Return it with an absolute path."""
        return replace(self, log=self.log.absolute())

    def start(self) -> UnitCounter:
        """Return what counts its units."""
        return UnitCounter(self)


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """What a unit holds, ready to travel.

    Attributes:
        index: the unit's number.
        lines: lines in it, damaged ones included.
        windows: each window that it met, and its packed state.
        skipped: what was not counted; the lines of its damage are counted from the unit's first.
        failure: why it could not be counted; empty otherwise.
    """

    index: int
    lines: int = 0
    windows: tuple[tuple[Window, bytes], ...] = ()
    skipped: Skipped = field(default_factory=Skipped)
    failure: str = ""


class UnitCounter:
    """Counts units of one job.

    Args:
        job: what to count.
    """

    def __init__(self, job: CountJob) -> None:
        self._job = job
        self._reference = ReferenceSet.from_bytes(job.reference)
        self._packer = CountsPacker(self._reference)

    def run(self, numbered: NumberedUnit, on_bytes: OnBytes = lambda _: None) -> UnitCounts:
        """Count a unit."""
        (index, unit), job = numbered, self._job
        reader = UnitReader(job.log, unit, on_bytes)
        counter, skipped = WindowCounter(self._reference, job.length, job.subject.by), Skipped()
        try:
            count_items(reader, job.subject, counter, skipped, lambda: None)
            windows = counter.windows()
        except SamescoreError as e:
            return UnitCounts(index, failure=str(e))
        packed = tuple((window, self._packer.pack(counts)) for window, counts in windows.items())
        return UnitCounts(index, reader.lines, packed, skipped)
