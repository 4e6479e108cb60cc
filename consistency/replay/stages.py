"""Recomputes a part of the log and compares it with what was logged, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np

from consistency.compare import EXACT_DECIMALS, Compared, Comparison, Tolerance, compare, joint
from consistency.diagnose import Cause, Finding, explain_feature
from consistency.errors import DataError, ReplayError
from consistency.features import FeatureBatch, take_rows
from consistency.log.columnar.columns import LoggedPart, Origin
from consistency.opaque import read_answer
from consistency.pipeline import BoundPipeline
from consistency.protocols import Decoded
from consistency.records import Column, Record
from consistency.replay.inputs import PartInputs
from consistency.replay.merge import add_mismatch
from consistency.replay.report import FeatureMismatch, ModelReport, StageDifference
from consistency.replay.rows import RowStages, TakeRows, changed_rows, refused_rows
from consistency.replay.target import ReplayTarget
from consistency.replay.worst import keep_worst
from consistency.scored import Outputs, Payload, Scores

_Whole: TypeAlias = tuple[int, dict[str, Column], "Scores | None"]
"""Rows, raw outputs and scores of an answer to a request without a feature stage."""


@dataclass(frozen=True, slots=True)
class ModelReplay:
    """Adds parts of the log to one model's report.

    Attributes:
        target: the offline side.
        report: what is added to.
        tolerance: what counts as agreeing.
        worst: how many differences the report shows of each stage.
        on_rows: takes what was found of each row, or None where nobody asks.
    """

    target: ReplayTarget
    report: ModelReport
    tolerance: Tolerance
    worst: int
    on_rows: TakeRows | None = None

    def compare(
        self,
        logged: LoggedPart,
        inputs: PartInputs,
        *,
        scoring: bool,
        batch_rows: int | None,
    ) -> None:
        """Recompute and compare.

        Args:
            logged: scored requests of one servable, one set of snapshots, one kind of payload.
            inputs: their payloads.
            scoring: whether to go on to outputs and scores.
            batch_rows: rows a batch for the scorer, or None: request by request.
        """
        if inputs.whole:
            self._compare_whole(logged, inputs.whole)
            return
        logged, offline = self._offline_features(logged, inputs)
        if offline is None:
            return
        self.report.rows += offline.rows
        rows = RowStages(logged.origin)
        if inputs.records or inputs.features:
            if logged.features is None:
                raise ReplayError("the log holds no features of these requests")
            self._add("payload", _reproduced(offline.rows))
            self._compare_features(logged.features, offline, rows)
        if scoring:
            self._compare_scores(logged, offline, batch_rows, rows)
        self._tell(rows)

    def refused_offline(self, request_id: str, rows: int, error: DataError) -> None:
        """Note a request that was scored online and is refused offline."""
        self.report.rows += rows
        self._add("payload", _nothing_agrees(rows))
        where = -1 if error.row is None else error.row
        name = error.field or "payload"
        self._keep(
            [StageDifference(request_id, where, "payload", name, "scored", str(error), None, -1)]
        )
        if self.on_rows is not None:
            self.on_rows(refused_rows(Origin([request_id], [rows])))

    def _offline_features(
        self, logged: LoggedPart, inputs: PartInputs
    ) -> tuple[LoggedPart, FeatureBatch | None]:
        """Return the part that can be recomputed, and its feature rows."""
        if inputs.features:
            return logged, _concatenate(inputs.features)
        if not inputs.records:
            return logged, logged.features
        pipeline = self.target.pipeline
        if pipeline is None:
            raise ReplayError("the log holds raw records, but the bundle has no feature pipeline")
        records = inputs.records
        try:
            return logged, pipeline(list(chain.from_iterable(records)))
        except DataError:
            good = self._accepted(pipeline, logged.origin, records)
            kept = list(chain.from_iterable(records[i] for i in good))
            return logged.only(good), pipeline(kept) if kept else None

    def _accepted(
        self, pipeline: BoundPipeline, origin: Origin, records: Sequence[Sequence[Record]]
    ) -> list[int]:
        """Return the indices of the requests that the pipeline accepts, one by one."""
        good = []
        for i, rows in enumerate(records):
            try:
                pipeline(rows)
                good.append(i)
            except DataError as e:
                self.refused_offline(origin.request_ids[i], origin.sizes[i], e)
        return good

    def _compare_features(
        self, online: FeatureBatch, offline: FeatureBatch, rows: RowStages
    ) -> None:
        names = self.target.schema.numeric_names
        compared = [(names, compare(online.numeric, offline.numeric, self.tolerance))]
        for name, values in online.others.items():
            compared.append(((name,), compare(values, offline.others[name], self.tolerance)))
        compared = [(n, c) for n, c in compared if n]
        self._add("features", joint([c for _, c in compared]))
        for columns, part in compared:
            if not part.agreeing.all():
                self._note("features", columns, part, rows)
                self._explain(columns, part)

    def _explain(self, names: tuple[str, ...], part: Compared) -> None:
        """Look for the proven cause of each feature that disagrees."""
        for j in np.flatnonzero(~part.agreeing.all(axis=0)):
            bad = ~part.agreeing[:, j]
            a, b = part.online[bad, j], part.offline[bad, j]
            numeric = a.dtype.kind == "f"
            found = explain_feature(a, b) if numeric else Finding(Cause.UNPROVEN, "no number")
            size = float(np.nanmax(part.diffs[bad, j], initial=0.0))
            mismatch = FeatureMismatch(int(bad.sum()), size, found)
            add_mismatch(self.report.features, names[j], mismatch)

    def _compare_scores(
        self,
        logged: LoggedPart,
        features: FeatureBatch,
        batch_rows: int | None,
        rows: RowStages,
    ) -> None:
        scorer = self.target.scorer
        if scorer is None:
            raise ReplayError("the target has no scorer; replay with mode 'pipeline'")
        outputs: list[dict[str, Column]] = []
        scores: list[Scores] = []
        for part in logged.origin.slices(batch_rows):
            raw = scorer.score(take_rows(features, part))
            outputs.append({name: np.asarray(values) for name, values in raw.items()})
            scores.append(self.target.postprocess(raw))
        made = {name: np.concatenate([o[name] for o in outputs]) for name in outputs[0]}
        self._compare_outputs(logged.outputs, made, rows)
        if logged.scores is not None:
            self._compare_final(logged.scores, np.concatenate(scores), rows)

    def _compare_outputs(
        self, online: dict[str, Column], offline: dict[str, Column], rows: RowStages
    ) -> None:
        if online.keys() != offline.keys():
            raise ReplayError(f"online outputs are {sorted(online)}, offline {sorted(offline)}")
        parts = {n: compare(values, offline[n], self.tolerance) for n, values in online.items()}
        self._add("outputs", joint(list(parts.values())))
        for name, part in parts.items():
            self._note("outputs", (name,) * part.agreeing.shape[1], part, rows)

    def _compare_final(self, online: Scores, offline: Scores, rows: RowStages) -> None:
        part = compare(online, offline, self.tolerance)
        self._add("scores", part.summary)
        self._note("scores", ("score",) * part.agreeing.shape[1], part, rows)
        rows.scored(online, offline)

    def _compare_whole(self, logged: LoggedPart, decoded: Sequence[Decoded]) -> None:
        """Compare requests that have no feature stage: what goes in is what came in."""
        logged, answers = self._answered(logged, decoded)
        sizes, names = logged.origin.sizes, logged.outputs.keys()
        self.report.rows += sum(sizes)
        forms = _forms(logged.outputs)
        alike = [i for i, a in enumerate(answers) if a[0] == sizes[i] and _forms(a[1]) == forms]
        for i in sorted(set(range(len(answers))) - set(alike)):
            self._other_kind(logged.origin.request_ids[i], sizes[i], names, answers[i][1])
        if not alike:
            return
        part, kept = logged.only(alike), [answers[i] for i in alike]
        made = {name: np.concatenate([a[1][name] for a in kept]) for name in names}
        # a log of lists does not know the shape of an output without values
        made = {n: v if v.size else v.reshape(part.outputs[n].shape) for n, v in made.items()}
        rows = RowStages(part.origin)
        self._compare_outputs(part.outputs, made, rows)
        scores = [a[2] for a in kept if a[2] is not None]
        if part.scores is not None and scores:
            self._compare_final(part.scores, np.concatenate(scores), rows)
        self._tell(rows)

    def _answered(
        self, logged: LoggedPart, decoded: Sequence[Decoded]
    ) -> tuple[LoggedPart, list[_Whole]]:
        """Return the requests that are answered offline too, and the answers."""
        answers, good = [], []
        for i, request in enumerate(decoded):
            try:
                answers.append(_whole_answer(self.target, request))
                good.append(i)
            except DataError as e:
                self.refused_offline(logged.origin.request_ids[i], logged.origin.sizes[i], e)
        return logged if len(good) == len(decoded) else logged.only(good), answers

    def _other_kind(
        self, request_id: str, rows: int, online: Iterable[str], offline: dict[str, Column]
    ) -> None:
        """Note an opaque answer that cannot even be laid beside the logged one."""
        shown = ", ".join(f"{name}: {len(values)} rows" for name, values in offline.items())
        self._add("outputs", _nothing_agrees(rows))
        was = ", ".join(f"{name}: {rows} rows" for name in online)
        self._keep([StageDifference(request_id, 0, "outputs", "answer", was, shown, None, -1)])
        if self.on_rows is not None:
            self.on_rows(changed_rows(Origin([request_id], [rows]), "outputs"))

    def _add(self, stage: str, part: Comparison) -> None:
        self.report.stages[stage] = self.report.stages.get(stage, Comparison()) + part

    def _note(self, stage: str, names: tuple[str, ...], part: Compared, rows: RowStages) -> None:
        """Keep the worst differences of a stage, and where each row first differs."""
        if part.agreeing.all():
            return
        rows.note(stage, part)
        # differences of one name compete with each other, whichever column they are in
        alike = len(set(names)) == 1
        found = part.worst(self.worst) if alike else part.worst_of_each(self.worst)
        self._keep(
            StageDifference(
                *rows.origin.of(d.position), stage, names[d.column], d.online, d.offline,
                None if np.isnan(d.abs_diff) else d.abs_diff, d.ulps,
            )
            for d in found
        )  # fmt: skip

    def _keep(self, found: Iterable[StageDifference]) -> None:
        self.report.worst = keep_worst([*self.report.worst, *found], self.worst)

    def _tell(self, rows: RowStages) -> None:
        if self.on_rows is not None:
            self.on_rows(rows.results())


def answer_call(target: ReplayTarget, payload: Payload) -> tuple[int, Outputs]:
    """Return rows and outputs of a call of TensorFlow Serving's protocol.

    Raises:
        DataError: the call is refused.
        ReplayError: the target answers no such calls.
    """
    if target.calls is None:
        raise ReplayError(
            "the log holds calls of TensorFlow Serving's protocol, and this model version answers"
            " none; name the folder that the model server served"
        )
    return target.calls.answer(payload)


def _whole_answer(target: ReplayTarget, request: Decoded) -> _Whole:
    if request.call is not None:
        rows, outputs = answer_call(target, request.call)
        return rows, dict(outputs), None
    if target.opaque is None:
        raise ReplayError("the log holds opaque requests; name the service that answered them")
    return read_answer(target.opaque.process(request.opaque))


def _forms(outputs: Mapping[str, Column]) -> dict[str, tuple[int, ...]]:
    return {name: values.shape[1:] if values.size else (0,) for name, values in outputs.items()}


def _nothing_agrees(rows: int) -> Comparison:
    return Comparison(rows, decimals=(rows,) + (0,) * EXACT_DECIMALS)


def _reproduced(rows: int) -> Comparison:
    return Comparison(rows, rows, rows, decimals=(0,) * EXACT_DECIMALS + (rows,))


def _concatenate(parts: Sequence[FeatureBatch]) -> FeatureBatch:
    numeric = np.asfortranarray(np.concatenate([p.numeric for p in parts]))
    return FeatureBatch(parts[0].schema, len(numeric), numeric)
