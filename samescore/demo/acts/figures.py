"""Act 6: what the request log says of latency, scores, drift and snapshots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from consistency.features import FeatureBatch
from consistency.log import LoggedRequest
from consistency.protocols import LogItems
from consistency.scored import STAGES, Outcome
from monitors.psi import population_stability_index
from monitors.reference import Counts, ReferenceSet

AIRPORTS_ZONE: Final = "America/New_York"
"""Months are those of the airports' clocks: all flights leave from New York."""

_CHUNK_REQUESTS: Final = 256

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Asked:
    """A payload that was scored under more than one snapshot."""

    by_snapshot: dict[str, float] = field(default_factory=dict)

    @property
    def moved(self) -> float:
        """How far the score moved with the snapshot; 0 when there was only one."""
        return max(self.by_snapshot.values()) - min(self.by_snapshot.values())


@dataclass(slots=True)
class LogFigures:
    """What one pass over the log collects.

    Attributes:
        latency_ns: by model and stage, of the chosen single records.
        scores: by model and month.
        feature_counts: by month and feature, in the buckets of the reference.
        snapshot_rows: rows scored by lookup snapshot.
        asked: by model and payload, single records only.
        refusals: by message, how often.
        payloads: of every scored request to the model of the features.
    """

    latency_ns: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    scores: dict[str, dict[str, list[Floats]]] = field(default_factory=dict)
    feature_counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    snapshot_rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    asked: dict[tuple[str, bytes], Asked] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    payloads: list[bytes] = field(default_factory=list)

    def months(self) -> list[str]:
        """Return the months of the scores, ascending."""
        return sorted({month for by_month in self.scores.values() for month in by_month})

    def scores_of(self, model: str, month: str) -> Floats:
        """Return a model's scores of a month, empty if there are none."""
        parts = self.scores.get(model, {}).get(month, [])
        return np.concatenate(parts) if parts else np.empty(0)

    def changed_with_snapshot(self) -> list[float]:
        """Return how far the score of each payload moved that two snapshots scored."""
        return [a.moved for a in self.asked.values() if len(a.by_snapshot) > 1]


class LogPass:
    """Walks a log once.

    Args:
        timed: the ids of the single records whose latency counts.
        model: the model whose features and payloads are kept; the features of all are the same.
        reference: its frozen training distribution.
    """

    def __init__(self, timed: Collection[str], model: str, reference: ReferenceSet) -> None:
        self._timed, self._model, self._reference = timed, model, reference
        self._zone = ZoneInfo(AIRPORTS_ZONE)
        self._waiting: dict[str, list[FeatureBatch]] = defaultdict(list)
        self.figures = LogFigures()

    def walk(self, items: LogItems) -> LogFigures:
        """Collect the figures; damaged lines are for `samescore log verify` to report."""
        for item in items:
            if isinstance(item, LoggedRequest):
                self._take(item)
        for month, batches in self._waiting.items():
            self._count_features(month, batches)
        return self.figures

    def _take(self, request: LoggedRequest) -> None:
        if request.outcome is not Outcome.OK:
            self.figures.refusals[str(request.fields["message"])] += 1
            return
        model, month = request.model[0], self._month(request)
        scores = request.scores
        assert scores is not None
        self.figures.scores.setdefault(model, {}).setdefault(month, []).append(scores)
        for snapshot in request.snapshots.values():
            self.figures.snapshot_rows[snapshot] += request.rows
            if request.rows == 1:
                asked = self.figures.asked.setdefault((model, request.payload.body), Asked())
                asked.by_snapshot[snapshot] = float(scores[0])
        if request.request_id in self._timed:
            self._take_latency(model, request)
        if model == self._model:
            self._take_features(month, request)

    def _take_latency(self, model: str, request: LoggedRequest) -> None:
        stages = self.figures.latency_ns.setdefault(model, {s: [] for s in STAGES})
        for stage, times in stages.items():
            times.append(request.fields["latency"][f"{stage}_ns"])

    def _take_features(self, month: str, request: LoggedRequest) -> None:
        self.figures.payloads.append(request.payload.body)
        features = request.features
        assert features is not None
        waiting = self._waiting[month]
        waiting.append(features)
        if len(waiting) >= _CHUNK_REQUESTS:
            self._count_features(month, waiting)
            waiting.clear()

    def _count_features(self, month: str, batches: Sequence[FeatureBatch]) -> None:
        if not batches:
            return
        parts = [batch.columns() for batch in batches]
        columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        found = self._reference.counts(columns)
        held = self.figures.feature_counts.setdefault(month, {})
        for name, counts in found.items():
            held[name] = held[name] + counts if name in held else counts

    def _month(self, request: LoggedRequest) -> str:
        micros = request.fields["event_time_us"] or request.fields["ingest_time_us"]
        moment = datetime.fromtimestamp(micros / 1e6, UTC).astimezone(self._zone)
        return f"{moment:%Y-%m}"


def score_psi(
    reference: ReferenceSet, by_month: Mapping[str, Iterable[Floats]]
) -> dict[str, float]:
    """Return the population stability index of the scores of each month.

    Args:
        reference: of the bundle.
        by_month: scores of each month, at least one row.
    """
    frozen = reference.scores[0]
    return {
        month: population_stability_index(
            frozen.training_counts, frozen.counts(np.concatenate(list(parts)))
        )
        for month, parts in sorted(by_month.items())
    }


def feature_psi(
    reference: ReferenceSet, by_month: Mapping[str, Mapping[str, Counts]]
) -> dict[str, dict[str, float]]:
    """Return the index of each feature and month, the feature that moved furthest first."""
    found = {
        name: {
            month: population_stability_index(frozen.training_counts, counts[name])
            for month, counts in sorted(by_month.items())
        }
        for name, frozen in reference.features.items()
    }
    return dict(sorted(found.items(), key=lambda item: -max(item[1].values(), default=0.0)))
