"""Request metrics: exact counts, exact bucket bounds."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from consistency.protocols import Observer
from consistency.scored import (
    STAGES,
    GateState,
    Outcome,
    Payload,
    ScoredRequest,
    ServableInfo,
    StageLatency,
)
from monitors import metrics
from monitors.metrics import LATENCY_BUCKETS_SECONDS
from monitors.online.cells import CellStore
from monitors.online.latency import RequestMetrics

INFO = ServableInfo(
    name="xgboost",
    version=3,
    gate=GateState.VERIFIED,
    bundle_digest="b" * 64,
    pipeline_digest="p" * 64,
    backend="in_process/xgboost 3.2.0",
    device="cpu",
    dtype="float32",
    execution="as_is",
    threads=1,
    cpu_digest="c" * 64,
)
OK = {"model": "xgboost", "version": "3", "outcome": "ok"}


def scored(
    *, rows: int = 1, outcome: Outcome = Outcome.OK, info: ServableInfo = INFO, **times_ns: int
) -> ScoredRequest:
    return ScoredRequest(
        request_id="r-1",
        servable=info,
        label=None,
        payload=Payload(b"{}", "tione/1", "application/json"),
        rows=rows,
        ingest_time_us=0,
        event_time_us=None,
        features=None,
        outputs=None,
        scores=None,
        batch_rows=rows,
        batch_position=0,
        latency=StageLatency(**times_ns),
        outcome=outcome,
    )


class Page:
    """Requests of one worker, and what a scrape says of them."""

    def __init__(self, folder: Path, *available: ServableInfo, slot: int = 0) -> None:
        store = CellStore(folder, slot)
        self.metrics = RequestMetrics(store, servables=lambda: available)
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path, INFO)


def test_it_is_an_observer(page: Page) -> None:
    observer: Observer = page.metrics
    assert observer.name == "request_metrics"


def test_requests_and_rows_are_counted_apart_by_outcome(page: Page) -> None:
    for rows in (1, 64, 7):
        page.metrics.observe(scored(rows=rows))
    page.metrics.observe(scored(rows=5, outcome=Outcome.DATA_ERROR))
    assert page.value("samescore_requests_total", **OK) == 3
    assert page.value("samescore_rows_total", **OK) == 72
    refused = {**OK, "outcome": "data_error"}
    assert page.value("samescore_requests_total", **refused) == 1
    assert page.value("samescore_rows_total", **refused) == 5


def test_versions_are_counted_apart(page: Page) -> None:
    page.metrics.observe(scored(info=replace(INFO, version=4)))
    assert page.value("samescore_requests_total", **OK) == 0
    assert page.value("samescore_requests_total", **{**OK, "version": "4"}) == 1


def test_every_label_set_of_an_available_servable_begins_at_zero(page: Page) -> None:
    for outcome in Outcome:
        labels = {**OK, "outcome": outcome.value}
        assert page.value("samescore_requests_total", **labels) == 0
        assert page.value("samescore_rows_total", **labels) == 0
    for stage in STAGES:
        labels = {"model": "xgboost", "version": "3", "stage": stage}
        assert page.value("samescore_stage_latency_seconds_count", **labels) == 0


@given(
    st.lists(
        st.one_of(
            st.integers(1, 10**10),
            st.sampled_from([round(b * 1e9) + d for b in LATENCY_BUCKETS_SECONDS for d in (0, 1)]),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_the_histogram_is_that_of_prometheus_client(
    tmp_path_factory: pytest.TempPathFactory, times_ns: list[int]
) -> None:
    page = Page(tmp_path_factory.mktemp("cells"), INFO)
    registry = CollectorRegistry()
    peer = Histogram("peer", "-", buckets=LATENCY_BUCKETS_SECONDS, registry=registry)
    for time_ns in times_ns:
        page.metrics.observe(scored(backend_ns=time_ns))
        peer.observe(time_ns / 1e9)
    labels = {"model": "xgboost", "version": "3", "stage": "backend"}
    name = "samescore_stage_latency_seconds"
    for bound in [*map(repr, LATENCY_BUCKETS_SECONDS), "+Inf"]:
        expected = registry.get_sample_value("peer_bucket", {"le": bound})
        assert page.value(f"{name}_bucket", **labels, le=bound) == expected
    assert page.value(f"{name}_count", **labels) == len(times_ns)
    total = page.value(f"{name}_sum", **labels)
    assert total is not None
    assert math.isclose(total, sum(times_ns) / 1e9, rel_tol=1e-15)


def test_each_time_goes_to_its_own_stage(page: Page) -> None:
    times = {f"{stage}_ns": 1_000_000 * (i + 1) for i, stage in enumerate(STAGES)}
    page.metrics.observe(scored(**times))
    sums = [
        page.value("samescore_stage_latency_seconds_sum", model="xgboost", version="3", stage=stage)
        for stage in STAGES
    ]
    assert sums == [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007]


def test_a_stage_that_did_not_run_is_not_counted(page: Page) -> None:
    page.metrics.observe(scored(outcome=Outcome.DATA_ERROR, decode_ns=20_000, total_ns=30_000))
    counts = {
        stage: page.value(
            "samescore_stage_latency_seconds_count", model="xgboost", version="3", stage=stage
        )
        for stage in STAGES
    }
    assert {stage for stage, count in counts.items() if count} == {"decode", "total"}


def test_counters_of_a_version_that_went_away_stay(tmp_path: Path) -> None:
    page = Page(tmp_path)
    page.metrics.observe(scored())
    assert page.value("samescore_requests_total", **OK) == 1


def test_two_workers_are_added_up_whichever_is_scraped(tmp_path: Path) -> None:
    pages = [Page(tmp_path, INFO, slot=slot) for slot in range(2)]
    pages[0].metrics.observe(scored(rows=3, total_ns=1_000))
    pages[1].metrics.observe(scored(rows=4, total_ns=2_000))
    for page in pages:
        assert page.value("samescore_requests_total", **OK) == 2
        assert page.value("samescore_rows_total", **OK) == 7
        labels = {"model": "xgboost", "version": "3", "stage": "total"}
        assert page.value("samescore_stage_latency_seconds_sum", **labels) == 3e-6


def test_the_worker_that_takes_a_slot_goes_on_counting(tmp_path: Path) -> None:
    dead = CellStore(tmp_path)
    killed = RequestMetrics(dead)
    for _ in range(700):
        killed.observe(scored(rows=2, backend_ns=20_000))
    dead.close()  # what the kernel does with its lock; nothing else is done at the end
    page = Page(tmp_path, INFO)
    assert page.value("samescore_requests_total", **OK) == 700
    page.metrics.observe(scored())
    assert page.value("samescore_requests_total", **OK) == 701
    assert page.value("samescore_rows_total", **OK) == 1_401


def test_threads_lose_no_request(page: Page) -> None:
    def observe_many() -> None:
        for _ in range(2_000):
            page.metrics.observe(scored(rows=3, total_ns=1_000))

    threads = [threading.Thread(target=observe_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        _assert_one_scrape_is_whole(page)
    for thread in threads:
        thread.join()
    assert page.value("samescore_requests_total", **OK) == 8_000
    assert page.value("samescore_rows_total", **OK) == 24_000


def _assert_one_scrape_is_whole(page: Page) -> None:
    samples = {
        (s.name, s.labels.get("stage") or s.labels.get("outcome")): s.value
        for family in page.metrics.collect()
        for s in family.samples
        if not s.name.endswith("_bucket")
    }
    requests = samples[metrics.REQUESTS.name, "ok"]
    assert samples[metrics.ROWS.name, "ok"] == 3 * requests
    assert samples[f"{metrics.STAGE_LATENCY.name}_count", "total"] == requests
