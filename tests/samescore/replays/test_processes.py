"""Replays in processes of their own: killed, on Spark, and through the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from tests.fixtures.tiny import PACKAGE, Tiny, make_records, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
REQUESTS = 1500


@pytest.fixture(scope="module")
def folder(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of a few megabytes."""
    made = tmp_path_factory.mktemp("many") / "log"
    rows = make_records(REQUESTS + 3, seed=8)
    bodies: list[Any] = [record_body(rows[i : i + 1 + i % 3]) for i in range(REQUESTS)]
    serve_into_log(load(tiny), made, [*bodies, b"{"])
    return made


def environment(tiny: Tiny) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(tiny.site)])
    return {**os.environ, **tiny.environment(), "PYTHONPATH": paths}


def samescore(tiny: Tiny, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "samescore", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, env=environment(tiny), timeout=300, check=False
    )


def alone(folder: Path, tiny: Tiny, kept: Path, *engines: str) -> list[str]:
    """Return the command of a replay in small units."""
    module = [sys.executable, "-m", "tests.fixtures.replay_alone"]
    return [*module, str(folder), str(tiny.base), str(kept), *engines]


def finished(command: list[str], tiny: Tiny) -> list[bytes]:
    ran = subprocess.run(
        command, capture_output=True, env=environment(tiny), timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.split()


def test_one_job_two_jobs_and_spark_write_the_same_bytes(
    folder: Path, tiny: Tiny, tmp_path: Path
) -> None:
    engines: dict[str, tuple[object, ...]] = {
        "one": ("--jobs", 1),
        "two": ("--jobs", 2),
        "spark": ("--engine", "spark", "--spark-master", "local[2]"),
    }
    printed = {}
    for name, options in engines.items():
        ran = samescore(
            tiny,
            *("replay", folder, "--bundles", tiny.base, "--pipeline", PACKAGE, "--json"),
            *("--batch-size", 64, "--out", tmp_path / name, *options),
        )
        assert ran.returncode == 0, ran.stderr.decode()
        printed[name] = ran.stdout
    assert printed["one"] == printed["two"] == printed["spark"]
    assert orjson.loads(printed["one"])["models"]["tiny/1"]["requests"] == REQUESTS + 1
    for file in ("replay.json", "rows.parquet"):
        held = {name: (tmp_path / name / file).read_bytes() for name in engines}
        assert held["one"] == held["two"] == held["spark"], file
    assert pq.read_table(tmp_path / "spark" / "rows.parquet").num_rows > REQUESTS


def test_many_units_give_one_report_whoever_does_them(
    folder: Path, tiny: Tiny, tmp_path: Path
) -> None:
    """The command's units are too large for a small log to have several: here they are small."""
    said = finished(alone(folder, tiny, tmp_path, "one", "two", "spark"), tiny)
    units, others, kept, agrees = said
    assert int(units) > 16, "several waves of Spark tasks"
    assert (others, kept, agrees) == (b"0", b"0", b"True")


def test_a_mistake_on_spark_is_one_line(folder: Path, tiny: Tiny, tmp_path: Path) -> None:
    ran = samescore(
        tiny,
        *("replay", folder, "--bundles", tmp_path, "--pipeline", PACKAGE),
        *("--engine", "spark", "--spark-master", "local[1]"),
    )
    assert ran.returncode == 2
    (said,) = [line for line in ran.stderr.decode().splitlines() if line.startswith("Error: ")]
    assert "tiny/1; name the folder that was served" in said
    assert b"Traceback" not in ran.stderr


def test_a_replay_that_was_killed_leaves_nobody_behind_and_goes_on(
    folder: Path, tiny: Tiny, tmp_path: Path
) -> None:
    command, kept = alone(folder, tiny, tmp_path, "two"), tmp_path / "two"
    with (tmp_path / "said").open("wb") as said:
        first = subprocess.Popen(command, env=environment(tiny), stdout=said, stderr=said)
        wait_until(lambda: len(list(kept.glob("*.json"))) >= 2 or first.poll() is not None)
        children = children_of(first.pid)
        first.send_signal(signal.SIGKILL)
        first.wait()
    wait_until(lambda: not any(map(alive, children)))
    done = len(list(kept.glob("*.json")))
    units, _, found, agrees = finished(command, tiny)
    assert 2 <= int(found) == done <= int(units)
    assert agrees == b"True"


def test_a_worker_that_dies_is_told(folder: Path, tiny: Tiny, tmp_path: Path) -> None:
    """As the kernel does it when memory runs out."""
    command, kept = alone(folder, tiny, tmp_path, "two"), tmp_path / "two"
    process = subprocess.Popen(command, env=environment(tiny), stderr=subprocess.PIPE)
    wait_until(lambda: bool(workers_of(process.pid)) or process.poll() is not None)
    for child in workers_of(process.pid):
        os.kill(child, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"a replay process died" in said
    assert b"with fewer --jobs than 2" in said
    assert len(list(kept.glob("*.rows"))) == 0


def children_of(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in found.split()]


def workers_of(pid: int) -> list[int]:
    """Return the pool's processes; multiprocessing starts another one that tracks resources."""
    return [
        child
        for child in children_of(pid)
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
