"""Counters of events: bounded labels, exact over threads and workers."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from monitors.metrics import HTTP_REJECTIONS, SUITE_VIOLATIONS, Rejection
from monitors.online.cells import CellStore
from monitors.online.counters import EventCounters

RULE = ("m", "distance/between", "flag")


def value(counters: EventCounters, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(counters)
    return registry.get_sample_value(name, labels)


def test_every_known_label_begins_at_zero(tmp_path: Path) -> None:
    counters = EventCounters(CellStore(tmp_path), ["row_monitor"])
    for reason in Rejection:
        assert value(counters, "samescore_http_rejections_total", reason=reason.value) == 0
    assert value(counters, "samescore_log_drops_total") == 0
    assert value(counters, "samescore_observer_failures_total", observer="row_monitor") == 0


def test_events_are_counted_and_an_unknown_reason_is_other(tmp_path: Path) -> None:
    counters = EventCounters(CellStore(tmp_path))
    counters.rejected("too_large")
    counters.rejected("a reason nobody declared")
    counters.observer_failed("row_monitor")
    counters.observer_failed("row_monitor")
    counters.log_dropped()
    assert value(counters, "samescore_http_rejections_total", reason="too_large") == 1
    assert value(counters, "samescore_http_rejections_total", reason="other") == 1
    assert value(counters, "samescore_observer_failures_total", observer="row_monitor") == 2
    assert value(counters, "samescore_log_drops_total") == 1


def test_workers_and_their_successors_are_added_up(tmp_path: Path) -> None:
    stores = [CellStore(tmp_path, slot) for slot in range(2)]
    first, second = (EventCounters(store) for store in stores)
    for counters in (first, second):
        counters.declare(SUITE_VIOLATIONS, [RULE])
    labels = dict(zip(SUITE_VIOLATIONS.labels, RULE, strict=True))
    assert value(first, SUITE_VIOLATIONS.name, **labels) == 0
    first.add(SUITE_VIOLATIONS, RULE, 3)
    second.add(SUITE_VIOLATIONS, RULE)
    stores[1].close()
    successor = EventCounters(CellStore(tmp_path, 1))
    successor.add(SUITE_VIOLATIONS, RULE)  # declared in another order than its predecessor did
    for counters in (first, successor):
        assert value(counters, SUITE_VIOLATIONS.name, **labels) == 5


def test_threads_lose_no_event(tmp_path: Path) -> None:
    counters = EventCounters(CellStore(tmp_path))

    def count_many() -> None:
        for _ in range(5_000):
            counters.log_dropped()

    threads = [threading.Thread(target=count_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(counters, "samescore_log_drops_total") == 20_000


def test_a_full_disk_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counters = EventCounters(CellStore(tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counters.observer_failed("another")
    counters.add(HTTP_REJECTIONS, (Rejection.TOO_LARGE,))
    assert value(counters, "samescore_http_rejections_total", reason="too_large") == 1
    assert "is not counted: [Errno 28]" in caplog.text
