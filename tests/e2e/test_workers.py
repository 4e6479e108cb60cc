"""Two worker processes under load: client, log and metrics agree, also after one was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.log.lines.line import decode_line
from consistency.log.reader import verify_log
from tests.fixtures.figures import Tell
from tests.fixtures.server import Load, Reply, Server, serving, wait_until
from tests.fixtures.tiny import PACKAGE, Tiny, record_body

pytestmark = pytest.mark.slow

CONNECTIONS = 4
ANSWERS = 800


@dataclass(frozen=True)
class Numbers:
    """Requests and rows, as one of the three sides counts them."""

    requests: int
    rows: int


@dataclass
class Site:
    """A server with two workers, and all loads that were put on it."""

    server: Server
    log: Path
    bodies: list[Any]
    loads: list[Load]

    def load(self) -> Load:
        load = Load(self.server.port, "/predict/tiny", self.bodies, CONNECTIONS, keep=_seen)
        self.loads.append(load)
        return load

    def client(self) -> Numbers:
        seen = [rows for load in self.loads for _, rows in load.replies]
        return Numbers(len(seen), sum(seen))

    def acknowledged(self) -> set[str]:
        return {request_id for load in self.loads for request_id, _ in load.replies}

    def logged(self) -> dict[str, int]:
        """Return the rows of each request in the log."""
        lines = [
            decode_line(line)
            for path in self.log.glob("*.jsonl*")
            for line in path.read_bytes().splitlines()
        ]
        assert len({entry.request_id for entry in lines}) == len(lines), "nothing is there twice"
        return {entry.request_id: entry.rows for entry in lines}

    def metric(self, name: str) -> float:
        """Return a metric summed over its labels, as one of the workers says."""
        page = self.server.get("/metrics")
        families = text_string_to_metric_families(page.body.decode())
        return sum(s.value for f in families for s in f.samples if s.name == name)

    def metrics(self) -> Numbers:
        requests, rows = "samescore_requests_total", "samescore_rows_total"
        return Numbers(int(self.metric(requests)), int(self.metric(rows)))

    def serving_workers(self) -> dict[int, Path]:
        """Return the workers that have logged something, and their open segments."""
        paths = [p for p in self.log.glob("*.open") if p.stat().st_size]
        return {int(p.name.split("-")[1]): p for p in paths}

    def keep_all_busy(self, answers: int) -> list[Load]:
        """Put loads on the server until both workers have one, and wait for answers."""
        loads = []
        for _ in range(10):
            loads.append(self.load())
            loads[-1].wait_for(answers)
            if len(self.serving_workers()) == 2:
                return loads
        raise AssertionError("ten times four connections all went to one worker")


def _seen(reply: Reply) -> tuple[str, int]:
    assert reply.status == 200, reply.body
    return reply.request_id, len(reply.json["data"]["insts"])


@pytest.fixture
def site(tiny: Tiny, tmp_path: Path) -> Iterator[Site]:
    bodies = [record_body(tiny.records[i : i + i % 3 + 1]) for i in range(60)]
    with serving(
        tiny.base, "--log", tmp_path / "log", "--pipeline", PACKAGE, "--workers", "2",
        errors=tmp_path / "stderr", environment=tiny.environment(),
    ) as server:  # fmt: skip
        made = Site(server, tmp_path / "log", bodies, [])
        try:
            yield made
        finally:
            server.terminate()  # or its workers outlive the test for a moment


def test_client_log_and_metrics_agree_with_two_workers(site: Site) -> None:
    workers = site.server.announced["workers"]
    assert len(set(workers)) == 2
    assert site.server.announced["serving"] == ["tiny version 1"]
    for load in site.keep_all_busy(ANSWERS):
        load.stop()
    assert site.serving_workers().keys() == set(workers)
    logged = site.logged()
    assert site.acknowledged() == logged.keys()
    assert site.client() == Numbers(len(logged), sum(logged.values()))
    for _ in range(20):  # whichever worker is asked
        assert site.metrics() == site.client()
        assert site.metric("samescore_window_rows") == site.client().rows
    assert site.metric("samescore_workers") == 2
    total = site.metric("samescore_stage_latency_seconds_count")
    assert total >= 5 * len(logged)

    assert site.server.terminate() == 0
    assert sorted(p.suffix for p in site.log.iterdir()) == [".jsonl", ".jsonl"]
    verdict = verify_log(site.log)
    assert verdict.intact
    assert verdict.requests == len(logged)


def test_they_agree_after_a_worker_was_killed_up_to_the_requests_in_flight(
    site: Site, tell: Tell
) -> None:
    loads = site.keep_all_busy(ANSWERS)
    killed, other = site.server.announced["workers"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: any(load.failures for load in loads), "its connections broke")
    held = [len(load.acknowledged) for load in loads]

    def went_on_or_ended(load: Load, before: int) -> bool:
        return len(load.failures) == CONNECTIONS or len(load.acknowledged) >= before + ANSWERS

    wait_until(lambda: all(map(went_on_or_ended, loads, held)), "those of the other worker go on")
    assert any(len(load.failures) < CONNECTIONS for load in loads), "it has connections"
    wait_until(lambda: site.metric("samescore_workers") == 2, "a new worker serves")
    wait_until(lambda: len(list(site.log.glob("*.open"))) == 2, "it has a segment")
    for load in [*loads, *site.keep_all_busy(ANSWERS)]:
        load.stop()
    (new,) = site.serving_workers().keys() - {other}
    assert new != killed

    logged, acknowledged, counted = site.logged(), site.acknowledged(), site.metrics()
    surplus = sorted(logged.keys() - acknowledged)
    broken = sum(len(load.failures) for load in site.loads)
    assert acknowledged <= logged.keys(), "what was acknowledged is logged"
    assert len(surplus) <= broken, "at most what was in flight in the killed worker"
    # logged, then counted, then answered: one event loop is at one such step at a time
    assert site.client().requests <= counted.requests <= len(logged) <= counted.requests + 1
    assert site.client().rows <= counted.rows <= sum(logged.values())
    tell(
        f"{site.client().requests} answered, {counted.requests} in the metrics, "
        f"{len(logged)} in the log; {broken} connections broke; not answered: {surplus}"
    )

    assert site.server.terminate() == 0
    assert list(site.log.glob("*.open")) == []
    assert not (site.log / ".metrics").exists()
    verdict = verify_log(site.log)
    assert verdict.intact
    assert verdict.requests == len(logged)
    assert f"worker 0 (pid {killed}) ended with exit code -9" in site.server.errors.read_text()


def test_guards_travel_to_every_worker_and_are_counted_together(tiny: Tiny, tmp_path: Path) -> None:
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age"}}
    rule["kwargs"] |= {"min_value": 0, "max_value": 17}  # type: ignore[operator]
    suite = tmp_path / "suite.json"
    suite.write_bytes(orjson.dumps({"name": "children", "expectations": [rule], "meta": {}}))
    with serving(
        tiny.base, "--log", tmp_path / "log", "--pipeline", PACKAGE, "--workers", "2",
        "--suite", f"tiny={suite}", "--suite-policy", "flag",
        errors=tmp_path / "stderr", environment=tiny.environment(),
    ) as server:  # fmt: skip
        site = Site(server, tmp_path / "log", [record_body(tiny.records[:3])], [])
        for load in site.keep_all_busy(50):
            load.stop()
        assert site.metric("samescore_suite_violations_total") == site.client().rows
        assert server.terminate() == 0


def test_workers_end_when_their_supervisor_is_killed(site: Site) -> None:
    site.load().wait_for(50)
    site.server.kill()
    wait_until(lambda: not any(map(_is_alive, site.server.announced["workers"])), "they ended")
    site.loads[0].join()
    assert list(site.log.glob("*.open")) == [], "in good order"
    assert site.acknowledged() <= site.logged().keys()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # dead, and its new parent has not looked yet
