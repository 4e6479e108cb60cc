"""What all online monitors together cost a request, beside bare `prometheus_client` objects."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import Workload, say
from consistency.features import FeatureBatch, FeatureStatus
from consistency.schema import FeatureSchema
from consistency.scored import (
    STAGES,
    GateState,
    Payload,
    ScoredRequest,
    ServableInfo,
    StageLatency,
)
from monitors.metrics import LATENCY_BUCKETS_SECONDS
from monitors.online.blocks import BLOCK
from monitors.online.cells import CellStore
from monitors.online.latency import RequestMetrics
from monitors.online.observer import RowMonitor
from monitors.reference import NumericReference, ReferenceSet

FEATURES: Final = 50
MARKED: Final = 8
"""Features with a status beside each value, as lookups and gaps make them."""

_INFO: Final = ServableInfo(
    name="monitored",
    version=1,
    gate=GateState.VERIFIED,
    bundle_digest="",
    pipeline_digest="",
    backend="none",
    device="cpu",
    dtype="float64",
    execution="as_is",
    threads=1,
    cpu_digest="",
)
_NAMES: Final = tuple(f"f{i}" for i in range(FEATURES))

Observe = Callable[[ScoredRequest], None]


def measure(workload: Workload) -> Iterator[Result]:
    """Show the same single-row requests to both, block by block."""
    # Whole blocks: what counting a block costs is shared by its rows.
    size = 4 * BLOCK
    say(f"monitors: {size} requests of {FEATURES} features a round")
    rng = np.random.default_rng(20240702)
    trained = {name: rng.normal(size=10_000) for name in _NAMES}
    references = ReferenceSet.build(trained, rng.random(10_000))
    requests = [_request(rng, number) for number in range(size)]
    contestants = (_ours(workload, references), _peer(references))
    taken: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.freeze()
    for turn in range(workload.effort.rounds + 1):
        for observe, rounds in zip(contestants, taken, strict=True):
            mean_us = _mean_us(observe, requests)
            if turn:  # the first turn warms up
                rounds.append(mean_us)
    gc.unfreeze()
    ours, theirs = map(statistics.median, taken)
    peer = f"prometheus_client, a histogram a feature, {theirs:.1f} µs"
    yield measured("monitors.online_mean_us", taken[0], peer=peer, ratio=ours / theirs)


def _mean_us(observe: Observe, requests: Sequence[ScoredRequest]) -> float:
    start = perf_counter_ns()
    for request in requests:
        observe(request)
    return (perf_counter_ns() - start) / len(requests) / 1e3


def _request(rng: np.random.Generator, number: int) -> ScoredRequest:
    row = np.asfortranarray(rng.normal(size=(1, FEATURES)))
    status = {name: np.zeros(1, np.uint8) for name in _NAMES[:MARKED]}
    if rng.random() < 0.1:
        row[0, 0], status[_NAMES[0]][0] = np.nan, FeatureStatus.NULL
    times = rng.integers(1_000, 300_000, len(STAGES)).tolist()
    return ScoredRequest(
        request_id=f"19b7f0a1c00-1a2b3c4d-{number:x}",  # of the data plane's form and length
        servable=_INFO,
        label=None,
        payload=Payload(b"", "tione/1", "application/json"),
        rows=1,
        ingest_time_us=1_767_225_600_000_000 + number,
        event_time_us=None,
        features=FeatureBatch(FeatureSchema.float64(_NAMES), 1, row, {}, status),
        outputs=None,
        scores=rng.random(1),
        batch_rows=1,
        batch_position=0,
        latency=StageLatency(*times),
    )


def _ours(workload: Workload, references: ReferenceSet) -> Observe:
    store = CellStore(workload.scratch / "cells")
    rows = RowMonitor(store)
    rows.prepare(_INFO, _NAMES, references.to_bytes())
    observers = (RequestMetrics(store), rows)

    def observe(request: ScoredRequest) -> None:
        for observer in observers:
            observer.observe(request)

    return observe


def _peer(references: ReferenceSet) -> Observe:
    """Return the usual way: a cached child for each label set, a histogram for each distribution.

    It has no window, and its counts die with their process.
    """
    registry = CollectorRegistry()
    requests, rows = (
        Counter(name, "-", ["outcome"], registry=registry).labels("ok") for name in ("a", "b")
    )
    latency = Histogram("c", "-", ["stage"], buckets=LATENCY_BUCKETS_SECONDS, registry=registry)
    stages = [(f"{stage}_ns", latency.labels(stage)) for stage in STAGES]
    missing = Counter("d", "-", ["feature"], registry=registry)
    missings = {name: missing.labels(name) for name in _NAMES}
    features = []
    for name, reference in references.features.items():
        assert isinstance(reference, NumericReference)
        features.append(Histogram(name, "-", buckets=reference.edges.tolist(), registry=registry))
    score = Histogram("e", "-", buckets=references.scores[0].edges.tolist(), registry=registry)

    def observe(request: ScoredRequest) -> None:
        assert request.features is not None
        assert request.scores is not None
        requests.inc()
        rows.inc(request.rows)
        for field, stage in stages:
            stage.observe(getattr(request.latency, field) / 1e9)
        for histogram, value in zip(features, request.features.numeric[0].tolist(), strict=True):
            histogram.observe(value)
        for name, codes in request.features.status.items():
            if codes.item():
                missings[name].inc()
        score.observe(request.scores.item())

    return observe
