"""The options of `samescore drift run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import click

from consistency.errors import ConfigError
from monitors.drift.baseline import Baseline
from monitors.drift.windows import TimeBasis, WindowLength
from samescore.cli.log.selection import Time
from samescore.cli.options import (
    ANY_PATH,
    FOLDER,
    EnumValue,
    threads_option,
    trust_options,
)
from samescore.drifts.run import MOST_WINDOWS

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class DriftOptions(TypedDict):
    """What a run can be told, as click gives it."""

    bundle: Path
    length: WindowLength
    by: TimeBasis
    out: Path | None
    history: str | None
    lateness: int
    until: int | None
    most_windows: int
    include_open: bool
    last: int
    textfile: Path | None
    pushgateway: str | None
    threshold: float
    significance: float
    min_rows: int
    report_only: tuple[str, ...]
    baseline: Baseline
    false_alarm_windows: float
    with_html: bool
    root_cause: bool
    segments: tuple[str, ...]
    threads: int
    trust_types: tuple[str, ...]
    allow_pickle: bool


class Length(click.ParamType[WindowLength]):
    """The length of a window: a number and a unit."""

    name = "length"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> WindowLength:
        """Read `30m`, `6h`, `1d`."""
        try:
            return WindowLength.parse(str(value))
        except ConfigError as e:
            self.fail(str(e), param, ctx)


class Lateness(click.ParamType[int]):
    """How long something may be late, in seconds: a number and a unit, or 0."""

    name = "length"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read `0`, `6h`, `1d`."""
        if value == "0":
            return 0
        try:
            return WindowLength.parse(str(value)).seconds
        except ConfigError:
            self.fail(
                f"lateness {value!r}: give 0, or a number and one of s, m, h, d, w, for example "
                f"1d, of at most 366 days",
                param,
                ctx,
            )


history_option = click.option(
    "--history",
    metavar="URL",
    help="Database that keeps every judgement, as SQLAlchemy writes it: "
    "postgresql+psycopg://user@host/name.  [default: history.sqlite in the folder of --out]",
)

_OPTIONS: Final = (
    click.option("--bundle", type=FOLDER, required=True, metavar="DIR",
                 help="The bundle that served: BASE/MODEL/VERSION."),
    click.option("--window", "length", type=Length(), default="1d", show_default=True,
                 help="Length of a window: 30m, 6h, 1d, 7d; aligned to the epoch in UTC."),
    click.option("--by", type=EnumValue(TimeBasis), default=TimeBasis.EVENT.value,
                 show_default=True, help="Time that puts a request into its window; one without "
                 "an event time goes by its ingest time."),
    click.option("--out", type=ANY_PATH, metavar="FOLDER",
                 help="Where history, summary and report are kept.  [default: LOG/../drift]"),
    history_option,
    click.option("--lateness", type=Lateness(), default="1d", show_default=True,
                 help="How long after its end a window takes requests that come late, and is "
                 "judged again; later ones are counted as too late."),
    click.option("--until", type=Time(), metavar="TIME",
                 help="Judge as if it were then: 2026-01-31T12:00Z, or 2h (ago).  [default: now]"),
    click.option("--most-windows", type=click.IntRange(1), default=MOST_WINDOWS, show_default=True,
                 help="Judged in one run, the oldest first; the next run goes on."),
    click.option("--include-open", is_flag=True,
                 help="Also judge the window that is not over yet."),
    click.option("--last", type=click.IntRange(1), default=1, show_default=True,
                 help="So many of the latest windows decide the exit code."),
    click.option("--threshold", type=float, default=0.25, show_default=True,
                 help="Without calibrated thresholds: the largest population stability index that "
                 "does not matter."),
    click.option("--significance", type=float, default=0.001, show_default=True,
                 help="Without calibrated thresholds: chance of a false alarm of a window by "
                 "sampling noise."),
    click.option("--baseline", type=EnumValue(Baseline), default=Baseline.REFERENCE.value,
                 show_default=True, help="What says how windows vary without drift: the days of "
                 "the reference, the windows before (rolling), or sampling noise alone."),
    click.option("--false-alarm-windows", type=float, default=60.0, show_default=True,
                 help="With calibrated thresholds: windows between two false alarms."),
    click.option("--min-rows", type=click.IntRange(1), default=200, show_default=True,
                 help="A window with fewer scored rows gets no verdict."),
    click.option("--report-only", multiple=True, metavar="FEATURE",
                 help="Measured, but does not decide: a name or a pattern; repeat."),
    click.option("--textfile", type=ANY_PATH, metavar="FILE.prom",
                 help="Metrics for node_exporter's textfile collector."),
    click.option("--pushgateway", metavar="URL", help="Push the metrics to this Pushgateway."),
    click.option("--html", "with_html", is_flag=True, help="Write report.html, plots included."),
    click.option("--root-cause", is_flag=True,
                 help="Load the model and have it score the latest window's rows anew, with the "
                 "training distribution of single features put back: proves what moved the score."),
    click.option("--segment", "segments", multiple=True, metavar="FIELD",
                 help="Also tell in which values of this raw record field, or feature, the score "
                 "moved; repeat."),
    threads_option,
    trust_options,
)  # fmt: skip


def drift_options(function: F) -> F:
    """Add the options; the command gets them as `DriftOptions`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
