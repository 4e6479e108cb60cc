"""Request metrics: exact counts, exact bucket bounds, a page that Prometheus can read."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

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
from monitors.latency import RequestMetrics, exposition
from monitors.metrics import CATALOGUE, LATENCY_BUCKETS_SECONDS, Metric, MetricKind, Rejection

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
    """A metrics page with its registry, as a server has one."""

    def __init__(self, *available: ServableInfo) -> None:
        self.metrics = RequestMetrics(version="0.1.0", servables=lambda: available)
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def page() -> Page:
    return Page(INFO)


def test_it_is_an_observer() -> None:
    observer: Observer = RequestMetrics(version="0.1.0")
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
    for reason in Rejection:
        assert page.value("samescore_http_rejections_total", reason=reason.value) == 0
    assert page.value("samescore_log_drops_total") == 0


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
def test_the_histogram_is_that_of_prometheus_client(times_ns: list[int]) -> None:
    page = Page(INFO)
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


def test_the_servings_own_counters(page: Page) -> None:
    page.metrics.rejected("too_large")
    page.metrics.rejected("a reason nobody declared")
    page.metrics.observer_failed("feature_drift")
    page.metrics.observer_failed("feature_drift")
    page.metrics.log_dropped()
    assert page.value("samescore_http_rejections_total", reason="too_large") == 1
    assert page.value("samescore_http_rejections_total", reason="other") == 1
    assert page.value("samescore_observer_failures_total", observer="feature_drift") == 2
    assert page.value("samescore_log_drops_total") == 1


def test_the_gate_shows_what_is_available_now_and_counters_stay() -> None:
    available = [replace(INFO, gate=GateState.UNVERIFIED)]
    request_metrics = RequestMetrics(version="0.1.0", servables=lambda: available)
    registry = CollectorRegistry()
    registry.register(request_metrics)
    request_metrics.observe(scored())
    gate = {"model": "xgboost", "version": "3", "gate": "unverified", "decimals": "10"}
    assert registry.get_sample_value("samescore_servable_gate_info", gate) == 1
    available.clear()
    assert registry.get_sample_value("samescore_servable_gate_info", gate) is None
    assert registry.get_sample_value("samescore_requests_total", OK) == 1


def test_the_page_holds_the_catalogue_and_nothing_else(page: Page) -> None:
    page.metrics.observe(scored(total_ns=300_000))
    page.metrics.observer_failed("feature_drift")
    body, content_type = exposition(page.registry)
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(body.decode())}
    by_family = {_family(metric): metric for metric in CATALOGUE}
    assert families.keys() == by_family.keys()
    for name, family in families.items():
        assert family.documentation == by_family[name].help
        assert family.samples
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(by_family[name].labels)
            assert math.isfinite(sample.value)


def test_a_scraper_that_asks_for_openmetrics_gets_it(page: Page) -> None:
    page.metrics.observe(scored(total_ns=300_000))
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
    body, content_type = exposition(page.registry, accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {f.name: f.type for f in openmetrics_families(body.decode())}
    assert families["samescore_build"] == "info"
    assert families["samescore_stage_latency_seconds"] == "histogram"


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


def _family(metric: Metric) -> str:
    """Return the name that a parser gives the family of a metric."""
    return metric.name.removesuffix("_total") if metric.kind is MetricKind.COUNTER else metric.name
