"""The options that say who does the work on a log: this process, several, or Spark."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any, Final, TypeVar

import click

from samescore.cli.options import EnumValue
from samescore.engines.parallel import Processes
from samescore.engines.work import Engine, InProcess

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class EngineName(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    SPARK = "spark"


_OPTIONS: Final = (
    click.option("--engine", "engine_name", type=EnumValue(EngineName),
                 default=EngineName.LOCAL.value, show_default=True,
                 help="local: this machine; spark: the same core on Spark."),
    click.option("--jobs", type=click.IntRange(1, 256), metavar="N",
                 help="Processes of --engine local.  [default: 1]"),
    click.option("--spark-master", metavar="MASTER",
                 help="Of --engine spark: local[N], or a cluster's URL.  [default: local[*], or "
                 "what spark-submit says]"),
)  # fmt: skip


def engine_options(function: F) -> F:
    """Add the options of the engine; the command gets it as `engine`."""

    @wraps(function)
    def command(**given: Any) -> Any:  # noqa: ANN401 - click's own signature
        engine = _engine(given.pop("engine_name"), given.pop("jobs"), given.pop("spark_master"))
        return function(**given, engine=engine)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value] # the same command, less two parameters


def _engine(name: EngineName, jobs: int | None, spark_master: str | None) -> Engine:
    if name is EngineName.SPARK:
        if jobs is not None:
            raise click.UsageError("--jobs is for --engine local; say --spark-master 'local[N]'")
        from samescore.engines.spark import Spark, check_spark

        check_spark()
        return Spark(spark_master)
    if spark_master is not None:
        raise click.UsageError("--spark-master is for --engine spark")
    return InProcess() if jobs in (None, 1) else Processes(jobs)
