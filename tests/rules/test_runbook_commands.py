"""What a runbook says to type is typed: into a real log, at a real server and Alertmanager.

The log holds what each alert is about: slow, failed, refused and unverified requests, unseen
categories, missing values, scores that are no numbers.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest

from consistency.log import LogSettings, RequestLogWriter
from consistency.scored import GateState, Outcome, ScoredRequest, StageLatency
from tests.fixtures.cli import samescore
from tests.fixtures.prometheus import alertmanager, component, webhook
from tests.fixtures.server import Server, serving
from tests.fixtures.tiny import PACKAGE, Tiny, record_body
from tests.fixtures.traffic import serve_into_log
from tests.rules.slo_cases import SLO_FILE
from tests.rules.test_runbooks import ALERTS, page, sections
from tests.samescore.conftest import load

pytestmark = pytest.mark.slow

OWN_SERVER = "samescore serve "
"""Takes no end by itself; it is started and asked to stop."""
MAY_DIFFER = ("samescore replay", "samescore drift run", "samescore suite check")
"""Commands whose exit code 1 is an answer: the log holds what is not right."""
SECONDS = 120
DAY_US = 86_400_000_000


@dataclass
class Desk:
    """Where somebody on call sits.

    Attributes:
        folder: the working directory.
        words: what stands for the words in capitals.
        environment: of the commands.
        manager: the Alertmanager; amtool looks for it on its usual port otherwise.
    """

    folder: Path
    words: dict[str, str]
    environment: dict[str, str]
    manager: str

    def typed(self, line: str) -> str:
        for word, meant in self.words.items():
            line = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", meant, line)
        return line

    @functools.cache  # noqa: B019 - one desk a session
    def run(self, line: str) -> tuple[int, str]:
        """Type a line; many pages share theirs."""
        amtool = f'amtool() {{ command amtool --alertmanager.url={self.manager} "$@"; }}'
        pipes = "" if "| head" in line else "set -o pipefail"
        done = subprocess.run(
            ["bash", "-c", f"{amtool}\n{pipes}\n{line}"],
            check=False, capture_output=True, text=True, timeout=SECONDS,
            cwd=self.folder, env=self.environment,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def __hash__(self) -> int:
        return id(self)


def lines(text: str) -> list[str]:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def fill(tiny: Tiny, folder: Path) -> list[ScoredRequest]:
    """Make a log in which every alert has something behind it."""
    bodies = [record_body(tiny.records[i : i + 3]) for i in range(100)]
    answered = serve_into_log(load(tiny), folder, [*bodies, b"{", record_body({"amount": 1.0})])
    first = answered[0]
    strange = {
        "slow": {"latency": StageLatency(total_ns=300_000_000)},
        "queued": {"latency": StageLatency(queue_ns=150_000_000, total_ns=151_000_000)},
        "failed": {"outcome": Outcome.BACKEND_ERROR, "scores": None, "message": "no answer"},
        "late": {"outcome": Outcome.TIMEOUT, "scores": None, "message": "too late"},
        "flagged": {"flags": {"city:be_in_set": [0]}},
        "nan": {"scores": np.full_like(first.scores, np.nan)},
        "unverified": {"servable": replace(first.servable, gate=GateState.UNVERIFIED)},
    }
    log = RequestLogWriter(LogSettings(folder))
    for request in answered:  # a whole day for the drift job
        when = request.ingest_time_us - DAY_US
        log.write(replace(request, request_id=f"{request.request_id}-old", ingest_time_us=when))
    for request_id, changes in strange.items():
        log.write(replace(first, request_id=request_id, **changes))  # type: ignore[arg-type]
    log.close()
    return answered


@pytest.fixture(scope="module")
def desk(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    tiny.copy(folder / "models")
    answered = fill(tiny, folder / "requests")
    (folder / "slo.toml").write_text(SLO_FILE)
    (folder / "sample.jsonl").write_bytes(b"\n".join(map(orjson.dumps, tiny.records)))
    with ExitStack() as stack:
        server = stack.enter_context(started(folder, tiny, "served"))
        hook = stack.enter_context(webhook())
        manager = stack.enter_context(alertmanager(folder, hook))
        component("amtool")
        environment = {
            **os.environ,
            **tiny.environment(),
            "PYTHONPATH": os.pathsep.join([str(tiny.site), os.environ.get("PYTHONPATH", "")]),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        made = Desk(folder, words(server, answered[0].request_id), environment, manager.url)
        code, said = made.run(
            "samescore suite build sample.jsonl --bundle models/tiny/1 --out suite.json"
        )
        assert code == 0, said
        yield made


def words(server: Server, request_id: str) -> dict[str, str]:
    missing = "SamescoreMissingValues --model"
    return {
        f"{missing} MODEL --feature FEATURE": f"{missing} tiny --feature score_before",
        "http://127.0.0.1:8501": f"http://127.0.0.1:{server.port}",
        "models/MODEL/VERSION": "models/tiny/1",
        "MODEL": "tiny",
        "VERSION": "1",
        "yourteam_features": PACKAGE,
        "PACKAGE": PACKAGE,
        "FEATURE": "city_code",
        "RULE": "age_between",
        "BACKEND": "grpc://b:8500",
        "HOST:PORT": f"127.0.0.1:{server.port}",
        "JOB": "samescore",
        "REQUEST_ID": request_id,
        "STARTS_AT": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:59Z}",
    }


def started(folder: Path, tiny: Tiny, log: str) -> AbstractContextManager[Server]:
    path = os.pathsep.join([str(tiny.site), os.environ.get("PYTHONPATH", "")])
    return serving(
        folder / "models", "--pipeline", PACKAGE, "--log", folder / log,
        errors=folder / f"{log}.stderr", environment={**tiny.environment(), "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.parametrize("alert", ALERTS)
def test_every_command_of_a_page_does_what_it_says(alert: str, desk: Desk, tiny: Tiny) -> None:
    ran = 0
    for line in lines(page(alert)):
        typed = desk.typed(line)
        if typed.startswith(OWN_SERVER):
            with started(desk.folder, tiny, "again") as server:
                assert server.get("/health/ready").status == 200
                assert server.terminate() == 0
            continue
        code, said = desk.run(typed)
        may = {0, 1} if typed.startswith(MAY_DIFFER) else {0}
        assert code in may, f"{typed}\nends with {code}: {said[-1500:]}"
        assert "Traceback" not in said, f"{typed}\n{said[-1500:]}"
        ran += 1
    assert ran, "a page says at least how to silence its alert"


def test_a_silence_is_really_there(desk: Desk) -> None:
    (line,) = lines(sections(page("SamescoreHighLatency"))["Silence"])
    code, silence_id = desk.run(desk.typed(line))
    assert code == 0
    code, shown = desk.run("amtool silence query -q alertname=SamescoreHighLatency")
    assert silence_id.strip() in shown.split(), shown


def test_a_command_that_fails_is_seen(desk: Desk) -> None:
    assert desk.run("samescore log cat requests --alert SamescoreHighLatencies")[0] == 2
    assert desk.run("false | tail -n 5")[0] == 1


def test_the_rows_behind_an_alert_are_those_that_were_put_there(desk: Desk) -> None:
    def ids(alert: str, *options: str) -> set[str]:
        ran = samescore("log", "cat", desk.folder / "requests", "--alert", alert, *options)
        assert ran.code == 0, ran.err
        return {orjson.loads(line)["request_id"] for line in ran.out.splitlines()}

    assert ids("SamescoreHighLatency") == {"slow"}
    assert ids("SamescoreRequestsQueue") == {"queued"}
    assert ids("SamescoreHighErrorRatio") == {"failed", "late"}
    assert ids("SamescoreScoreAnomalies") == {"nan"}
    assert ids("SamescoreGateUnverified") == {"unverified"}
    assert len(ids("SamescoreHighDataErrorRatio")) == 2
