"""Every panel's expression gives numbers, before a real Prometheus that scrapes a real server."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from dashboards.render import boards
from monitors.alerting.rules import to_yaml
from monitors.alerting.settings import AlertSettings
from monitors.metrics import SLO_BUDGET_LEFT, VERSION_LOAD_FAILED
from monitors.slo.file import parse_slo
from monitors.slo.rules import build_slo_rules
from serving.loaders import load_scorer
from tests.dashboards.expressions import substituted
from tests.dashboards.linter import targets, variables
from tests.fakes.tfs_stand_in import StandIn, of_scorer, over_rest
from tests.fixtures.cli import samescore
from tests.fixtures.prometheus import Running, prometheus
from tests.fixtures.pushgateway import pushgateway
from tests.fixtures.server import Load, Server, serving
from tests.fixtures.tiny import Tiny, make_records, record_body

pytestmark = pytest.mark.slow

VALUES = {"job": ".+", "instance": ".+", "model": "tiny", "version": ".+"}
RANGES = {"__rate_interval": "20s", "__range": "60s"}
ANSWERS = 400
ROWS = 4
WIDTH = 6
"""Features of the tiny model."""
SECONDS_OF_TRAFFIC = 6.0
SLO_FILE = """
window = "24h"
scrape_interval = "1s"

[models.tiny]
availability = { objective = 0.999 }
latency = { objective = 0.99, latency_seconds = 0.2 }
parity = { objective = 0.999, period = "1h" }
"""
"""Its shortest window is 10 s."""


@dataclass(frozen=True)
class Scene:
    """A Prometheus that has watched traffic."""

    prometheus: Running

    def values(self, expr: str) -> list[float]:
        """Return what an expression gives now, each series' value."""
        found = self.prometheus.instant(substituted(expr, VALUES | RANGES))
        return [float(series["value"][1]) for series in found]


@pytest.fixture(scope="module")
def scene(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("live")
    base = tiny.copy(folder / "models")
    log = folder / "requests"
    suite = ("--suite", f"tiny={build_suite(tiny, folder)}", "--suite-policy", "flag")
    serve = (base, "--pipeline", "tiny_features", "--log", log, *suite)
    rules = folder / "rules.yml"
    rules.write_text(to_yaml(build_slo_rules(parse_slo(SLO_FILE, "-"), AlertSettings()), "-"))
    model = of_scorer(load_scorer("xgboost", tiny.bundle), WIDTH, "output", "float32")
    with (
        pushgateway() as gateway,
        over_rest(StandIn({("tiny", 1): model})) as port,
        serving(
            *serve,
            "--backend",
            f"rest://127.0.0.1:{port}",
            errors=folder / "errors",
            environment=tiny.environment(),
        ) as server,
        prometheus(folder, scraped(server, gateway), rules=rules) as watching,
    ):
        wait_for_targets(watching, 2)
        offer_what_cannot_be_loaded(base)
        send_traffic(server, watching)
        judged = samescore(
            *("drift", "run", log, "--bundle", base / "tiny" / "1", "--out", folder / "drift"),
            *("--include-open", "--min-rows", "100", "--by", "ingest", "--pushgateway", gateway),
        )
        assert judged.code in {0, 1}, judged.err
        wait_for_series(watching, 'samescore_drift_rows{model="tiny"}')
        replayed = samescore(
            *("replay", log, "--bundles", base, "--pipeline", "tiny_features"),
            *("--pushgateway", gateway),
        )
        assert replayed.code == 0, replayed.err
        wait_for_series(watching, 'samescore_replay_rows{model="tiny"}')
        wait_for_series(watching, f"{VERSION_LOAD_FAILED.name} == 1")
        for objective in ("availability", "latency", "parity"):
            left = f'{SLO_BUDGET_LEFT.name}{{objective="{objective}"}}'
            wait_for_series(watching, left)
        yield Scene(watching)


def offer_what_cannot_be_loaded(base: Path) -> None:
    """A folder that says version 2 and a manifest that says 1; version 1 goes on serving."""
    shutil.copytree(base / "tiny" / "1", base / "unfinished")
    (base / "unfinished").rename(base / "tiny" / "2")


def build_suite(tiny: Tiny, folder: Path) -> Path:
    records, suite = folder / "train.jsonl", folder / "suite.json"
    records.write_bytes(b"\n".join(map(orjson.dumps, tiny.records)) + b"\n")
    built = samescore("suite", "build", records, "--bundle", tiny.bundle, "--out", suite)
    assert built.code == 0, built.err
    return suite


def scraped(server: Server, gateway: str) -> dict[str, str]:
    return {
        "samescore": f"127.0.0.1:{server.port}",
        "samescore_drift": gateway.removeprefix("http://"),
    }


def send_traffic(server: Server, watching: Running) -> None:
    """Send requests of each kind for some seconds; a rate needs two scrapes."""
    records = make_records(400, seed=6)
    bodies: list[Any] = [record_body(records[i : i + ROWS]) for i in range(0, len(records), ROWS)]
    bodies.append(record_body([{"amount": "much"}]))
    load = Load(server.port, "/predict/tiny/1", bodies, connections=2)
    refused = Load(server.port, "/predict/unknown/1", bodies[:1], connections=1)
    try:
        load.wait_for(ANSWERS)
        wait_for_series(watching, "samescore_requests_total > 0")
        time.sleep(SECONDS_OF_TRAFFIC)
    finally:
        load.stop()
        refused.stop()
    assert set(load.replies) == {200, 400}
    assert not load.failures


def wait_for_targets(watching: Running, count: int) -> None:
    wait_for_series(watching, f"count(up == 1) == {count}")


def wait_for_series(watching: Running, expr: str) -> None:
    deadline = time.monotonic() + 30
    while not watching.instant(expr):
        assert time.monotonic() < deadline, f"Prometheus never had {expr}"
        time.sleep(0.1)


def expressions() -> list[tuple[str, str, str]]:
    """Return (board, panel, expression) of every query."""
    return [
        (board.uid, title, target["expr"])
        for board in boards()
        for title, target in targets(dict(board.content))
    ]


def test_every_expression_of_every_panel_returns_numbers(scene: Scene) -> None:
    asked = expressions()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda found: scene.values(found[2]), asked))
    silent = [
        f"{board}, {title}: {expr}"
        for (board, title, expr), values in zip(asked, answers, strict=True)
        if not any(math.isfinite(value) for value in values)
    ]
    assert not silent, f"{len(silent)} of {len(asked)} give nothing:\n" + "\n".join(silent)


def test_every_variable_finds_its_values(scene: Scene) -> None:
    found: dict[str, set[str]] = {}
    for board in boards():
        for one in variables(dict(board.content), "query"):
            call = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"])
            assert call is not None
            match = substituted(call[1], VALUES)
            series = scene.prometheus.ask("/api/v1/series", **{"match[]": match})["data"]
            found.setdefault(one["name"], set()).update(s[call[2]] for s in series)
    assert found["job"] == {"samescore", "samescore_drift"}  # the gateway is scraped as one job
    assert found["model"] == {"tiny"}
    assert found["version"] == {"1"}
    assert len(found["instance"]) == 2


def test_no_expression_answers_for_what_was_not_chosen(scene: Scene) -> None:
    for board, title, expr in expressions():
        elsewhere = substituted(expr, {**VALUES, **RANGES, "instance": "nowhere"})
        assert scene.prometheus.instant(elsewhere) == [], (board, title)
