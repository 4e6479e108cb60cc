"""The last request of each bucket and outcome, whichever worker had it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.samples import Exemplar, Timestamp

from consistency.scored import Outcome, ScoredRequest, ServableInfo, StageLatency
from monitors.metrics import LATENCY_BUCKETS_SECONDS, REQUESTS, STAGE_LATENCY
from monitors.online.blocks import BLOCK
from monitors.online.cells import CellStore
from monitors.online.exemplars import ID_BYTES, LABEL
from monitors.online.latency import RequestMetrics
from tests.fixtures.scored import INFO, make_request

CAME_US = 1_767_225_600_000_000
MS = 1_000_000


def request(number: int, *, outcome: Outcome = Outcome.OK, **times_ns: int) -> ScoredRequest:
    latency = StageLatency(**{"total_ns": 2 * MS, **times_ns})
    made = make_request(f"19b7f0a1c00-1a2b3c4d-{number:x}", latency=latency, outcome=outcome)
    return replace(made, ingest_time_us=CAME_US + 1_000 * number)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[RequestMetrics]:
    store = CellStore(tmp_path)
    yield RequestMetrics(store, servables=lambda: [INFO])
    store.close()


def found(watching: RequestMetrics) -> dict[tuple[str, str, str], Exemplar]:
    """Return the exemplars by series: metric, stage or outcome, and bucket."""
    return {
        (f.name, s.labels.get("stage") or s.labels["outcome"], s.labels.get("le", "")): s.exemplar
        for f in watching.collect()
        for s in f.samples
        if s.exemplar is not None
    }


def of_total(watching: RequestMetrics, le: str) -> Exemplar:
    return found(watching)[STAGE_LATENCY.name, "total", le]


def test_nothing_is_shown_before_there_was_a_request(watching: RequestMetrics) -> None:
    assert found(watching) == {}


def test_each_bucket_shows_its_last_request(watching: RequestMetrics) -> None:
    for number, total_ms in enumerate((2, 300, 2, 400, 2), 1):
        watching.observe(request(number, total_ns=total_ms * MS))
    quick = of_total(watching, "0.0025")
    assert quick.labels == {LABEL: "19b7f0a1c00-1a2b3c4d-5"}
    assert quick.value == 0.002
    # it ended 2 ms after it came
    assert quick.timestamp == Timestamp(CAME_US // 10**6, 7_000_000)
    assert of_total(watching, "0.3").labels == {LABEL: "19b7f0a1c00-1a2b3c4d-2"}
    assert of_total(watching, "0.4").labels == {LABEL: "19b7f0a1c00-1a2b3c4d-4"}
    assert (STAGE_LATENCY.name, "backend", "1e-05") not in found(watching), "it did not run"


def test_a_value_lies_in_its_bucket(watching: RequestMetrics) -> None:
    edges = [round(b * 1e9) + d for b in LATENCY_BUCKETS_SECONDS for d in (0, 1)]
    for number, total_ns in enumerate(edges):
        watching.observe(request(number, total_ns=total_ns))
    bounds = [0.0, *LATENCY_BUCKETS_SECONDS, float("inf")]
    shown = {le: e.value for (_, stage, le), e in found(watching).items() if stage == "total"}
    assert len(shown) == len(bounds) - 1
    for le, value in shown.items():
        at = bounds.index(float(le))
        assert bounds[at - 1] < value <= bounds[at]


def test_a_stage_leads_to_the_request_that_was_slow_in_it(watching: RequestMetrics) -> None:
    watching.observe(request(1, features_ns=90 * MS, total_ns=100 * MS))
    watching.observe(request(2, backend_ns=90 * MS, total_ns=100 * MS))
    shown = found(watching)
    assert shown[STAGE_LATENCY.name, "features", "0.1"].labels[LABEL].endswith("-1")
    assert shown[STAGE_LATENCY.name, "backend", "0.1"].labels[LABEL].endswith("-2")


def test_an_outcome_shows_its_last_request_unless_all_was_well(watching: RequestMetrics) -> None:
    for number, outcome in enumerate([*Outcome, *Outcome]):
        watching.observe(request(number, outcome=outcome))
    name = REQUESTS.name.removesuffix("_total")
    shown = {what: e for (family, what, _), e in found(watching).items() if family == name}
    assert set(shown) == set(Outcome) - {Outcome.OK}
    for place, outcome in enumerate(Outcome):
        if outcome is not Outcome.OK:
            number = len(Outcome) + place
            assert shown[outcome].labels == {LABEL: f"19b7f0a1c00-1a2b3c4d-{number:x}"}
            assert shown[outcome].value == 1.0


def test_a_counted_block_keeps_what_it_showed(watching: RequestMetrics) -> None:
    watching.observe(request(1, total_ns=300 * MS))
    for number in range(2, 2 * BLOCK):
        watching.observe(request(number))
    assert of_total(watching, "0.3").labels[LABEL].endswith("-1")
    assert of_total(watching, "0.0025").labels[LABEL].endswith(f"-{2 * BLOCK - 1:x}")


def test_the_newest_of_all_workers_is_shown_whichever_is_scraped(tmp_path: Path) -> None:
    stores = [CellStore(tmp_path, slot) for slot in range(2)]
    workers = [RequestMetrics(store) for store in stores]
    workers[0].observe(request(9))
    workers[1].observe(request(4))
    workers[1].observe(request(5, total_ns=300 * MS))
    stores[1].close()  # it died; its cells stay
    for worker in workers:
        assert of_total(worker, "0.0025").labels[LABEL].endswith("-9")
        assert of_total(worker, "0.3").labels[LABEL].endswith("-5")
    stores[0].close()


def test_ids_of_the_data_plane_are_kept_whole(tmp_path: Path) -> None:
    """Milliseconds since the epoch, 32 random bits, the number of the request; all in hex."""
    longest = f"{2**44:x}-{2**32 - 1:x}-{2**48:x}"
    assert len(longest) <= ID_BYTES
    store = CellStore(tmp_path)
    watching = RequestMetrics(store)
    watching.observe(replace(request(1), request_id=longest))
    assert of_total(watching, "0.0025").labels == {LABEL: longest}
    store.close()


def test_versions_have_their_own(watching: RequestMetrics) -> None:
    other: ServableInfo = replace(INFO, version=2)
    watching.observe(request(1))
    watching.observe(replace(request(2), servable=other))
    shown = {
        s.labels["version"]: s.exemplar.labels[LABEL]
        for f in watching.collect()
        for s in f.samples
        if s.exemplar is not None and s.labels.get("stage") == "total"
    }
    assert shown == {"1": "19b7f0a1c00-1a2b3c4d-1", "2": "19b7f0a1c00-1a2b3c4d-2"}
