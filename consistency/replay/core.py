"""Walks a log, groups what belongs together, and compares each stage. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from consistency.codecs import codec_named
from consistency.compare import Tolerance
from consistency.errors import ConfigError, DataError
from consistency.log.columns import LoggedRows
from consistency.log.entry import LoggedRequest
from consistency.pipeline import make_features
from consistency.protocols import Damage, Decoded, LogItems
from consistency.replay.report import ModelReport, ReplayReport
from consistency.replay.stages import ModelReplay
from consistency.replay.target import ReplayTarget, Resolve
from consistency.scored import Outcome

CHUNK_ROWS: Final = 2048
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


_Key: TypeAlias = tuple[str, int, str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Group:
    """What is recomputed together: requests of one servable with one kind of payload."""

    logged: LoggedRows
    decoded: list[Decoded] = field(default_factory=list)


@dataclass(slots=True)
class _Servable:
    """The offline side of one servable on one set of snapshots, and what waits for it."""

    target: ReplayTarget
    report: ModelReport
    groups: dict[str, _Group] = field(default_factory=dict)

    def group(self, kind: str) -> _Group:
        found = self.groups.get(kind)
        if found is None:
            found = self.groups[kind] = _Group(LoggedRows(self.target.schema))
        return found


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
        self._from_features = settings.mode is ReplayMode.FEATURES
        self._refusals = ("payload",) if self._from_features else ("payload", "features")
        self._servables: dict[_Key, _Servable] = {}
        self._models: dict[tuple[str, int], ModelReport] = {}
        self._damage: list[Damage] = []

    def take(self, item: LoggedRequest | Damage) -> None:
        if isinstance(item, Damage):
            self._damage.append(item)
            return
        fields = item.fields
        servable = self._servable(fields)
        servable.report.requests += 1
        if fields["outcome"] == Outcome.OK:
            self._take_scored(item, servable)
        elif fields["outcome"] == Outcome.DATA_ERROR and fields["refused_by"] in self._refusals:
            self._take_refused(item, servable)
        else:
            by = fields["refused_by"] or fields["outcome"]
            held = servable.report.not_replayable
            held[by] = held.get(by, 0) + 1

    def finish(self) -> ReplayReport:
        for servable in self._servables.values():
            for kind in servable.groups:
                self._flush(servable, kind)
        for report in self._models.values():
            ModelReplay.settle(report)
        settings = self._settings
        return ReplayReport(
            mode=settings.mode.value,
            batch=str(settings.batch),
            decimals=settings.tolerance.decimals,
            models={f"{name}/{v}": self._models[name, v] for name, v in sorted(self._models)},
            damage=tuple(self._damage),
        )

    def _servable(self, fields: Mapping[str, Any]) -> _Servable:
        model, snapshots = (fields["model"], fields["version"]), fields["snapshots"]
        digest = fields["servable"]["bundle_digest"]
        key = (*model, digest, tuple(snapshots.items()))
        found = self._servables.get(key)
        if found is None:
            report = self._models.setdefault(model, ModelReport())
            target = self._resolve(model, digest, snapshots)
            found = self._servables[key] = _Servable(target, report)
        return found

    def _take_scored(self, item: LoggedRequest, servable: _Servable) -> None:
        from_log = self._from_features and item.fields["features"] is not None
        try:
            decoded = Decoded() if from_log else _decode(item, servable.target)
        except DataError as e:
            ModelReplay.refused_offline(servable.report, item.request_id, item.rows, e)
            return
        if decoded.opaque is not None and self._settings.mode is ReplayMode.PIPELINE:
            held = servable.report.not_replayable
            held["no feature stage"] = held.get("no feature stage", 0) + 1
            return
        kind = _kind(item, decoded)
        group = servable.group(kind)
        group.logged.add(item)
        group.decoded.append(decoded)
        if group.logged.rows >= CHUNK_ROWS:
            self._flush(servable, kind)

    def _take_refused(self, item: LoggedRequest, servable: _Servable) -> None:
        """A request that was refused online must be refused offline, for the same reason."""
        target, report = servable.target, servable.report
        report.rejected += 1
        try:
            decoded = _decode(item, target)
            if decoded.records is not None:
                make_features(target.pipeline, decoded.records)
        except DataError as e:
            report.rejected_reproduced += str(e) == item.fields["message"]

    def _flush(self, servable: _Servable, kind: str) -> None:
        group = servable.groups[kind]
        if not group.decoded:
            return
        settings = self._settings
        part = ModelReplay(servable.target, servable.report, settings.tolerance, settings.worst)
        part.compare(
            group.logged.part(),
            group.decoded,
            scoring=settings.mode is not ReplayMode.PIPELINE,
            batch_rows=settings.batch.rows,
        )
        servable.groups[kind] = _Group(LoggedRows(servable.target.schema))


def _decode(item: LoggedRequest, target: ReplayTarget) -> Decoded:
    payload = item.payload
    return codec_named(payload.codec).decode(payload, target.schema)


def _kind(item: LoggedRequest, decoded: Decoded) -> str:
    if decoded.records is not None:
        return "records"
    if decoded.features is not None:
        return "features"
    if decoded.opaque is None:
        return "logged"
    # a service may answer one request with scores and the next one with a text
    return "opaque " + ",".join(item.fields["outputs"] or ())
