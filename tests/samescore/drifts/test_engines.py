"""One process, several, and Spark: the same bytes of a log of tens of thousands of requests."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from samescore.drifts.units import cut_units
from samescore.engines.errors import EngineError
from samescore.engines.parallel import Processes
from tests.fixtures.dying_work import Dying
from tests.fixtures.long_log import LongLog, write_long_log
from tests.fixtures.tiny import Tiny, record_body
from tests.fixtures.traffic import serve_into_log
from tests.samescore.conftest import load
from tests.samescore.drifts.test_units import job_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
REQUESTS = 30_000
ENGINES: dict[str, tuple[object, ...]] = {
    "one": ("--jobs", 1),
    "two": ("--jobs", 2),
    "spark": ("--engine", "spark", "--spark-master", "local[2]"),
}


@pytest.fixture(scope="module")
def long_log(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> LongLog:
    """Some 35 MB on the disk, requests of 20 days in any order."""
    root = tmp_path_factory.mktemp("long")
    bodies = [record_body(tiny.records[i : i + 1 + i % 3]) for i in range(200)]
    answered = serve_into_log(load(tiny), root / "once", [*bodies, b"{"])
    return write_long_log(root / "log", answered, REQUESTS)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def finished(*command: object) -> bytes:
    """Run a process of its own; drift (1) is no failure."""
    ran = subprocess.run(
        list(map(str, command)), capture_output=True, env=environment(), timeout=600, check=False
    )
    assert ran.returncode in (0, 1), ran.stderr.decode()
    assert b"Traceback" not in ran.stderr, ran.stderr.decode()
    return ran.stdout


def said(log: LongLog, tiny: Tiny, out: Path, *engine: object) -> Any:
    """Return the printed JSON, less the two places that say where it lies."""
    drift = [sys.executable, "-m", "samescore", "drift", "run", log.folder]
    options = ("--bundle", tiny.bundle, "--out", out, "--include-open", "--json")
    value = orjson.loads(finished(*drift, *options, *engine))
    assert value.pop("folder") != value.pop("history")
    return value


def kept(out: Path) -> tuple[bytes, list[Any]]:
    """Return the summary's bytes, and every judged window with its counts as it was kept."""
    with sqlite3.connect(out / "history.sqlite") as history:
        wanted = "select start_s, revision, record from samescore_drift_window order by 1, 2"
        records = history.execute(wanted).fetchall()
    history.close()
    (summary,) = out.rglob("summary.json")
    return summary.read_bytes(), records


def test_every_engine_says_the_same_to_the_byte(
    long_log: LongLog, tiny: Tiny, tmp_path: Path
) -> None:
    printed = {n: said(long_log, tiny, tmp_path / n, *how) for n, how in ENGINES.items()}
    texts = {name: orjson.dumps(value) for name, value in printed.items()}
    assert texts["one"] == texts["two"] == texts["spark"]
    left = {name: kept(tmp_path / name) for name in ENGINES}
    assert left["one"] == left["two"] == left["spark"]
    found = printed["spark"]
    assert sum(w["requests"] for w in found["windows"]) == long_log.counted
    assert len(found["windows"]) == 20
    assert {w["verdict"] for w in found["windows"]} == {"drift", "no_drift"}
    skipped = found["skipped"]
    assert skipped["damaged_lines"] == long_log.damaged_lines > 0
    assert skipped["torn_tails"] == long_log.torn_tails > 0
    assert skipped["other_models"] == long_log.other_models > 0


@pytest.mark.parametrize(
    "master",
    [
        pytest.param("local[2,4]", id="workers die, and their tasks are run again"),
        pytest.param("local-cluster[2,1,1024]", id="an executor dies, with all that it has done"),
    ],
)
def test_what_dies_counts_nothing_twice_and_loses_nothing(
    long_log: LongLog, tiny: Tiny, tmp_path: Path, master: str
) -> None:
    module = (sys.executable, "-m", "tests.fixtures.drift_alone")
    units, again, same, heavy, noticed = finished(
        *module, long_log.folder, tiny.bundle, tmp_path, master
    ).split()[-5:]
    assert int(units) > 16, "several waves of tasks"
    assert int(again) >= 2, "units were done again"
    assert (same, heavy, noticed) == (b"True", b"-", b"True")


def test_spark_submit_says_which_master(long_log: LongLog, tiny: Tiny, tmp_path: Path) -> None:
    script = tmp_path / "drift.py"
    script.write_text("from samescore.cli import main\n\nmain()\n")
    here = ("spark.driver.host=127.0.0.1", "spark.driver.bindAddress=127.0.0.1")
    conf = [part for each in here for part in ("--conf", each)]
    shell = 'PATH="$0:$PATH" exec spark-submit "$@"'  # it asks the PATH for its Python
    submit = ("sh", "-c", shell, Path(sys.executable).parent, "--master", "local[2]", *conf)
    options = ("--bundle", tiny.bundle, "--out", tmp_path / "submit", "--include-open")
    finished(*submit, script, "drift", "run", long_log.folder, *options, "--engine", "spark")
    said(long_log, tiny, tmp_path / "one")
    assert kept(tmp_path / "submit") == kept(tmp_path / "one")


def test_a_process_that_dies_is_told(long_log: LongLog, tiny: Tiny, tmp_path: Path) -> None:
    work = Dying(job_of(long_log.folder, tiny), tmp_path)
    units = list(enumerate(cut_units(long_log.folder, 200_000)))
    with pytest.raises(EngineError, match=r"a drift process died .* fewer --jobs than 2$"):
        list(Processes(2).run(work, units, lambda _: None))
