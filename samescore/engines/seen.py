"""Whether a worker sees the log that was cut: an empty mount point would look like an empty log."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from consistency.log.columnar.parquet import held_segments
from consistency.log.segments import OPEN_SUFFIX, PARQUET_SUFFIX, SEALED_SUFFIX, merged_with
from consistency.replay.units import LogUnit
from samescore.engines.errors import EngineError


@dataclass(frozen=True, slots=True)
class Seen:
    """What a machine sees of a unit's segment.

    Attributes:
        machine: its name.
        size_bytes: of the segment's lines; 0 if there is no such segment.
    """

    machine: str
    size_bytes: int

    @classmethod
    def here(cls, log: Path, unit: LogUnit) -> Seen:
        """Look at a unit's segment on this machine."""
        return cls(socket.gethostname(), visible_bytes(log, unit.stem))


def check_seen(log: Path, unit: LogUnit, seen: Seen) -> None:
    """Refuse a unit that was not all there for the worker that did it.

    Args:
        log: the folder, as this machine sees it.
        unit: that was done.
        seen: by the worker, before it read.

    Raises:
        EngineError: this machine sees more.
    """
    if seen.size_bytes >= unit.end:
        return
    # Less than when the log was cut: sealing has cut off a torn tail, or retention took it all.
    here = visible_bytes(log, unit.stem)
    if seen.size_bytes < min(here, unit.end):
        raise EngineError(
            f"log {log}: {seen.machine} sees {seen.size_bytes} bytes of segment {unit.stem}, this "
            f"machine {here}; mount the same log at the same path on every machine"
        )


def visible_bytes(log: Path, stem: str) -> int:
    """Return the bytes of a segment's lines that this machine sees; 0 if there is no such segment.

    Args:
        log: the folder.
        stem: what the segment is called whatever becomes of it.
    """
    for suffix in (OPEN_SUFFIX, SEALED_SUFFIX):  # in the order of its life: none is overtaken
        try:
            return (log / f"{stem}{suffix}").stat().st_size
        except FileNotFoundError:
            continue
    alone = log / f"{stem}{PARQUET_SUFFIX}"
    path = alone if alone.exists() else merged_with(log, stem)
    held = {} if path is None else held_segments(path)
    return held[stem].size_bytes if stem in held else 0
