"""Replays units on Spark: each unit a task, the same core, and so the same verdict, bit for bit.

Spark carries units out and results home, nothing else: no figure is computed by Spark, no row is
shuffled, and the driver adds up with the code that adds up for one process.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from consistency.errors import ConfigError, ReplayError
from consistency.snapshots import SnapshotStore
from samescore.replays.units import NumberedUnit, OnBytes, ReplayJob, UnitResult, UnitRunner

if TYPE_CHECKING:
    from pyspark import SparkContext

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

_runners: dict[str, UnitRunner] = {}  # of this worker process: Spark keeps it from task to task


@dataclass(frozen=True, slots=True)
class Spark:
    """Replays on Spark; see `Engine`.

    Attributes:
        master: `local[*]`, `local[N]`, or a cluster's URL; there, log, bundles and packages must be
            at the same paths on every machine.
    """

    master: str = "local[*]"

    def run(
        self, job: ReplayJob, units: Sequence[NumberedUnit], on_bytes: OnBytes
    ) -> Iterator[UnitResult]:
        """Yield a result for each unit; see `Engine`."""
        if not units:
            return
        job = _anywhere(job)
        with _context(self.master) as context:
            # a worker process outlives a job: it must not take another job's runner for ours
            name = uuid.uuid4().hex
            wave = context.defaultParallelism * WAVE
            for start in range(0, len(units), wave):
                part = units[start : start + wave]
                yield from _collect(context, name, job, part)
                on_bytes(sum(unit.size_bytes for _, unit in part))


def _anywhere(job: ReplayJob) -> ReplayJob:
    """Return the job with absolute paths: a worker has another working directory."""
    targets = job.targets
    store = SnapshotStore(targets.store.root.absolute())
    services = tuple(replace(s, model_path=s.model_path.absolute()) for s in targets.services)
    found = replace(
        targets.unloaded(), base=targets.base.absolute(), store=store, services=services
    )
    return replace(job, log=job.log.absolute(), targets=found)


def check_spark() -> None:
    """Refuse when Spark cannot be had, before any work is done.

    Raises:
        ConfigError: saying what to install.
    """
    try:
        import pyspark  # noqa: F401 - whether it is there
    except ModuleNotFoundError as e:
        raise ConfigError("--engine spark needs pyspark; pip install 'samescore[spark]'") from e


@contextmanager
def _context(master: str) -> Iterator[SparkContext]:
    """Use the application that is running, or run one for as long as the block runs."""
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        yield running.sparkContext
        return
    os.environ["PYSPARK_PYTHON"] = sys.executable  # or a worker may be another Python
    builder = SparkSession.builder.master(master).appName("samescore replay")
    for key, value in (_CONF | (_LOCAL_CONF if master.startswith("local") else {})).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as e:
        raise ConfigError(f"spark master {master!r}: {_first_line(e)}; it needs Java 17") from e
    try:
        yield session.sparkContext
    finally:
        session.stop()


def _collect(
    context: SparkContext, name: str, job: ReplayJob, units: Sequence[NumberedUnit]
) -> list[UnitResult]:
    paths = tuple(sys.path)

    def replay_units(numbered: Iterable[NumberedUnit]) -> Iterator[UnitResult]:
        return _run(name, job, paths, numbered)

    try:
        return context.parallelize(units, len(units)).mapPartitions(replay_units).collect()
    except Exception as e:
        raise ReplayError(
            f"a Spark task died: {_first_line(e)}; with --checkpoint a second run goes on"
        ) from e


def _run(
    name: str, job: ReplayJob, paths: Sequence[str], units: Iterable[NumberedUnit]
) -> Iterator[UnitResult]:
    # packages are looked for where the driver looks for them
    sys.path.extend(path for path in paths if path not in sys.path)
    if name not in _runners:
        _runners.clear()
        _runners[name] = UnitRunner(job)
    return map(_runners[name].run, units)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
