from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.model_server.observing import metric_families
from serving.model_server.observing.metric_families import OVERFLOW, Counter, Histogram, exponential
from serving.model_server.observing.serving_metrics import ServingMetrics


def test_threads_lose_no_count() -> None:
    count, times = Counter("/c", ("name",)), Histogram("/h", ("name",), (1, 2))
    with ThreadPoolExecutor(8) as pool:
        for n in range(4000):
            pool.submit(count.add, f"m{n % 3}")
            pool.submit(times.observe, n % 4, "m")
    assert sum(count.cells().values()) == count.total() == 4000
    found = times.cells()["m",]
    assert found.counts == (1000, 1000, 2000)
    assert found.sum == 6000


def test_an_observation_at_a_limit_counts_above_it() -> None:
    times = Histogram("/h", (), (10, 18))
    for value in (9.9, 10, 17, 18, 1e12):
        times.observe(value)
    assert times.cells()[()].counts == (1, 2, 2)


def test_names_that_clients_make_up_take_no_more_than_so_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metric_families, "MOST_CELLS", 3)
    count, times = Counter("/c", ("name", "status")), Histogram("/h", ("name",), (1,))
    for n in range(10):
        count.add(f"m{n}", "OK")
        times.observe(0.5, f"m{n}")
    count.add("m1", "OK")
    assert count.cells() == {
        ("m0", "OK"): 1, ("m1", "OK"): 2, ("m2", "OK"): 1, (OVERFLOW, OVERFLOW): 7,
    }  # fmt: skip
    assert times.cells()[OVERFLOW,].counts == (7, 0)


def test_a_counter_is_found_by_either_spelling() -> None:
    metrics = ServingMetrics()
    metrics.request_count.add("half", "OK", by=2)
    metrics.request_count.add("half", "NOT_FOUND")
    assert metrics.counter_total("/tensorflow/serving/request_count") == 3
    assert metrics.counter_total(":tensorflow:serving:request_count") == 3
    assert metrics.counter_total("/tensorflow/serving/request_latency") == 0
    assert metrics.counter_total("no such") == 0


def test_upstreams_limits() -> None:
    limits = exponential(10, 1.8, 33)
    assert len(limits) == 33
    assert f"{limits[-1]:g}" == "1.47476e+09"
