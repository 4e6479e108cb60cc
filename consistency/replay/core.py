"""Walks a log, groups what belongs together, and compares each stage. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeAlias

from consistency.codecs import TioneCodec, plain_records
from consistency.compare import Tolerance
from consistency.errors import ConfigError, DataError
from consistency.log.columnar.columns import LoggedRows
from consistency.log.lines.entry import LineContext, LoggedRequest, PayloadForm, form_of
from consistency.log.reader import TORN_TAIL
from consistency.log.selection import EVERYTHING, LogSelection
from consistency.pipeline import make_features
from consistency.protocols import Damage, Decoded, LogItems
from consistency.replay.inputs import (
    LOGGED,
    RECORDS,
    PartInputs,
    decode_payload,
    is_whole,
    kind_of,
)
from consistency.replay.merge import ReportSum
from consistency.replay.report import (
    MOST_DAMAGE_LISTED,
    NO_FEATURE_STAGE,
    REDACTED,
    ModelReport,
    ReplayReport,
)
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

_MOST_PLANS: Final = 256


@dataclass(slots=True)
class _Group:
    """What is recomputed together: requests of one servable with one kind of payload.

    Attributes:
        start: the first stage that they are replayed from.
        logged: what they were online.
        inputs: their payloads.
    """

    start: str
    logged: LoggedRows
    inputs: PartInputs = field(default_factory=PartInputs)


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
            start = "features" if kind == LOGGED else "payload"
            found = self.groups[kind] = _Group(start, LoggedRows(self.target.schema))
        return found


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done with requests whose lines begin alike.

    Attributes:
        servable: answered them.
        outcome: of them all; None where each says its own.
        start: the first stage that a scored one can be replayed from, None if there is none.
        is_received: whether the payload is there as it was received.
        is_plain: whether they are scored ones that start at TI-ONE bodies, texts in the log.
    """

    servable: _Servable
    outcome: str | None
    start: str | None
    is_received: bool
    is_plain: bool


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
        self._chunk_rows = settings.chunk_rows
        self._servables: dict[_Key, _Servable] = {}
        self._plans: dict[LineContext, _Plan] = {}
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
        own, context = item.parts
        plan = self._plans.get(context) or self._new_plan(context)
        report = plan.servable.report
        report.requests += 1
        if plan.is_plain and (records := plain_records(own["payload"])) is not None:
            group = plan.servable.groups[RECORDS]  # the most frequent form, at half the price
            group.inputs.records.append(records)
            self._wait(item, group, plan)
            return
        outcome = plan.outcome or own["outcome"]
        if outcome == Outcome.OK:
            self._take_scored(item, own, plan)
            return
        refused_by = own["refused_by"]
        if outcome == Outcome.DATA_ERROR and refused_by in self._refusals:
            self._take_refused(item, plan)
        else:
            _count(report.not_replayable, refused_by or outcome)

    def finish(self) -> ReplayReport:
        for servable in self._servables.values():
            for group in servable.groups.values():
                self._flush(servable, group)
        models = {f"{name}/{v}": self._models[name, v] for name, v in self._models}
        return _report(self._settings, models, tuple(self._damage), self._lost_lines)

    def _new_plan(self, context: LineContext) -> _Plan:
        facts = context.facts
        is_text = facts["payload_encoding"] == "utf-8"
        received = form_of(facts["payload_encoding"]) is PayloadForm.RECEIVED
        start = self._start_of(context, received)
        plan = _Plan(
            servable=self._servable(facts),
            outcome=facts.get("outcome"),
            start=start,
            is_received=received,
            is_plain=start == "payload"
            and is_text
            and facts["codec"] == TioneCodec.id
            and facts.get("outcome") == Outcome.OK,
        )
        plan.servable.group(RECORDS)
        if len(self._plans) >= _MOST_PLANS:  # clients choose content types: of those there are many
            self._plans.clear()
        self._plans[context] = plan
        return plan

    def _servable(self, facts: Mapping[str, Any]) -> _Servable:
        model, snapshots = (facts["model"], facts["version"]), facts["snapshots"]
        digest = facts["servable"]["bundle_digest"]
        key = (*model, digest, tuple(snapshots.items()))
        found = self._servables.get(key)
        if found is None:
            report = self._models.setdefault(model, ModelReport())
            target = self._resolve(model, digest, snapshots)
            found = self._servables[key] = _Servable(model, target, report)
        return found

    def _start_of(self, context: LineContext, received: bool) -> str | None:
        """Return the first stage that scored requests can be replayed from, None if there is none.

        A redacted payload holds hashes: what it makes is not what was scored.
        """
        if context.facts.get("redacted_features"):
            return None
        if context.feature_names is not None and (self._from_features or not received):
            return None if self._settings.mode is ReplayMode.PIPELINE else "features"
        return "payload" if received else None

    def _take_scored(self, item: LoggedRequest, own: Mapping[str, Any], plan: _Plan) -> None:
        start, servable = plan.start, plan.servable
        if start is None:
            _count(servable.report.not_replayable, REDACTED)
            return
        try:
            decoded = Decoded() if start == "features" else decode_payload(item, servable.target)
        except DataError as e:
            _count(servable.report.started_at, start)
            self._replay_of(servable).refused_offline(item.request_id, item.rows, e)
            return
        if is_whole(decoded) and self._settings.mode is ReplayMode.PIPELINE:
            _count(servable.report.not_replayable, NO_FEATURE_STAGE)
            return
        group = servable.group(kind_of(own, item.parts[1], decoded))
        group.inputs.add(decoded)
        self._wait(item, group, plan)

    def _wait(self, item: LoggedRequest, group: _Group, plan: _Plan) -> None:
        logged = group.logged
        logged.add(item)
        if logged.rows >= self._chunk_rows:
            self._flush(plan.servable, group)

    def _take_refused(self, item: LoggedRequest, plan: _Plan) -> None:
        """A request that was refused online must be refused offline, for the same reason."""
        target, report = plan.servable.target, plan.servable.report
        if not plan.is_received:
            _count(report.not_replayable, REDACTED)
            return
        report.rejected += 1
        try:
            decoded = decode_payload(item, target)
            if decoded.records is not None:
                make_features(target.pipeline, decoded.records)
            if decoded.call is not None:
                answer_call(target, decoded.call)
        except DataError as e:
            report.rejected_reproduced += str(e) == item.parts[0]["message"]

    def _flush(self, servable: _Servable, group: _Group) -> None:
        count = group.logged.requests
        if not count:
            return
        started = servable.report.started_at
        started[group.start] = started.get(group.start, 0) + count
        self._replay_of(servable).compare(
            group.logged.part(),
            group.inputs,
            scoring=self._settings.mode is not ReplayMode.PIPELINE,
            batch_rows=self._settings.batch.rows,
        )
        group.logged, group.inputs = LoggedRows(servable.target.schema), PartInputs()

    def _replay_of(self, servable: _Servable) -> ModelReplay:
        settings, take = self._settings, self._on_rows
        rows = None if take is None else partial(take, servable.model)
        return ModelReplay(
            servable.target, servable.report, settings.tolerance, settings.worst, rows
        )


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
