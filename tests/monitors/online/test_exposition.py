"""The page of metrics: the catalogue, all of it, as Prometheus reads it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from consistency.scored import GateState, ServableInfo
from monitors.metrics import (
    BACKEND_ATTEMPTS,
    BACKEND_EJECTIONS,
    BACKEND_NO_ROOM,
    BACKEND_RETRIES,
    CATALOGUE,
    SUITE_VIOLATIONS,
    Metric,
    MetricKind,
)
from monitors.online.arrival_waits import ArrivalWaits
from monitors.online.backend_health import BackendHealth
from monitors.online.cells import CellStore
from monitors.online.counters import EventCounters
from monitors.online.exposition import Collectors, exposition
from monitors.online.latency import RequestMetrics
from monitors.online.observer import RowMonitor
from monitors.online.server_facts import ServerFacts, VersionFacts
from monitors.online.window import WindowSettings
from monitors.reference import ReferenceSet
from tests.fixtures.scored import INFO, make_request


@pytest.fixture
def available() -> list[ServableInfo]:
    return [INFO]


@pytest.fixture
def collectors(tmp_path: Path, available: list[ServableInfo]) -> Collectors:
    """All that a server has, after one request."""
    store = CellStore(tmp_path)
    requests = RequestMetrics(store, servables=lambda: available)
    rows = RowMonitor(store, window=WindowSettings(min_rows=1), servables=lambda: available)
    reference = ReferenceSet.build({"x": np.arange(10.0)}, np.linspace(0, 1, 10))
    rows.prepare(INFO, ("x",), reference.to_bytes())
    counters = EventCounters(store, [requests.name, rows.name])
    counters.declare(SUITE_VIOLATIONS, [("m", "x/not_null", "reject")])
    for observer in (requests, rows):
        observer.observe(make_request())
    backends = BackendHealth(store)
    backends.declare(["grpc://a:8500"])
    for metric in (BACKEND_EJECTIONS, BACKEND_RETRIES):
        counters.declare(metric, [("grpc://a:8500",)])
    counters.declare(BACKEND_ATTEMPTS, [("grpc://a:8500", "ok")])
    counters.declare(BACKEND_NO_ROOM, [()])
    facts = ServerFacts(
        store,
        version="0.1.0",
        servables=lambda: available,
        versions=lambda: VersionFacts((("m", 1, 1.7e9),), (("m", 2),)),
    )
    return Collectors([requests, rows, counters, backends, ArrivalWaits(store), facts])


def test_the_page_holds_the_catalogue_and_nothing_else(collectors: Collectors) -> None:
    body, content_type = exposition(collectors)
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(body.decode())}
    by_family = {_family(metric): metric for metric in CATALOGUE}
    assert families.keys() == by_family.keys()
    for name, family in families.items():
        assert family.documentation == by_family[name].help
        assert family.samples, name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(by_family[name].labels)
            assert math.isfinite(sample.value)


def test_a_scraper_that_asks_for_openmetrics_gets_it(collectors: Collectors) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
    body, content_type = exposition(collectors, accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {f.name: f.type for f in openmetrics_families(body.decode())}
    assert families["samescore_build"] == "info"
    assert families["samescore_stage_latency_seconds"] == "histogram"


def test_request_ids_are_for_those_who_ask_for_openmetrics(collectors: Collectors) -> None:
    """The older text format has no place for them: a scraper would refuse the page."""
    body, _ = exposition(collectors, "application/openmetrics-text;version=1.0.0")
    found = {
        (f.name, s.labels["stage"], s.labels["le"]): s.exemplar
        for f in openmetrics_families(body.decode())
        for s in f.samples
        if s.exemplar
    }
    # 21 ns in all, so the first bucket; it came 1767225600 s after the epoch
    total = found["samescore_stage_latency_seconds", "total", "1e-05"]
    assert total.labels == {"request_id": "r-1"}
    assert total.value == 2.1e-8
    assert float(total.timestamp) == 1767225600.0
    assert len(found) == 7, "one a stage"
    assert "r-1" not in exposition(collectors)[0].decode()


def test_the_gate_shows_what_is_available_now(
    collectors: Collectors, available: list[ServableInfo]
) -> None:
    gate = 'samescore_servable_gate_info{decimals="10",gate="verified",model="m",version="1"} 1.0'
    assert gate in exposition(collectors)[0].decode()
    assert GateState.VERIFIED in gate
    available.clear()
    assert gate not in exposition(collectors)[0].decode()


def test_versions_show_when_they_were_made_and_which_did_not_load(collectors: Collectors) -> None:
    page = exposition(collectors)[0].decode()
    assert 'samescore_servable_created_timestamp_seconds{model="m",version="1"} 1.7e+09' in page
    assert 'samescore_version_load_failed{model="m",version="2"} 1.0' in page


def _family(metric: Metric) -> str:
    """Return the name that a parser gives the family of a metric."""
    return metric.name.removesuffix("_total") if metric.kind is MetricKind.COUNTER else metric.name
