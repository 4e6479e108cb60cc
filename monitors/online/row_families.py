"""Turns what was counted in scored rows into the catalogue's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family

from monitors import metrics
from monitors.metrics import ScoreAnomaly
from monitors.online.exposition import counter_family, gauge_family
from monitors.online.row_counts import RowCounts
from monitors.online.row_layout import RowLayout
from monitors.online.window import Tally
from monitors.psi import population_stability_index
from monitors.reference import Counts, NumericReference, Reference, ReferenceSet

ModelVersion: TypeAlias = tuple[str, int]

FEWEST_CONSTANT: Final = 100
"""Rows before equal scores are called constant; fewer, if a stability index needs fewer."""


@dataclass(slots=True)
class Watched:
    """The sliding window of one version, over all workers.

    Attributes:
        layout: of the rows; None before the first.
        counts: what the window holds.
    """

    layout: RowLayout | None = None
    counts: RowCounts | None = None

    def add(self, layout: RowLayout, counts: RowCounts) -> None:
        """Add one worker's window; one version has one layout."""
        if self.layout is None or self.counts is None:
            self.layout, self.counts = layout, counts
        elif layout.buckets == self.layout.buckets and layout.outputs == self.layout.outputs:
            self.counts = self.counts + counts

    @property
    def rows(self) -> int:
        """Rows in the window."""
        return 0 if self.counts is None else self.counts.rows

    def constant(self, fewest: int) -> bool:
        """Tell whether the scores of at least so many rows are one and the same number."""
        return self.counts is not None and self.rows >= fewest and self.counts.constant

    def indices(self) -> Iterator[tuple[str | None, float]]:
        """Yield the stability index of each feature by its name, and of each output under None."""
        if self.layout is None or self.counts is None:
            return
        names = [*(f.name for f in self.layout.features), *[None] * self.layout.outputs]
        slices = zip(names, self.layout.judged, self.layout.bucket_slices, strict=True)
        for name, reference, where in slices:
            if reference is None or where is None or not reference.training_counts.any():
                continue
            current = self.counts.buckets[where]
            yield name, population_stability_index(reference.training_counts, current)


@dataclass(slots=True)
class _Total:
    """Counters of one version: since the server started, over all workers."""

    anomalies: Counts = field(default_factory=lambda: np.zeros(3, np.int64))
    features: dict[str, Counts] = field(default_factory=dict)
    ranged: set[str] = field(default_factory=set)

    def know(self, name: str, reference: Reference | None) -> Counts:
        """Let the counters of a feature begin at 0; only a known number has a range to leave."""
        if isinstance(reference, NumericReference):
            self.ranged.add(name)
        return self.features.setdefault(name, np.zeros(3, np.int64))


class RowFamilies:
    """The families of one scrape.

    Args:
        min_rows: in the window before a stability index is given.
    """

    def __init__(self, min_rows: int) -> None:
        self._min_rows = min_rows
        self._totals: dict[ModelVersion, _Total] = {}
        self._rows = gauge_family(metrics.WINDOW_ROWS)
        self._constant = gauge_family(metrics.SCORES_CONSTANT)
        self._score_psi = gauge_family(metrics.SCORE_PSI)
        self._feature_psi = gauge_family(metrics.FEATURE_PSI)
        self._trained_missing = gauge_family(metrics.FEATURE_REFERENCE_MISSING)

    def begin(
        self, key: ModelVersion, features: tuple[str, ...], references: ReferenceSet | None
    ) -> None:
        """Let an available version's counters begin at 0, and say what its training sample held."""
        total = self._totals.setdefault(key, _Total())
        known = {} if references is None else references.features
        for name in features:
            total.know(name, known.get(name))
        for name, reference in known.items():
            trained = int(reference.training_counts.sum())
            if trained:
                ratio = int(reference.training_counts[-1]) / trained
                self._trained_missing.add_metric([*_labels(key), name], ratio)

    def count(self, key: ModelVersion, layout: RowLayout, tally: Tally) -> None:
        """Add what one worker has counted since the start."""
        total = self._totals.setdefault(key, _Total())
        total.anomalies += tally.anomalies
        judged = layout.judged[: len(layout.features)]
        for i, (feature, reference) in enumerate(zip(layout.features, judged, strict=True)):
            total.know(feature.name, reference)[:] += tally.flags[:, i]

    def judge(self, key: ModelVersion, watched: Watched) -> None:
        """Add the gauges of an available version's window."""
        labels = _labels(key)
        fewest = min(FEWEST_CONSTANT, self._min_rows)
        self._rows.add_metric(labels, watched.rows)
        self._constant.add_metric(labels, float(watched.constant(fewest)))
        if watched.rows >= self._min_rows:
            self._add_indices(labels, watched)

    def _add_indices(self, labels: list[str], watched: Watched) -> None:
        scores: list[float] = []
        for name, index in watched.indices():
            if name is None:
                scores.append(index)
            else:
                self._feature_psi.add_metric([*labels, name], index)
        if scores:  # of several outputs the one that moved most
            self._score_psi.add_metric(labels, max(scores))

    def families(self) -> Iterator[Family]:
        """Yield all families."""
        yield from self._counters()
        gauges: tuple[GaugeMetricFamily, ...] = (
            self._trained_missing,
            self._constant,
            self._score_psi,
            self._feature_psi,
            self._rows,
        )
        yield from gauges

    def _counters(self) -> Iterator[Family]:
        anomalies = counter_family(metrics.SCORE_ANOMALIES)
        missing, unseen, outside = (
            counter_family(m)
            for m in (
                metrics.FEATURE_MISSING,
                metrics.FEATURE_UNSEEN,
                metrics.FEATURE_OUT_OF_RANGE,
            )
        )
        for key, total in self._totals.items():
            for kind, number in zip(ScoreAnomaly, total.anomalies.tolist(), strict=True):
                anomalies.add_metric([*_labels(key), kind], number)
            for name, flags in total.features.items():
                labels = [*_labels(key), name]
                missing.add_metric(labels, int(flags[0]))
                unseen.add_metric(labels, int(flags[1]))
                if name in total.ranged:
                    outside.add_metric(labels, int(flags[2]))
        yield from (anomalies, missing, unseen, outside)


def _labels(key: ModelVersion) -> list[str]:
    return [key[0], str(key[1])]
