"""`samescore drift run|show`."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import click
from rich.console import Console

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.drift.baseline import Baseline
from monitors.drift.judgement import Thresholds
from monitors.drift.record import WindowRecord
from monitors.drift.store import WindowStore, find_jobs
from monitors.drift.windows import TimeBasis, WindowLength
from monitors.errors import MonitorError
from samescore.cli.options import ANY_PATH, FOLDER, EnumValue, json_option, print_json
from samescore.drifts.job import run_drift, write_summary
from samescore.drifts.run import EXIT_CODES, DriftJob, DriftRun, Outcome, window_summary
from samescore.drifts.text import conclusion, show_run, warnings_of, windows_table
from samescore.progress import progress


class _Length(click.ParamType[WindowLength]):
    name = "length"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> WindowLength:
        try:
            return WindowLength.parse(str(value))
        except ConfigError as e:
            self.fail(str(e), param, ctx)


class _Options(TypedDict):
    """What a run can be told, as click gives it."""

    bundle: Path
    length: WindowLength
    by: TimeBasis
    out: Path | None
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


@click.group("drift")
def command() -> None:
    """Judge the windows of a request log against the frozen reference."""


@command.command("run")
@click.argument("log", type=FOLDER)
@click.option("--bundle", type=FOLDER, required=True, metavar="DIR",
              help="The bundle that served: BASE/MODEL/VERSION.")  # fmt: skip
@click.option("--window", "length", type=_Length(), default="1d", show_default=True,
              help="Length of a window: 30m, 6h, 1d, 7d; aligned to the epoch in UTC.")  # fmt: skip
@click.option("--by", type=EnumValue(TimeBasis), default=TimeBasis.EVENT.value, show_default=True,
              help="Time that puts a request into its window; one without an event time goes by "
              "its ingest time.")  # fmt: skip
@click.option("--out", type=ANY_PATH, metavar="FOLDER",
              help="Where judged windows are kept.  [default: LOG/../drift]")  # fmt: skip
@click.option("--include-open", is_flag=True, help="Also judge the window that is not over yet.")
@click.option("--last", type=click.IntRange(1), default=1, show_default=True,
              help="So many of the latest windows decide the exit code.")  # fmt: skip
@click.option("--threshold", type=float, default=0.25, show_default=True,
              help="Without calibrated thresholds: the largest population stability index that "
              "does not matter.")  # fmt: skip
@click.option("--significance", type=float, default=0.001, show_default=True,
              help="Without calibrated thresholds: chance of a false alarm of a window by "
              "sampling noise.")  # fmt: skip
@click.option("--baseline", type=EnumValue(Baseline), default=Baseline.REFERENCE.value,
              show_default=True, help="What says how windows vary without drift: the days of the "
              "reference, the windows before (rolling), or sampling noise alone.")  # fmt: skip
@click.option("--false-alarm-windows", type=float, default=60.0, show_default=True,
              help="With calibrated thresholds: windows between two false alarms.")  # fmt: skip
@click.option("--min-rows", type=click.IntRange(1), default=200, show_default=True,
              help="A window with fewer scored rows gets no verdict.")  # fmt: skip
@click.option("--report-only", multiple=True, metavar="FEATURE",
              help="Measured, but does not decide: a name or a pattern; repeat.")  # fmt: skip
@click.option("--textfile", type=ANY_PATH, metavar="FILE.prom",
              help="Metrics for node_exporter's textfile collector.")  # fmt: skip
@click.option("--pushgateway", metavar="URL", help="Push the metrics to this Pushgateway.")
@click.option("--html", "with_html", is_flag=True, help="Write report.html, plots included.")
@json_option
def run(log: Path, as_json: bool, **options: Unpack[_Options]) -> None:
    """Judge the windows of the request log in LOG.

    Counts features and scores by window, in the buckets that were frozen at training, and keeps one
    JSON file a window. Running it again changes nothing, unless the log has changed.

    \b
    Example:
      samescore drift run requests --bundle models/flights/1 --window 1d --html

    Exit code 0: no drift in the latest window (see --last); 1: drift; 2: nothing to judge, wrong
    usage or unusable input.
    """
    _check_outputs(options)
    with progress("counting", None) as step:
        found = run_drift(_job(log, options), time.time(), step)
    write_summary(found)
    if options["with_html"]:
        from samescore.drifts.report import write_report

        write_report(found)
    if as_json:
        changes = {w.start: change.value for w, change in found.changes.items()}
        print_json(found.to_json() | {"folder": str(found.folder), "changes": changes})
        if found.outcome is Outcome.NOTHING_TO_JUDGE:
            click.echo(conclusion(found), err=True)
    else:
        show_run(found)
    for line in warnings_of(found):
        click.echo(f"warning: {line}", err=True)
    _export(found, options)
    sys.exit(EXIT_CODES[found.outcome])


def _job(log: Path, options: _Options) -> DriftJob:
    thresholds = Thresholds(
        options["threshold"],
        options["significance"],
        options["min_rows"],
        tuple(sorted(set(options["report_only"]))),
        options["false_alarm_windows"],
    )
    return DriftJob(
        log=log,
        bundle=options["bundle"],
        length=options["length"],
        by=options["by"],
        out=options["out"],
        thresholds=thresholds,
        baseline=options["baseline"],
        include_open=options["include_open"],
        last=options["last"],
    )


def _check_outputs(options: _Options) -> None:
    """Refuse what could not be written before the log is read."""
    needed = ["scipy"]
    needed += ["jinja2", "matplotlib"] * options["with_html"]
    textfile, url = options["textfile"], options["pushgateway"]
    needed += ["prometheus_client"] * (textfile is not None or url is not None)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"samescore drift needs {', '.join(missing)}; pip install 'samescore[drift]'"
        )
    if textfile is None and url is None:
        return
    from monitors.job_exposition import check_pushgateway, check_textfile

    if textfile is not None:
        check_textfile(textfile)
    if url is not None:
        check_pushgateway(url)


def _export(found: DriftRun, options: _Options) -> None:
    """Write the metrics; without a verdict the old ones stay, and their age raises the alert."""
    textfile, url = options["textfile"], options["pushgateway"]
    if found.latest is None or (textfile is None and url is None):
        return
    from monitors.drift.exposition import drift_metrics, push
    from monitors.job_exposition import write_textfile

    registry = drift_metrics(found.latest, time.time())
    if textfile is not None:
        write_textfile(textfile, registry)
    if url is not None:
        push(url, registry, found.subject.model, found.subject.version)


@command.command("show")
@click.argument("folder", type=FOLDER)
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Show the windows that were judged so far and kept in FOLDER.

    \b
    Example:
      samescore drift show drift

    Exit code 2 when there are none.
    """
    jobs = {path: WindowStore(path).load() for path in find_jobs(folder)}
    if not jobs:
        raise MonitorError(
            f"{folder}: no judged window in it; name the --out of samescore drift run"
        )
    if as_json:
        print_json([_job_json(path, records) for path, records in jobs.items()])
        return
    console = Console()
    for path, records in jobs.items():
        console.print(windows_table(path.relative_to(folder.parent).as_posix(), records))


def _job_json(path: Path, records: Sequence[WindowRecord]) -> dict[str, Json]:
    subject = records[-1].subject
    return {
        "folder": str(path),
        "model": subject.model,
        "version": subject.version,
        "by": subject.by.value,
        "windows": [window_summary(record) for record in records],
    }
