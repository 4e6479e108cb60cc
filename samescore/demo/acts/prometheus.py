"""A real Prometheus that scrapes one server, where the program is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlencode

import orjson

from samescore.demo.acts.serving import ask
from samescore.demo.errors import DemoError
from samescore.demo.processes import failed, running

PROGRAM: Final = "prometheus"
SCRAPE_SECONDS: Final = 1
START_SECONDS: Final = 30.0
"""How long it may take to start, or to find and scrape its target."""

_LOOK_SECONDS: Final = 0.1

Json = dict[str, Any]  # Any: JSON


def find_prometheus() -> str | None:
    """Return the path of the program, None where it is not installed."""
    return shutil.which(PROGRAM)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that runs.

    Attributes:
        url: its address.
        process: the process.
        said: what it wrote.
        config: its configuration file.
    """

    url: str
    process: subprocess.Popen[bytes]
    said: Path
    config: Path

    def alerts(self) -> list[Json]:
        """Return the alerts that are pending or firing, as `/api/v1/alerts` has them."""
        found: list[Json] = self._get("/api/v1/alerts")["alerts"]
        return found

    def largest(self, expr: str) -> float | None:
        """Return the largest value that an expression has now, None while it has none."""
        found = self._get("/api/v1/query", query=expr)["result"]
        return max((float(series["value"][1]) for series in found), default=None)

    def follow(self, rules: Path, job: str) -> None:
        """Bring rules into force once the target has been scraped.

        A Prometheus takes some five seconds to find its targets, and rules with times as short as
        the demo's would call them absent meanwhile.

        Raises:
            DemoError: the target is not scraped, or the rules are refused.
        """
        deadline = time.monotonic() + START_SECONDS
        while self.largest(f'up{{job="{job}"}}') != 1.0:
            if time.monotonic() > deadline:
                raise DemoError(f"Prometheus has not scraped the server; it said so in {self.said}")
            time.sleep(_LOOK_SECONDS)
        config = orjson.loads(self.config.read_bytes())
        self.config.write_bytes(orjson.dumps({**config, "rule_files": [str(rules)]}))
        status, answer = ask(f"{self.url}/-/reload", b"")
        if status != 200:
            raise DemoError(f"Prometheus refuses {rules}: {answer.decode(errors='replace')}")

    def _get(self, path: str, **query: str) -> Json:
        try:
            status, body = ask(f"{self.url}{path}?{urlencode(query)}")
        except URLError as e:
            raise DemoError(f"Prometheus does not answer: {e.reason}; see {self.said}") from e
        if status != 200:
            raise DemoError(f"Prometheus answers {status} to {path}: {body.decode()[:300]}")
        found: Json = orjson.loads(body)["data"]
        return found


@contextmanager
def scraping(program: str, folder: Path, said: Path, job: str, target: str) -> Iterator[Prometheus]:
    """Run Prometheus until the block ends; what it stores goes with it.

    Args:
        program: its path.
        folder: gets its configuration.
        said: gets what it writes.
        job: the label of what it scrapes.
        target: `host:port` of the server.

    Raises:
        DemoError: it does not start.
    """
    config, address = folder / "prometheus.yml", f"127.0.0.1:{_free_port()}"
    config.write_bytes(orjson.dumps(_config(job, target)))  # JSON is YAML
    with tempfile.TemporaryDirectory(prefix="samescore-prometheus-") as storage:
        command = (
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={storage}",
            f"--web.listen-address={address}",
            "--web.enable-lifecycle",  # rules come into force by a reload
        )
        with running(command, said) as process:
            found = Prometheus(f"http://{address}", process, said, config)
            _wait_until_ready(found)
            yield found


def _config(job: str, target: str) -> Mapping[str, object]:
    every = f"{SCRAPE_SECONDS}s"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]}],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(found: Prometheus) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(found):
        if found.process.poll() is not None:
            raise failed("Prometheus", found.process.returncode, found.said)
        if time.monotonic() > deadline:
            raise DemoError(f"Prometheus is not ready after {START_SECONDS:.0f} s: {found.said}")
        time.sleep(_LOOK_SECONDS)


def _is_ready(found: Prometheus) -> bool:
    try:
        return ask(f"{found.url}/-/ready")[0] == 200
    except OSError:  # nobody listens yet
        return False
