"""Reads a log back, in constant memory, and says what could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from consistency.log.entry import LineError, LoggedRequest, decode_line
from consistency.log.segments import OPEN_SUFFIX, TORN_SUFFIX, list_segments
from consistency.protocols import Damage, LogItems

TORN_TAIL = "torn tail"
"""The problem of an unfinished last line: it was never acknowledged."""

CUT_LINES = "unreadable lines, cut off when the segment was sealed"
"""The problem of complete lines at a dead segment's end: they may have been acknowledged."""


class RequestLogReader:
    """Every request of a log folder, in the order of writing, damage included.

    Args:
        folder: a log folder, open segments of live writers included.

    Raises:
        LogError: no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = list_segments(folder)

    def __iter__(self) -> Iterator[LoggedRequest | Damage]:
        for path in self.segments:
            yield from _read_segment(path)
        for path in sorted(self.folder.glob(f"*{TORN_SUFFIX}")):
            cut = path.read_bytes()
            yield Damage(path.name, 1, CUT_LINES if b"\n" in cut else TORN_TAIL, len(cut))

    @property
    def size_bytes(self) -> int:
        """Bytes to read, for a progress bar."""
        return sum(p.stat().st_size for p in self.segments if p.exists())


def _read_segment(path: Path) -> Iterator[LoggedRequest | Damage]:
    if not path.exists():  # sealed while we read the ones before it
        path = path.with_name(path.name.removesuffix(".open"))
        if not path.exists():  # or removed, since nothing was in it
            return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                yield Damage(path.name, number, TORN_TAIL, len(line))
                return
            try:
                yield decode_line(line[:-1])
            except (LineError, ValueError) as e:
                yield Damage(path.name, number, str(e), len(line))


@dataclass(slots=True)
class LogVerdict:
    """What verifying a log found.

    Attributes:
        requests: readable requests.
        rows: their rows.
        repeated: request ids that occur more than once.
        damage: what cannot be read, torn tails included, cut off (`*.torn`) or not.
    """

    requests: int = 0
    rows: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    segments_open: int = 0
    segments_sealed: int = 0

    @property
    def intact(self) -> bool:
        """Whether every line can be read and no request is there twice (torn tails aside)."""
        return not self.repeated and all(d.problem == TORN_TAIL for d in self.damage)


def verify_log(folder: Path) -> LogVerdict:
    """Read a whole log and check each line's CRC and each request id.

    Raises:
        LogError: no such folder.
    """
    reader = RequestLogReader(folder)
    verdict = LogVerdict()
    verdict.segments_open = sum(p.name.endswith(OPEN_SUFFIX) for p in reader.segments)
    verdict.segments_sealed = len(reader.segments) - verdict.segments_open
    _tally(reader, verdict)
    return verdict


def _tally(items: LogItems, verdict: LogVerdict) -> None:
    seen: set[str] = set()
    for item in items:
        if isinstance(item, Damage):
            verdict.damage.append(item)
            continue
        if item.request_id in seen:
            verdict.repeated.append(item.request_id)
        seen.add(item.request_id)
        verdict.requests += 1
        verdict.rows += item.rows
        outcome, model = item.outcome.value, "/".join(map(str, item.model))
        verdict.outcomes[outcome] = verdict.outcomes.get(outcome, 0) + 1
        verdict.models[model] = verdict.models.get(model, 0) + 1
