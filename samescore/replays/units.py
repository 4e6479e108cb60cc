"""One unit of a replay: what every engine runs, in this process, in another, or on Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import orjson

from consistency.errors import SamescoreError
from consistency.replay import ReplaySettings
from consistency.replay.core import replay_part
from consistency.replay.partial import pack_report
from consistency.replay.target import ReplayTarget
from consistency.replay.units import UnitReader, unit_digest
from consistency.snapshots import SnapshotStore
from samescore.engines.work import NumberedUnit, OnBytes
from samescore.replays.rows import RowBuffer
from samescore.replays.targets import BundleTargets


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What a replay is, as it goes to whoever does a part of it; see `Work`.

    Attributes:
        log: the folder.
        targets: the offline side, nothing loaded.
        settings: how, and which requests.
        with_rows: whether the result of each row is wanted.
        with_digest: whether the digest of each unit's lines is wanted.
    """

    log: Path
    targets: BundleTargets
    settings: ReplaySettings
    with_rows: bool = False
    with_digest: bool = False

    name: ClassVar[str] = "replay"
    advice: ClassVar[str] = "; with --checkpoint it goes on where it was"

    def anywhere(self) -> Self:
        """Return the job with absolute paths, nothing loaded."""
        targets = self.targets
        store = SnapshotStore(targets.store.root.absolute())
        services = tuple(replace(s, model_path=s.model_path.absolute()) for s in targets.services)
        found = replace(
            targets.unloaded(), base=targets.base.absolute(), store=store, services=services
        )
        return replace(self, log=self.log.absolute(), targets=found)

    def start(self) -> UnitRunner:
        """Return what replays its units; a model is loaded when a unit first needs it."""
        return UnitRunner(self)


@dataclass(frozen=True, slots=True, order=True)
class Used:
    """What a unit was replayed with.

    Attributes:
        model: name; version: of it.
        bundle_digest: empty for an InferenceService.
        snapshots: pairs of a lookup's name and its snapshot id.
    """

    model: str
    version: int
    bundle_digest: str
    snapshots: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What the replay of a unit found, ready to travel.

    Attributes:
        index: the unit's number.
        lines: lines in it, damaged ones included.
        report: `pack_report` as JSON; the lines of its damage are counted from the unit's first.
        rows: an Arrow stream, empty when nobody asked.
        used: what it was replayed with.
        digest: of the unit's lines, taken before they were replayed; empty when nobody asked.
        failure: why it could not be replayed; empty otherwise. A text, since an error's own class
            need not survive the way from another process.
    """

    index: int
    lines: int = 0
    report: bytes = b""
    rows: bytes = b""
    used: tuple[Used, ...] = ()
    digest: str = ""
    failure: str = ""


class UnitRunner:
    """Replays units of one job; a model is loaded once.

    Args:
        job: what to do.
    """

    def __init__(self, job: ReplayJob) -> None:
        self._job = replace(job, targets=job.targets.unloaded())

    def run(self, numbered: NumberedUnit, on_bytes: OnBytes = lambda _: None) -> UnitResult:
        """Replay a unit."""
        index, unit = numbered
        job, rows = self._job, RowBuffer()
        reader = UnitReader(job.log, unit, on_bytes)
        targets = _Noting(job.targets)
        digest = unit_digest(job.log, unit) if job.with_digest else ""
        try:
            report = replay_part(
                reader, targets, job.settings, rows.take if job.with_rows else None
            )
        except SamescoreError as e:
            return UnitResult(index, failure=str(e))
        return UnitResult(
            index,
            reader.lines,
            orjson.dumps(pack_report(report)),
            rows.stream() if job.with_rows else b"",
            tuple(sorted(targets.used)),
            digest,
        )


@dataclass(frozen=True, slots=True)
class _Noting:
    """Notes what was asked for."""

    inner: BundleTargets
    used: set[Used] = field(default_factory=set)

    def __call__(
        self, model: tuple[str, int], bundle_digest: str, snapshots: Mapping[str, str]
    ) -> ReplayTarget:
        found = self.inner(model, bundle_digest, snapshots)
        self.used.add(Used(*model, bundle_digest, tuple(sorted(snapshots.items()))))
        return found
