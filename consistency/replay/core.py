"""Walks a log, groups what belongs together, and compares each stage. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from consistency.codecs import codec_named
from consistency.compare import Tolerance
from consistency.errors import ConfigError, DataError
from consistency.log.entry import LoggedRequest
from consistency.protocols import Damage, Decoded, LogItems
from consistency.replay.report import ModelReport, ReplayReport
from consistency.replay.stages import ModelReplay
from consistency.replay.target import ReplayTarget, Resolve
from consistency.scored import Outcome

CHUNK_ROWS: Final = 4096
"""Rows that are recomputed at once: bounds the memory, and makes the pipeline columnar."""


class ReplayMode(StrEnum):
    """From where to where.

    full: payload -> features -> score. features: logged features -> score. pipeline: payload ->
    features only.
    """

    FULL = "full"
    FEATURES = "features"
    PIPELINE = "pipeline"


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How rows are batched for the scorer.

    Attributes:
        rows: rows a batch, or None: each request in a batch of its own, as it was logged.
    """

    rows: int | None = CHUNK_ROWS

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise ConfigError(f"batch size is {self.rows}; give 1 or more, or 'logged'")

    def __str__(self) -> str:
        return "logged" if self.rows is None else str(self.rows)


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How to replay.

    Attributes:
        mode: from where to where.
        batch: how rows are batched for the scorer.
        tolerance: what counts as agreeing.
        worst: how many differences are kept for each stage of each model.
    """

    mode: ReplayMode = ReplayMode.FULL
    batch: BatchPlan = field(default_factory=BatchPlan)
    tolerance: Tolerance = field(default_factory=Tolerance)
    worst: int = 10


_Key = tuple[tuple[str, int], str, tuple[tuple[str, str], ...], str]


@dataclass(slots=True)
class _Group:
    """What is recomputed together: one servable, one set of snapshots, one kind of payload."""

    target: ReplayTarget
    report: ModelReport
    requests: list[LoggedRequest] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)
    rows: int = 0


def replay(
    items: LogItems,
    resolve: Resolve,
    settings: ReplaySettings | None = None,
    on_request: Callable[[], object] = lambda: None,
) -> ReplayReport:
    """Score every request of a log again and compare.

    Args:
        items: the log, damage included.
        resolve: finds the offline side of a logged request.
        settings: how.
        on_request: called once for each request, for a progress bar.

    Raises:
        ReplayError: no bundle for a logged model version, or other features than the bundle's.
    """
    walk = _Walk(resolve, settings or ReplaySettings())
    for item in items:
        walk.take(item)
        on_request()
    return walk.finish()


class _Walk:
    def __init__(self, resolve: Resolve, settings: ReplaySettings) -> None:
        self._resolve = resolve
        self._settings = settings
        # without a pipeline, what the pipeline refused cannot be refused again
        full = settings.mode is not ReplayMode.FEATURES
        self._refusals = ("payload", "features") if full else ("payload",)
        self._groups: dict[_Key, _Group] = {}
        self._models: dict[str, ModelReport] = {}
        self._damage: list[Damage] = []

    def take(self, item: LoggedRequest | Damage) -> None:
        if isinstance(item, Damage):
            self._damage.append(item)
            return
        report = self._report(item)
        report.requests += 1
        if item.outcome is Outcome.OK:
            self._take_scored(item, report)
        elif item.outcome is Outcome.DATA_ERROR and item.fields["refused_by"] in self._refusals:
            self._take_refused(item, report)
        else:
            by = item.fields["refused_by"] or item.outcome.value
            report.not_replayable[by] = report.not_replayable.get(by, 0) + 1

    def finish(self) -> ReplayReport:
        for group in self._groups.values():
            self._flush(group)
        for report in self._models.values():
            ModelReplay.settle(report)
        settings = self._settings
        return ReplayReport(
            mode=settings.mode.value,
            batch=str(settings.batch),
            decimals=settings.tolerance.decimals,
            models=dict(sorted(self._models.items())),
            damage=tuple(self._damage),
        )

    def _report(self, item: LoggedRequest) -> ModelReport:
        name, version = item.model
        return self._models.setdefault(f"{name}/{version}", ModelReport())

    def _take_scored(self, item: LoggedRequest, report: ModelReport) -> None:
        target = self._target(item)
        mode = self._settings.mode
        from_log = mode is ReplayMode.FEATURES and item.fields["features"] is not None
        try:
            decoded = Decoded() if from_log else _decode(item, target)
        except DataError as e:
            ModelReplay.refused_offline(report, item, e)
            return
        group = self._group(item, decoded, target, report)
        group.requests.append(item)
        group.decoded.append(decoded)
        group.rows += item.rows
        if group.rows >= CHUNK_ROWS:
            self._flush(group)

    def _take_refused(self, item: LoggedRequest, report: ModelReport) -> None:
        """A request that was refused online must be refused offline, for the same reason."""
        target = self._target(item)
        report.rejected += 1
        try:
            decoded = _decode(item, target)
            if decoded.records is not None and target.pipeline is not None:
                target.pipeline(decoded.records)
        except DataError as e:
            report.rejected_reproduced += str(e) == item.fields["message"]

    def _target(self, item: LoggedRequest) -> ReplayTarget:
        return self._resolve(item.model, item.servable["bundle_digest"], item.snapshots)

    def _group(
        self, item: LoggedRequest, decoded: Decoded, target: ReplayTarget, report: ModelReport
    ) -> _Group:
        snapshots = tuple(sorted(item.snapshots.items()))
        key = (item.model, item.servable["bundle_digest"], snapshots, _kind(decoded))
        if key not in self._groups:
            self._groups[key] = _Group(target, report)
        return self._groups[key]

    def _flush(self, group: _Group) -> None:
        if not group.requests:
            return
        settings = self._settings
        part = ModelReplay(group.target, group.report, settings.tolerance, settings.worst)
        part.compare(
            group.requests,
            group.decoded,
            scoring=settings.mode is not ReplayMode.PIPELINE,
            batch_rows=settings.batch.rows,
        )
        group.requests, group.decoded, group.rows = [], [], 0


def _decode(item: LoggedRequest, target: ReplayTarget) -> Decoded:
    payload = item.payload
    return codec_named(payload.codec).decode(payload, target.schema)


def _kind(decoded: Decoded) -> str:
    if decoded.records is not None:
        return "records"
    if decoded.features is not None:
        return "features"
    return "logged" if decoded.opaque is None else "opaque"
