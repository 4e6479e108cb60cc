"""Counts a log unit by unit, on any engine, and adds up the states that come home.

One way for all engines: in this process, in several, and on Spark a unit is read by the same code
(`unit_counts.py`), becomes the same few bytes, and is added up here, by sums that know no order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from consistency.log.reader import cut_tails
from consistency.log.segments import OPEN_SUFFIX, SEALED_SUFFIX
from consistency.protocols import Damage
from consistency.replay.units import LogUnit, cut_log
from monitors.drift.counting import WindowCounts
from monitors.drift.record import Subject
from monitors.drift.state import CountsPacker
from monitors.drift.windows import Window, WindowLength
from monitors.errors import MonitorError
from monitors.reference import ReferenceSet
from samescore.drifts.counted import MOST_DAMAGE_LISTED, Counted, Skipped
from samescore.drifts.unit_counts import CountJob, UnitCounts
from samescore.engines.work import Engine, InProcess, OnBytes, first_lines

UNIT_BYTES: Final = 32 << 20
"""Size of a unit. Larger than a replay's: counting it takes a quarter of a second, handing it out a
twentieth."""


@dataclass(frozen=True, slots=True)
class CountInUnits:
    """Counts a log on an engine; a `CountLog`.

    Attributes:
        engine: who does it.
        on_bytes: for a progress bar; `size_bytes` tells what they add up to.
    """

    engine: Engine = field(default_factory=InProcess)
    on_bytes: OnBytes = lambda _: None

    def __call__(
        self, log: Path, subject: Subject, reference: ReferenceSet, length: WindowLength
    ) -> Counted:
        """Count the log; see `CountLog`.

        Raises:
            EngineError: the engine failed.
        """
        job = CountJob(log, subject, reference.distributions().to_bytes(), length)
        return count_units(job, self.engine, cut_units(log), self.on_bytes)


def size_bytes(log: Path) -> int:
    """Return the bytes of a log, of its lines as they were written.

    Raises:
        LogError: no such folder.
    """
    return sum(unit.size_bytes for unit in cut_log(log))


def cut_units(log: Path, unit_bytes: int = UNIT_BYTES) -> list[LogUnit]:
    """Return the units of a log, oldest segment first; a compacted segment is one unit.

    A line's position in a compacted file is known only after the lines before it have been read.

    Raises:
        LogError: no such folder.
    """
    units: list[LogUnit] = []
    for unit in cut_log(log, unit_bytes=unit_bytes):
        before = units[-1] if units else None
        if before is not None and before.stem == unit.stem and not _has_lines(log, unit.stem):
            units[-1] = replace(before, end=unit.end)
        else:
            units.append(unit)
    return units


def _has_lines(log: Path, stem: str) -> bool:
    return any((log / f"{stem}{suffix}").exists() for suffix in (OPEN_SUFFIX, SEALED_SUFFIX))


def count_units(
    job: CountJob, engine: Engine, units: Sequence[LogUnit], on_bytes: OnBytes = lambda _: None
) -> Counted:
    """Have units counted, and add up what they hold.

    Args:
        job: what to count.
        engine: who does it.
        units: what `cut_units` returned.
        on_bytes: for a progress bar.

    Raises:
        MonitorError: the log does not fit the reference.
        EngineError: the engine failed.
    """
    home = Home(ReferenceSet.from_bytes(job.reference), units)
    for result in engine.run(job, list(enumerate(units)), on_bytes):
        home.take(result)
    return home.counted(cut_tails(job.log))


class Home:
    """Where the counts of units come home, in any order, each of them once.

    Args:
        reference: in whose buckets they were counted.
        units: all of them.
    """

    def __init__(self, reference: ReferenceSet, units: Sequence[LogUnit]) -> None:
        self._names = tuple(reference.measures)
        self._packer, self._units = CountsPacker(reference), units
        self._windows: dict[Window, WindowCounts] = {}
        self._lines: dict[int, int] = {}
        self._skipped = Skipped()
        self._damage: list[tuple[int, Damage]] = []

    def take(self, result: UnitCounts) -> None:
        """Take what a unit holds; a second result of a unit is passed over.

        Raises:
            MonitorError: the unit could not be counted.
        """
        if result.failure:
            raise MonitorError(result.failure)
        if result.index in self._lines:
            return
        self._lines[result.index] = result.lines
        for window, state in result.windows:
            self._windows.setdefault(window, WindowCounts()).merge(self._packer.unpack(state))
        self._add_skipped(result)

    def counted(self, tails: Sequence[Damage]) -> Counted:
        """Return the whole log's counts.

        Args:
            tails: what was cut off from segments whose writers died.

        Raises:
            MonitorError: a unit's result is not home.
        """
        away = [str(u) for i, u in enumerate(self._units) if i not in self._lines]
        if away:
            raise MonitorError(f"{len(away)} parts of the log were not counted, first {away[0]}")
        self._skipped.damage = list(self._numbered())
        self._skipped.other_bundles = dict(sorted(self._skipped.other_bundles.items()))
        for tail in tails:
            self._skipped.take(tail)
        windows = {w: c.in_order(self._names) for w, c in sorted(self._windows.items())}
        return Counted(windows, self._skipped)

    def _add_skipped(self, result: UnitCounts) -> None:
        total, more = self._skipped, result.skipped
        total.damaged_lines += more.damaged_lines
        total.torn_tails += more.torn_tails
        total.other_models += more.other_models
        for digest, requests in more.other_bundles.items():
            total.other_bundles[digest] = total.other_bundles.get(digest, 0) + requests
        self._damage += [(result.index, damage) for damage in more.damage]
        self._damage = sorted(self._damage, key=_place)[:MOST_DAMAGE_LISTED]

    def _numbered(self) -> Iterator[Damage]:
        """Yield the damage with line numbers of its segment, not of its unit."""
        first = first_lines(self._units, self._lines)
        for index, damage in self._damage:
            yield replace(damage, line=damage.line + first[index])


def _place(found: tuple[int, Damage]) -> tuple[int, int]:
    return found[0], found[1].line
