"""Walks a log, groups what belongs together, and compares each stage. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeAlias

from consistency.codecs import codec_named
from consistency.compare import Tolerance
from consistency.errors import ConfigError, DataError
from consistency.jsontype import Json
from consistency.log.columns import LoggedRows
from consistency.log.entry import LoggedRequest, PayloadForm
from consistency.log.reader import TORN_TAIL
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.pipeline import make_features
from consistency.protocols import Damage, Decoded, LogItems
from consistency.replay.merge import ReportSum
from consistency.replay.report import MOST_DAMAGE_LISTED, ModelReport, ReplayReport
from consistency.replay.rows import RowResults
from consistency.replay.stages import ModelReplay, answer_call
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
        worst: how many differences are shown for each stage of each model.
        selection: which requests are replayed; what cannot be read is reported all the same.
    """

    mode: ReplayMode = ReplayMode.FULL
    batch: BatchPlan = field(default_factory=BatchPlan)
    tolerance: Tolerance = field(default_factory=Tolerance)
    worst: int = 10
    selection: LogSelection = EVERYTHING

    @property
    def chunk_rows(self) -> int:
        """Rows that are recomputed at once: at least a batch."""
        return max(CHUNK_ROWS, self.batch.rows or 0)


OnRows: TypeAlias = Callable[[tuple[str, int], RowResults], object]
"""Takes what was found of rows of a model version."""

_Key: TypeAlias = tuple[str, int, str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Group:
    """What is recomputed together: requests of one servable with one kind of payload."""

    logged: LoggedRows
    decoded: list[Decoded] = field(default_factory=list)


@dataclass(slots=True)
class _Servable:
    """The offline side of one servable on one set of snapshots, and what waits for it."""

    model: tuple[str, int]
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
    settings = settings or ReplaySettings()
    walk = _Walk(resolve, settings, None)
    for item in items:
        walk.take(item)
        on_request()
    whole = new_sum(settings)
    whole.add(walk.finish())
    return whole.settled()


def replay_part(
    items: LogItems, resolve: Resolve, settings: ReplaySettings, on_rows: OnRows | None = None
) -> ReplayReport:
    """Replay a part of a log; `new_sum` makes the parts' reports one, exactly and in any order.

    Args:
        items: of the part.
        resolve: finds the offline side of a logged request.
        settings: how.
        on_rows: takes what was found of each row.

    Returns:
        A report that is not settled: it keeps every difference that may be among the worst.

    Raises:
        ReplayError: no bundle for a logged model version, or other features than the bundle's.
    """
    walk = _Walk(resolve, settings, on_rows)
    for item in items:
        walk.take(item)
    return walk.finish()


def new_sum(settings: ReplaySettings) -> ReportSum:
    """Return a sum of parts of a replay, empty."""
    return ReportSum(_report(settings, {}, (), 0), settings.worst)


def _report(
    settings: ReplaySettings,
    models: Mapping[str, ModelReport],
    damage: tuple[Damage, ...],
    lost_lines: int,
) -> ReplayReport:
    return ReplayReport(
        mode=settings.mode.value,
        batch=str(settings.batch),
        decimals=settings.tolerance.decimals,
        models=models,
        damage=damage,
        lost_lines=lost_lines,
        selection=settings.selection.to_json(),
    )


class _Walk:
    def __init__(self, resolve: Resolve, settings: ReplaySettings, on_rows: OnRows | None) -> None:
        self._resolve = resolve
        self._settings = settings
        self._on_rows = on_rows
        chosen = settings.selection
        self._keeps = None if chosen == EVERYTHING else chosen.keeps
        # without a pipeline, what the pipeline refused cannot be refused again
        self._from_features = settings.mode is ReplayMode.FEATURES
        self._refusals = ("payload",) if self._from_features else ("payload", "features")
        self._servables: dict[_Key, _Servable] = {}
        self._models: dict[tuple[str, int], ModelReport] = {}
        self._damage: list[Damage] = []
        self._lost_lines = 0

    def take(self, item: LoggedRequest | Damage) -> None:
        if isinstance(item, Damage):
            if len(self._damage) < MOST_DAMAGE_LISTED:  # they come in the order of the log
                self._damage.append(item)
            self._lost_lines += item.problem != TORN_TAIL
            return
        if self._keeps is not None and not self._keeps(item):
            return
        fields = item.fields
        servable = self._servable(fields)
        servable.report.requests += 1
        if fields["outcome"] == Outcome.OK:
            self._take_scored(item, servable)
        elif fields["outcome"] == Outcome.DATA_ERROR and fields["refused_by"] in self._refusals:
            self._take_refused(item, servable)
        else:
            _count(servable.report.not_replayable, fields["refused_by"] or fields["outcome"])

    def finish(self) -> ReplayReport:
        for servable in self._servables.values():
            for kind in servable.groups:
                self._flush(servable, kind)
        models = {f"{name}/{v}": self._models[name, v] for name, v in self._models}
        return _report(self._settings, models, tuple(self._damage), self._lost_lines)

    def _servable(self, fields: Mapping[str, Any]) -> _Servable:
        model, snapshots = (fields["model"], fields["version"]), fields["snapshots"]
        digest = fields["servable"]["bundle_digest"]
        key = (*model, digest, tuple(snapshots.items()))
        found = self._servables.get(key)
        if found is None:
            report = self._models.setdefault(model, ModelReport())
            target = self._resolve(model, digest, snapshots)
            found = self._servables[key] = _Servable(model, target, report)
        return found

    def _take_scored(self, item: LoggedRequest, servable: _Servable) -> None:
        start = self._start_of(item)
        if start is None:
            _count(servable.report.not_replayable, "redacted")
            return
        try:
            decoded = _decode(item, servable.target) if start == "payload" else Decoded()
        except DataError as e:
            _count(servable.report.started_at, start)
            self._replay_of(servable).refused_offline(item.request_id, item.rows, e)
            return
        has_no_features = decoded.opaque is not None or decoded.call is not None
        if has_no_features and self._settings.mode is ReplayMode.PIPELINE:
            _count(servable.report.not_replayable, "no feature stage")
            return
        _count(servable.report.started_at, start)
        kind = _kind(item, decoded)
        group = servable.group(kind)
        group.logged.add(item)
        group.decoded.append(decoded)
        if group.logged.rows >= self._settings.chunk_rows:
            self._flush(servable, kind)

    def _start_of(self, item: LoggedRequest) -> str | None:
        """Return the first stage that a scored request can be replayed from, None if there is none.

        A redacted payload holds hashes: what it makes is not what was scored.
        """
        if item.redacted_features:
            return None
        received = item.payload_form is PayloadForm.RECEIVED
        if item.fields["features"] is not None and (self._from_features or not received):
            return None if self._settings.mode is ReplayMode.PIPELINE else "features"
        return "payload" if received else None

    def _take_refused(self, item: LoggedRequest, servable: _Servable) -> None:
        """A request that was refused online must be refused offline, for the same reason."""
        target, report = servable.target, servable.report
        if item.payload_form is not PayloadForm.RECEIVED:
            _count(report.not_replayable, "redacted")
            return
        report.rejected += 1
        try:
            decoded = _decode(item, target)
            if decoded.records is not None:
                make_features(target.pipeline, decoded.records)
            if decoded.call is not None:
                answer_call(target, decoded.call)
        except DataError as e:
            report.rejected_reproduced += str(e) == item.fields["message"]

    def _flush(self, servable: _Servable, kind: str) -> None:
        group = servable.groups[kind]
        if not group.decoded:
            return
        self._replay_of(servable).compare(
            group.logged.part(),
            group.decoded,
            scoring=self._settings.mode is not ReplayMode.PIPELINE,
            batch_rows=self._settings.batch.rows,
        )
        servable.groups[kind] = _Group(LoggedRows(servable.target.schema))

    def _replay_of(self, servable: _Servable) -> ModelReplay:
        settings, take = self._settings, self._on_rows
        rows = None if take is None else partial(take, servable.model)
        return ModelReplay(
            servable.target, servable.report, settings.tolerance, settings.worst, rows
        )


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _decode(item: LoggedRequest, target: ReplayTarget) -> Decoded:
    payload = item.payload
    return codec_named(payload.codec).decode(payload, target.schema)


def _kind(item: LoggedRequest, decoded: Decoded) -> str:
    if decoded.records is not None:
        return "records"
    if decoded.features is not None:
        return "features"
    if decoded.opaque is None and decoded.call is None:
        return "logged"
    # a service may answer one request with scores and the next one with a text; what a model
    # server's client asks for, and of what shape, is the client's choice
    outputs = item.fields["outputs"] or {}
    types = item.fields.get("output_types", {})
    forms = (f"{name} {types.get(name, '')} {_row_shape(outputs[name])}" for name in outputs)
    return "whole " + ",".join(forms)


def _row_shape(values: Json) -> list[int]:
    """Return the shape of one row of an output."""
    shape, value = [], values[0] if values else None
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape
