"""Does units on Spark: each unit a task, the same code, and so the same result, bit for bit.

Spark carries units out and results home, nothing else: no figure is computed by Spark, no row is
shuffled, and the driver adds up with the code that adds up for one process. A task that is run
again (a lost executor, speculation) yields its unit's one result again; Spark hands on one of them.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consistency.errors import ConfigError
from samescore.engines.errors import EngineError
from samescore.engines.seen import Seen, check_seen
from samescore.engines.work import NumberedUnit, OnBytes, R, Runner, Work

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

WAVE: Final = 4
"""Tasks a core that are handed out at once: what the driver holds of results is bounded."""

_CONF: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
_LOCAL_CONF: Final = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
_MASTER: Final = "local[*]"
_SUBMITTED: Final = "PYSPARK_GATEWAY_PORT"
"""Set by spark-submit, whose options then say which master and which Python."""

_runners: dict[str, Runner[object]] = {}  # of this worker process: Spark keeps it between tasks


@dataclass(frozen=True, slots=True)
class Spark:
    """Does units on Spark; see `Engine`.

    Attributes:
        master: `local[*]`, `local[N]`, or a cluster's URL; there, log, bundles and packages must be
            at the same paths on every machine. None: what spark-submit says, else `local[*]`.
    """

    master: str | None = None

    def run(self, work: Work[R], units: Sequence[NumberedUnit], on_bytes: OnBytes) -> Iterator[R]:
        """Yield a result for each unit; see `Engine`."""
        if not units:
            return
        log, work = work.log, work.anywhere()
        with _context(self.master, work.name) as context:
            # a worker process outlives a job: it must not take another job's runner for ours
            name = uuid.uuid4().hex
            wave = context.defaultParallelism * WAVE
            for start in range(0, len(units), wave):
                part = units[start : start + wave]
                for (seen, result), (_, unit) in zip(
                    _collect(context, name, work, part), part, strict=True
                ):
                    check_seen(log, unit, seen)
                    yield result
                on_bytes(sum(unit.size_bytes for _, unit in part))


def check_spark() -> None:
    """Refuse when Spark cannot be had, before any work is done.

    Raises:
        ConfigError: saying what to install.
    """
    try:
        import pyspark  # noqa: F401 - whether it is there
    except ModuleNotFoundError as e:
        raise ConfigError("--engine spark needs pyspark; pip install 'samescore[spark]'") from e
    if not _has_java():
        raise ConfigError(
            "--engine spark needs Java 17 or newer: JAVA_HOME names none and there is no java on "
            "the PATH; install one (apt-get install openjdk-17-jre-headless), or go without Spark"
        )


def _has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    if home:  # then Spark looks nowhere else
        return (Path(home) / "bin" / "java").exists()
    return _SUBMITTED in os.environ or shutil.which("java") is not None


@contextmanager
def _context(master: str | None, name: str) -> Iterator[SparkContext]:
    """Use the application that is running, or run one for as long as the block runs."""
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        yield running.sparkContext
        return
    session = _new_session(master, name)
    try:
        yield session.sparkContext
    finally:
        session.stop()


def _new_session(master: str | None, name: str) -> SparkSession:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(f"samescore {name}")
    if master is None and _SUBMITTED not in os.environ:
        master = _MASTER
    conf = dict(_CONF)
    if master is not None:
        builder = builder.master(master)
        conf |= _LOCAL_CONF if master.startswith("local") else {}
        os.environ["PYSPARK_PYTHON"] = sys.executable  # or a worker may be another Python
    for key, value in conf.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except Exception as e:
        raise ConfigError(f"spark master {master!r}: {_reason(e)}; it needs Java 17") from e


def _collect(
    context: SparkContext, name: str, work: Work[R], units: Sequence[NumberedUnit]
) -> list[tuple[Seen, R]]:
    paths = tuple(sys.path)

    def do_units(numbered: Iterable[NumberedUnit]) -> Iterator[tuple[Seen, R]]:
        return _run(name, work, paths, numbered)

    try:
        return context.parallelize(units, len(units)).mapPartitions(do_units).collect()
    except Exception as e:
        raise EngineError(f"a Spark task died: {_reason(e)}{work.advice}") from e


def _run(
    name: str, work: Work[R], paths: Sequence[str], units: Iterable[NumberedUnit]
) -> Iterator[tuple[Seen, R]]:
    # packages are looked for where the driver looks for them
    sys.path.extend(path for path in paths if path not in sys.path)
    if name not in _runners:
        _runners.clear()
        _runners[name] = work.start()
    for numbered in units:
        seen = Seen.here(work.log, numbered[1])
        yield seen, _runners[name].run(numbered)  # type: ignore[misc] # it is this work's


def _reason(error: Exception) -> str:
    """Return Spark's own first line; py4j's before it tells which call it was, not why."""
    lines = [line.removeprefix(": ") for line in str(error).strip().splitlines() if line.strip()]
    told = next((x for x in lines if not x.startswith("An error occurred while calling")), "")
    return told[:300] or type(error).__name__
