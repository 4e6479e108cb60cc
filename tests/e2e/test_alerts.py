"""From a fault in a served process to a webhook, through a real Prometheus and Alertmanager.

All times are shortened: a rate window of 6 s instead of 5 min, and so on. The rules, the routing
and the server are those of everybody.
"""

from __future__ import annotations

import itertools
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from monitors import metrics
from monitors.alerting.alerts import build_rules
from monitors.alerting.recordings import Recordings
from monitors.alerting.rules import to_yaml
from monitors.alerting.settings import AlertSettings
from serving.servable import GateMode
from tests.fakes.transport import ThroughFloat32
from tests.fixtures.cli import samescore
from tests.fixtures.prometheus import (
    PUSHGATEWAY,
    Running,
    Webhook,
    alertmanager,
    prometheus,
    webhook,
)
from tests.fixtures.pushgateway import pushgateway
from tests.fixtures.server import Client, serving
from tests.fixtures.tiny import PACKAGE, Tiny, make_records, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import load

pytestmark = pytest.mark.slow

FAULTY = Path(__file__).parents[1] / "fixtures" / "faulty_serve.py"
RULES = AlertSettings(
    latency_seconds=0.25,
    slow_ratio=0.5,
    queue_ratio=0.9,  # the fault that is slow holds up those behind it for three quarters of a time
    min_requests=5,
    min_rows=20,
    min_window_rows=200,
    window_seconds=6,
    for_seconds=3,
)
ROUTE = {"group_wait": "200ms", "group_interval": "1s", "repeat_interval": "1h"}
ROUND_SECONDS = 1 + 1 + 1
"""Scrape, evaluation, Alertmanager's round."""
SLICES, SLICE_SECONDS = 3, 2
SLACK_SECONDS = 20
"""Other processes share the cores."""
ROWS = 5
Record = dict[str, Any]


@dataclass
class Traffic:
    """One connection that sends about 30 requests a second, of five rows each."""

    port: int
    bodies: Sequence[bytes]
    sent: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        client = Client(self.port)
        for number in itertools.count():
            if self._stop.wait(0.03):
                break
            reply = client.post("/predict/tiny/1", self.bodies[number % len(self.bodies)])
            self.sent += 1
            if reply.status != 200:
                self.failures.append(reply.body.decode())
        client.close()


@dataclass
class Scene:
    """A server under traffic, and those who watch it."""

    traffic: Traffic
    healthy: Sequence[bytes]
    records: list[Record]
    switch: Path
    hook: Webhook
    prometheus: Running
    gateway: str

    def begin(self, fault: str) -> None:
        """Let a fault begin."""
        if fault == "slow":
            # under another name first: the server may look while it is written
            draft = self.switch.with_suffix(".draft")
            draft.write_text("0.4")
            draft.replace(self.switch)
        elif fault == "unseen category":
            self.traffic.bodies = bodies([unseen(r, i) for i, r in enumerate(self.records)])
        else:
            self.traffic.bodies = bodies([{**r, "amount": r["amount"] + 40} for r in self.records])

    def end(self) -> None:
        """Let whatever fault there is end."""
        self.switch.unlink(missing_ok=True)
        self.traffic.bodies = self.healthy


def stated_seconds(alert: str) -> int:
    """Return how soon an alert is to arrive, by what its rule says: its window, then its `for`.

    A ratio looks at the rate window, a shift at the servers' sliding window, a replay at what was
    pushed. It resolves as soon: when the window has forgotten the fault.
    """
    (rule,) = (a for group in build_rules(RULES) for a in group.alerts if a.name == alert)
    if metrics.WINDOW_ROWS.name in rule.expr:
        window = SLICES * SLICE_SECONDS
    else:
        window = RULES.window_seconds if ":ratio_rate" in rule.expr else 0
    return window + rule.for_seconds + ROUND_SECONDS


def bodies(records: list[Record]) -> list[bytes]:
    chunks = (records[at : at + ROWS] for at in range(0, len(records), ROWS))
    return [orjson.dumps(record_body(chunk)) for chunk in chunks]


def unseen(record: Record, number: int) -> Record:
    """Rename every second Ulm: neither city has a rate, so nothing else changes."""
    renamed = record["city"] == "Ulm" and number % 2
    return {**record, "city": "Atlantis"} if renamed else record


@pytest.fixture(scope="module")
def scene(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("alerts")
    records = [r for r in make_records(2000, seed=7) if r["city"] != "Atlantis"]
    tiny.build(root / "models", reference=records)
    rules = root / "rules.yml"
    rules.write_text(to_yaml(build_rules(RULES), "for the test"))
    switch = root / "slow"
    with ExitStack() as stack:
        server = stack.enter_context(
            serving(
                root / "models", "--log", root / "log", "--pipeline", PACKAGE,
                "--snapshots", tiny.base / ".snapshots",
                "--window-slices", SLICES, "--window-slice-seconds", SLICE_SECONDS,
                "--window-min-rows", 100,
                errors=root / "stderr",
                environment={**tiny.environment(), "SLOW_SWITCH": str(switch)},
                command=(sys.executable, FAULTY),
            )
        )  # fmt: skip
        healthy = bodies(records)
        traffic = Traffic(server.port, healthy)
        stack.callback(traffic.stop)
        hook = stack.enter_context(webhook())
        manager = stack.enter_context(alertmanager(root, hook, **ROUTE))
        gateway = stack.enter_context(pushgateway())
        targets = {
            "samescore": f"127.0.0.1:{server.port}",
            PUSHGATEWAY: gateway.removeprefix("http://"),
        }
        watcher = stack.enter_context(prometheus(root, targets, rules=rules, to=manager))
        yield Scene(traffic, healthy, records, switch, hook, watcher, gateway)
        assert traffic.failures == []


def test_healthy_traffic_fires_nothing(scene: Scene) -> None:
    """And not for lack of data: what the alerts compare is there."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        assert "firing" not in scene.prometheus.alerts().values()
        time.sleep(0.5)
    assert scene.hook.notices == []
    for rule in (rule for group in build_rules(RULES) for rule in group.recordings):
        if not re.search("suite|backend", rule.record):  # neither is there
            assert scene.prometheus.instant(rule.record), rule.record
    (psi,) = scene.prometheus.instant(metrics.SCORE_PSI.name)
    assert 0 <= float(psi["value"][1]) < RULES.score_psi / 2


@pytest.mark.parametrize(
    ("fault", "alert", "labels"),
    [
        ("slow", "SamescoreHighLatency", {}),
        ("unseen category", "SamescoreUnseenCategories", {"feature": "city_code"}),
        ("shifted scores", "SamescoreScorePsiHigh", {}),
    ],
)
def test_a_fault_reaches_the_webhook_is_resolved_and_nothing_else_fires(
    scene: Scene, fault: str, alert: str, labels: dict[str, str]
) -> None:
    stated, began = stated_seconds(alert), time.monotonic()
    scene.begin(fault)
    fired = scene.hook.wait_for(alert, "firing", began, stated + SLACK_SECONDS)
    held = scene.prometheus.alerts()
    if fault == "slow":  # what no latency shows is seen, and told by one alert only
        (late,) = scene.prometheus.instant(Recordings(RULES).late.record)
        assert 0.2 < float(late["value"][1]) < RULES.queue_ratio
    ended = time.monotonic()
    scene.end()
    resolved = scene.hook.wait_for(alert, "resolved", ended, stated + SLACK_SECONDS)
    tell(fault, stated, fired.at - began, resolved.at - ended)
    expected = {"model": "tiny", "version": "1", "severity": "warning", **labels}
    assert expected.items() <= fired.labels.items()
    assert fired.receiver == "team"
    assert fired.annotations["runbook_url"].endswith(f"/{alert}.html")
    assert "tiny/1" in fired.annotations["description"]
    assert {name for name, state in held.items() if state == "firing"} == {alert}
    came = {notice.alert for notice in scene.hook.notices if notice.at >= began}
    assert came == {alert}


def test_a_parity_break_found_by_a_scheduled_replay_arrives_and_resolves(
    scene: Scene, tiny: Tiny, tmp_path: Path
) -> None:
    """A day that was served with float32 features; the next day is right again."""
    sent = [record_body(tiny.records[at : at + ROWS]) for at in range(0, 50, ROWS)]
    broken = load(tiny, transport=ThroughFloat32, gate=GateMode.REPORT)
    serve_into_log(broken, tmp_path / "broken", sent)
    serve_into_log(load(tiny), tmp_path / "mended", sent)
    alert = "SamescoreReplayDiffers"
    stated, before = stated_seconds(alert), time.monotonic()
    assert replay(tiny, tmp_path / "broken", scene.gateway) == 1
    began = time.monotonic()
    fired = scene.hook.wait_for(alert, "firing", before, stated + SLACK_SECONDS)
    held = scene.prometheus.alerts()
    assert replay(tiny, tmp_path / "mended", scene.gateway) == 0
    ended = time.monotonic()
    resolved = scene.hook.wait_for(alert, "resolved", fired.at, stated + SLACK_SECONDS)
    tell("parity break", stated, fired.at - began, resolved.at - ended)
    assert {"model": "tiny", "version": "1", "severity": "critical"}.items() <= fired.labels.items()
    assert fired.receiver == "pager"
    assert {name for name, state in held.items() if state == "firing"} == {alert}
    came = {notice.alert for notice in scene.hook.notices if notice.at >= before}
    assert came == {alert}


def tell(fault: str, stated: int, fired: float, resolved: float) -> None:
    print(f"{fault}: stated {stated} s, fired after {fired:.1f} s, resolved after {resolved:.1f} s")


def replay(tiny: Tiny, log: Path, gateway: str) -> int:
    """Run what a scheduler would run."""
    return samescore(
        "replay", log, "--bundles", tiny.base, "--pipeline", PACKAGE, "--pushgateway", gateway
    ).code
