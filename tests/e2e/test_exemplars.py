"""From a line on a board to the logged request: through two workers and a real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from consistency.scored import Outcome
from monitors.metrics import REQUESTS, STAGE_LATENCY
from tests.fixtures.cli import samescore
from tests.fixtures.prometheus import Running, prometheus
from tests.fixtures.server import serving
from tests.fixtures.tiny import PACKAGE, Tiny, record_body

pytestmark = pytest.mark.slow

WAIT_SECONDS = 40


def asked(watching: Running, query: str) -> list[dict[str, Any]]:
    """Return the exemplars that Prometheus holds for a query, as Grafana asks for them."""
    now = time.time()
    answer = watching.ask(
        "/api/v1/query_exemplars", query=query, start=f"{now - 3600}", end=f"{now + 60}"
    )
    series: list[dict[str, Any]] = answer["data"]
    return [exemplar for one in series for exemplar in one["exemplars"]]


def held(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Wait until Prometheus has scraped some."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := ask()):
        assert time.monotonic() < deadline, "Prometheus holds no exemplar"
        time.sleep(0.2)
    return found


def test_a_bucket_and_an_error_lead_to_their_requests_in_the_log(
    tiny: Tiny, tmp_path: Path
) -> None:
    """Whichever worker had them, and whichever was scraped."""
    good, bad = record_body(tiny.records[:3]), record_body({"amount": "much"})
    log = tmp_path / "log"
    latency = (
        f"histogram_quantile(0.99, sum by (le) "
        f'(rate({STAGE_LATENCY.name}_bucket{{stage="total"}}[1m])))'
    )
    with (
        serving(
            tiny.copy(tmp_path / "models"), "--pipeline", PACKAGE, "--log", log, "--workers", 2,
            errors=tmp_path / "stderr", environment=tiny.environment(),
        ) as server,
        prometheus(tmp_path, {"samescore": f"127.0.0.1:{server.port}"}) as watching,
    ):  # fmt: skip
        ids: dict[Outcome, set[str]] = {Outcome.OK: set(), Outcome.DATA_ERROR: set()}
        for _ in range(20):  # a connection each: the kernel deals them out to the workers
            ids[Outcome.OK].add(server.post("/predict/tiny/1", good).request_id)
            ids[Outcome.DATA_ERROR].add(server.post("/predict/tiny/1", bad).request_id)
        slow = held(lambda: asked(watching, latency))
        failed = held(lambda: asked(watching, f'{REQUESTS.name}{{outcome!="ok"}}'))
    assert {e["labels"]["request_id"] for e in slow} <= ids[Outcome.OK] | ids[Outcome.DATA_ERROR]
    assert {e["labels"]["request_id"] for e in failed} <= ids[Outcome.DATA_ERROR]
    for exemplar in slow:
        (request,) = logged(log, exemplar["labels"]["request_id"])
        assert request["latency"]["total_ns"] / 1e9 == float(exemplar["value"])
    for exemplar in failed:
        (request,) = logged(log, exemplar["labels"]["request_id"])
        assert request["outcome"] == Outcome.DATA_ERROR


def logged(log: Path, request_id: str) -> list[dict[str, Any]]:
    """Type what somebody on call types next."""
    ran = samescore("log", "cat", log, "--request-id", request_id)
    assert ran.code == 0, ran.err
    return [orjson.loads(line) for line in ran.out.splitlines()]
