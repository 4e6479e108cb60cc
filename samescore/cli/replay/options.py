"""The options of `samescore replay` that say what it keeps, and where its results go."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from samescore.cli.options import ANY_PATH
from samescore.replays.outputs import ReplayOutputs

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


checkpoint_option = click.option(
    "--checkpoint",
    type=ANY_PATH,
    metavar="FOLDER",
    help="Keep what is done there; a second run does only what is left.",
)

_OUTPUT_OPTIONS: Final = (
    click.option("--out", type=ANY_PATH, metavar="FOLDER",
                 help="Write replay.json and rows.parquet, the result of each row."),
    click.option("--html", is_flag=True, help="Write report.html into --out, plots included."),
    click.option("--textfile", type=ANY_PATH, metavar="FILE.prom",
                 help="Metrics for node_exporter's textfile collector."),
    click.option("--pushgateway", metavar="URL", help="Push the metrics to this Pushgateway."),
)  # fmt: skip


def output_options(function: F) -> F:
    """Add the options of the outputs; the command gets them as `outputs`."""

    @wraps(function)
    def command(**given: Any) -> Any:  # noqa: ANN401 - click's own signature
        names = ("out", "html", "textfile", "pushgateway")
        return function(**given, outputs=ReplayOutputs(*(given.pop(n) for n in names)))

    for option in reversed(_OUTPUT_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value] # the same command, less three parameters
