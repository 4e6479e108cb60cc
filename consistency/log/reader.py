"""Reads a log back, in constant memory, and says what could not be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from consistency.log.columnar.parquet import ParquetError, read_lines
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import LineError, decode_line
from consistency.log.repeats import Suspects, convicted
from consistency.log.segments import (
    OPEN_SUFFIX,
    PARQUET_SUFFIX,
    SEALED_SUFFIX,
    TORN_SUFFIX,
    list_segments,
    merged_with,
    open_lines,
    stem_of,
    unreadable,
)
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.protocols import Damage

TORN_TAIL = "torn tail"
"""The problem of an unfinished last line: it was never acknowledged."""

CUT_LINES = "unreadable lines, cut off when the segment was sealed"
"""The problem of complete lines at a dead segment's end: they may have been acknowledged."""

CUT_SEALED = "its end is missing, though the segment was sealed whole"
"""The problem of a sealed segment's unfinished last line: it and those behind it were answered."""

MOST_NAMED: Final = 10_000
"""Damaged places, and ids met twice, that a verdict names; more are only counted."""


class RequestLogReader:
    """Every request of a log folder, in the order of writing, damage included.

    Args:
        folder: a log folder, open segments of live writers included.
        selection: only the requests that it keeps.

    Raises:
        LogError: no such folder.
    """

    def __init__(self, folder: Path, selection: LogSelection = EVERYTHING) -> None:
        self.folder, self._selection = folder, selection
        self.segments = list_segments(folder)

    def __iter__(self) -> Iterator[LoggedRequest | Damage]:
        for path in self.segments:
            yield from read_segment(path, self._selection)
        yield from cut_tails(self.folder)

    @property
    def size_bytes(self) -> int:
        """Bytes to read, for a progress bar."""
        return sum(p.stat().st_size for p in self.segments if p.exists())


def cut_tails(folder: Path) -> list[Damage]:
    """Return what was cut off from segments whose writers died, a `Damage` each.

    Raises:
        LogError: one cannot be read.
    """
    found = []
    for path in sorted(folder.glob(f"*{TORN_SUFFIX}")):
        try:
            cut = path.read_bytes()
        except FileNotFoundError:
            continue  # retention took it
        except OSError as e:
            raise unreadable(path, e) from e
        found.append(Damage(path.name, 1, CUT_LINES if b"\n" in cut else TORN_TAIL, len(cut)))
    return found


def read_segment(
    path: Path, selection: LogSelection = EVERYTHING
) -> Iterator[LoggedRequest | Damage]:
    """Yield what one segment holds, whatever becomes of it meanwhile.

    Args:
        path: as `list_segments` named it: open, sealed or compacted. When it has been sealed,
            compacted or merged since, it is read where it now is; when it has been removed (it was
            empty, or retention took it), nothing is yielded.
        selection: only the requests that it keeps; damage is reported wherever it is met.
    """
    if selection == EVERYTHING:
        yield from _items(path, selection)
        return
    for item in _items(path, selection):
        if isinstance(item, Damage) or selection.keeps(item):
            yield item


def _items(path: Path, selection: LogSelection) -> Iterator[LoggedRequest | Damage]:
    folder, stem = path.parent, stem_of(path)
    if path.name.endswith(PARQUET_SUFFIX):
        yield from _parquet(path, None, selection)
        return
    if (opened := open_lines(folder, stem)) is not None:
        name, stream = opened
        with stream:
            yield from _json_lines(stream, name)
        return
    alone = folder / f"{stem}{PARQUET_SUFFIX}"
    if alone.exists():
        yield from _parquet(alone, None, selection)
    elif (merged := merged_with(folder, stem)) is not None:
        yield from _parquet(merged, stem, selection)


def _json_lines(stream: BinaryIO, segment: str) -> Iterator[LoggedRequest | Damage]:
    for number, line in enumerate(stream, start=1):
        if not line.endswith(b"\n"):
            yield Damage(segment, number, problem_of_end(segment), len(line))
            return
        try:
            yield decode_line(line[:-1])
        except (LineError, ValueError) as e:
            yield Damage(segment, number, str(e), len(line))


def problem_of_end(segment: str) -> str:
    """Return what an unfinished last line means: sealing leaves none, so a sealed segment's is cut.

    >>> problem_of_end("a.jsonl.open")
    'torn tail'
    """
    return TORN_TAIL if segment.endswith(OPEN_SUFFIX) else CUT_SEALED


def _parquet(
    path: Path, stem: str | None, selection: LogSelection
) -> Iterator[LoggedRequest | Damage]:
    number = 0
    try:
        for number, line in read_lines(path, stem, selection):
            try:
                yield decode_line(line)
            except (LineError, ValueError) as e:
                yield Damage(path.name, number, str(e), len(line) + 1)
    except FileNotFoundError:
        return  # retention took it
    except ParquetError as e:
        yield Damage(path.name, number + 1, str(e))


@dataclass(slots=True)
class LogVerdict:
    """What verifying a log found.

    Attributes:
        requests: readable requests.
        rows: their rows.
        repeated: request ids that occur more than once, `MOST_NAMED` of them at most.
        damage: what cannot be read, torn tails included, cut off (`*.torn`) or not; `MOST_NAMED`
            at most.
        damaged: how many such places there are.
        lost: how many of them may have been acknowledged requests: all but the torn tails.
    """

    requests: int = 0
    rows: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    damaged: int = 0
    lost: int = 0
    segments_open: int = 0
    segments_sealed: int = 0
    segments_compacted: int = 0

    @property
    def intact(self) -> bool:
        """Whether every line can be read and no request is there twice (torn tails aside)."""
        return not self.repeated and not self.lost


def verify_log(folder: Path, step: Callable[[], None] = lambda: None) -> LogVerdict:
    """Read a whole log and check each line's CRC and each request id, in constant memory.

    Args:
        folder: the log. It is read a second time only if two ids have the same hash.
        step: called once a line.

    Raises:
        LogError: no such folder.
    """
    reader = RequestLogReader(folder)
    verdict = LogVerdict()
    for path in reader.segments:
        verdict.segments_open += path.name.endswith(OPEN_SUFFIX)
        verdict.segments_sealed += path.name.endswith(SEALED_SUFFIX)
        verdict.segments_compacted += path.name.endswith(PARQUET_SUFFIX)
    with Suspects() as suspects:
        for item in reader:
            step()
            _count(item, verdict)
            if isinstance(item, LoggedRequest):
                suspects.add(item.request_id)
        hashes = suspects.hashes(MOST_NAMED)
    if hashes:
        again = (i.request_id for i in RequestLogReader(folder) if isinstance(i, LoggedRequest))
        verdict.repeated = convicted(again, hashes)
    return verdict


def _count(item: LoggedRequest | Damage, verdict: LogVerdict) -> None:
    if isinstance(item, Damage):
        verdict.damaged += 1
        verdict.lost += item.problem != TORN_TAIL
        if verdict.damaged <= MOST_NAMED:
            verdict.damage.append(item)
        return
    verdict.requests += 1
    verdict.rows += item.rows
    outcome, model = item.outcome.value, "/".join(map(str, item.model))
    verdict.outcomes[outcome] = verdict.outcomes.get(outcome, 0) + 1
    verdict.models[model] = verdict.models.get(model, 0) + 1
