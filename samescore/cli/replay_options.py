"""The options of `samescore replay` that say who does the work, and where its results go."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any, Final, TypeVar

import click

from samescore.cli.options import ANY_PATH, EnumValue
from samescore.replays.outputs import ReplayOutputs
from samescore.replays.parallel import Processes
from samescore.replays.units import Engine, InProcess

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class EngineName(StrEnum):
    """Where a replay runs."""

    LOCAL = "local"
    SPARK = "spark"


_ENGINE_OPTIONS: Final = (
    click.option("--engine", "engine_name", type=EnumValue(EngineName),
                 default=EngineName.LOCAL.value, show_default=True,
                 help="local: this machine; spark: the same core on Spark."),
    click.option("--jobs", type=click.IntRange(1, 256), metavar="N",
                 help="Processes of --engine local, each with the models loaded.  [default: 1]"),
    click.option("--spark-master", metavar="MASTER",
                 help="Of --engine spark: local[N], or a cluster's URL.  [default: local[*]]"),
    click.option("--checkpoint", type=ANY_PATH, metavar="FOLDER",
                 help="Keep what is done there; a second run does only what is left."),
)  # fmt: skip

_OUTPUT_OPTIONS: Final = (
    click.option("--out", type=ANY_PATH, metavar="FOLDER",
                 help="Write replay.json and rows.parquet, the result of each row."),
    click.option("--html", is_flag=True, help="Write report.html into --out, plots included."),
    click.option("--textfile", type=ANY_PATH, metavar="FILE.prom",
                 help="Metrics for node_exporter's textfile collector."),
    click.option("--pushgateway", metavar="URL", help="Push the metrics to this Pushgateway."),
)  # fmt: skip


def engine_options(function: F) -> F:
    """Add the options of the engine; the command gets it as `engine`."""

    @wraps(function)
    def command(**given: Any) -> Any:  # noqa: ANN401 - click's own signature
        engine = _engine(given.pop("engine_name"), given.pop("jobs"), given.pop("spark_master"))
        return function(**given, engine=engine)

    for option in reversed(_ENGINE_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value] # the same command, less two parameters


def output_options(function: F) -> F:
    """Add the options of the outputs; the command gets them as `outputs`."""

    @wraps(function)
    def command(**given: Any) -> Any:  # noqa: ANN401 - click's own signature
        names = ("out", "html", "textfile", "pushgateway")
        return function(**given, outputs=ReplayOutputs(*(given.pop(n) for n in names)))

    for option in reversed(_OUTPUT_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value] # the same command, less three parameters


def _engine(name: EngineName, jobs: int | None, spark_master: str | None) -> Engine:
    if name is EngineName.SPARK:
        if jobs is not None:
            raise click.UsageError("--jobs is for --engine local; say --spark-master 'local[N]'")
        from samescore.replays.spark import Spark, check_spark

        check_spark()
        return Spark(spark_master or "local[*]")
    if spark_master is not None:
        raise click.UsageError("--spark-master is for --engine spark")
    return InProcess() if jobs in (None, 1) else Processes(jobs)
