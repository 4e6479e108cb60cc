"""A whole replay: cuts the log, has the units replayed, and adds up what they found.

The cut does not depend on who does the work, nor the sum on the order in which it comes home: one
process, several, and Spark give the same report, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import orjson

from consistency.errors import ReplayError
from consistency.log.reader import TORN_TAIL, cut_tails
from consistency.protocols import Damage
from consistency.replay import ReplayReport
from consistency.replay.core import new_sum
from consistency.replay.merge import ReportSum, first_damage
from consistency.replay.partial import unpack_report
from consistency.replay.report import MOST_DAMAGE_LISTED
from consistency.replay.units import LogUnit, cut_log
from samescore.engines.parallel import Processes
from samescore.engines.work import Engine, InProcess, OnBytes, first_lines
from samescore.replays.checkpoint import Checkpoint
from samescore.replays.rows import ROWS_FILE, RowsFile
from samescore.replays.units import ReplayJob, UnitResult


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """A finished replay.

    Attributes:
        report: what it found; the same whatever engine did it.
        units: parts of the log.
        kept: those of them that a checkpoint already held.
        redone: why parts that the checkpoint held were done again, and how many.
    """

    report: ReplayReport
    units: int
    kept: int = 0
    redone: Mapping[str, int] = field(default_factory=dict)


def engine_for(jobs: int) -> Engine:
    """Return what replays on this machine.

    Args:
        jobs: processes; 1 is this one.
    """
    return InProcess() if jobs == 1 else Processes(jobs)


def run_replay(
    job: ReplayJob,
    engine: Engine,
    *,
    units: Sequence[LogUnit] | None = None,
    checkpoint: Path | None = None,
    out: Path | None = None,
    on_bytes: OnBytes = lambda _: None,
) -> ReplayRun:
    """Replay a log.

    Args:
        job: what to do; with rows, `out` gets `rows.parquet`.
        engine: who does it.
        units: what `cut_log` returned, when the caller knows it already.
        checkpoint: folder of finished units.
        out: folder, which is there.
        on_bytes: for a progress bar.

    Raises:
        SamescoreError: the log, a bundle or an output cannot be used. What a checkpoint holds by
            then is not done again.
    """
    units = cut_log(job.log, job.settings.selection) if units is None else units
    job = replace(job, with_digest=checkpoint is not None)
    store = None if checkpoint is None else Checkpoint(checkpoint, job)
    with _rows_file(job, out) as rows:
        home = _Home(job, units, rows)
        left = [(i, u) for i, u in enumerate(units) if not home.take_kept(i, store, on_bytes)]
        for result in engine.run(job, left, on_bytes):
            if result.failure:
                raise ReplayError(result.failure)
            if store is not None:
                store.save(units[result.index], result)
            home.take(result, partial(getattr, result, "rows"))
        report = home.report()
    if store is not None:
        store.sweep(units)
    redone = {} if store is None else dict(sorted(store.redone.items()))
    return ReplayRun(report, len(units), len(units) - len(left), redone)


@contextmanager
def _rows_file(job: ReplayJob, out: Path | None) -> Iterator[RowsFile | None]:
    if out is None or not job.with_rows:
        yield None
        return
    file = RowsFile(out / ROWS_FILE)
    try:
        yield file
    except BaseException:
        file.discard()
        raise
    file.close()


class _Home:
    """Where results come home: adds up, and brings back into the order of the log what has one.

    Attributes:
        job: what is done; units: all of them; rows: the file, or None.
    """

    def __init__(self, job: ReplayJob, units: Sequence[LogUnit], rows: RowsFile | None) -> None:
        self._job, self._units, self._rows = job, units, rows
        self._sum: ReportSum = new_sum(job.settings)
        self._lines: dict[int, int] = {}
        self._damage: list[tuple[int, Damage]] = []

    def take_kept(self, index: int, store: Checkpoint | None, on_bytes: OnBytes) -> bool:
        """Take what a checkpoint holds of a unit; False when it has to be replayed."""
        unit = self._units[index]
        result = None if store is None else store.load(index, unit)
        if store is None or result is None:
            return False
        self.take(result, partial(store.rows, unit))
        on_bytes(unit.size_bytes)
        return True

    def take(self, result: UnitResult, rows: Callable[[], bytes]) -> None:
        """Take the result of a unit."""
        report = unpack_report(orjson.loads(result.report))
        self._lines[result.index] = result.lines
        self._damage += [(result.index, damage) for damage in report.damage]
        if len(self._damage) > 2 * MOST_DAMAGE_LISTED:
            self._damage = sorted(self._damage, key=_place)[:MOST_DAMAGE_LISTED]
        self._sum.add(replace(report, damage=()))
        if self._rows is not None:
            self._rows.add(result.index, rows)

    def report(self) -> ReplayReport:
        """Return the whole report; every result must be home."""
        tails = cut_tails(self._job.log)
        lost = sum(tail.problem != TORN_TAIL for tail in tails)
        damage = first_damage((*self._numbered(), *tails))
        self._sum.add(
            replace(new_sum(self._job.settings).settled(), damage=damage, lost_lines=lost)
        )
        return self._sum.settled()

    def _numbered(self) -> Iterator[Damage]:
        """Yield the damage with line numbers of its segment, not of its unit."""
        first = first_lines(self._units, self._lines)
        for index, damage in self._damage:
            yield replace(damage, line=damage.line + first[index])


def _place(found: tuple[int, Damage]) -> tuple[int, int]:
    return found[0], found[1].line
