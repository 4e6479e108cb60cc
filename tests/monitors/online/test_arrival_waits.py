"""Waits of arrivals: exact bounds, and all workers together."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram

from monitors.metrics import ARRIVAL_WAIT
from monitors.online.arrival_waits import ArrivalWaits
from monitors.online.cells import CellStore

WAITS = (0.0, 0.0025, 0.0026, 0.1, 0.1000001, 4.0, 60.0)


def samples(waits: ArrivalWaits) -> dict[tuple[str, str], float]:
    (family,) = waits.collect()
    return {(s.name, s.labels.get("le", "")): s.value for s in family.samples}


def test_the_histogram_is_that_of_prometheus_client(tmp_path: Path) -> None:
    waits = ArrivalWaits(CellStore(tmp_path))
    registry = CollectorRegistry()
    peer = Histogram(ARRIVAL_WAIT.name, "-", buckets=ARRIVAL_WAIT.buckets, registry=registry)
    assert set(samples(waits).values()) == {0}, "they begin at 0"
    for seconds in WAITS:
        waits.waited(seconds)
        peer.observe(seconds)
    found = samples(waits)
    for (name, le), value in found.items():
        expected = registry.get_sample_value(name, {"le": le} if le else {})
        assert expected is not None
        assert abs(value - expected) < 1e-9, (name, le)


def test_workers_are_added_up(tmp_path: Path) -> None:
    workers = [ArrivalWaits(CellStore(tmp_path, slot)) for slot in (0, 1)]
    for worker in workers:
        worker.waited(0.5)
    for worker in workers:
        assert samples(worker)[f"{ARRIVAL_WAIT.name}_count", ""] == 2
        assert samples(worker)[f"{ARRIVAL_WAIT.name}_sum", ""] == 1.0
