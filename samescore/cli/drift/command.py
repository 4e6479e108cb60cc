"""`samescore drift run|show|history`."""

from __future__ import annotations

import importlib.util
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

import click

from consistency.errors import ConfigError
from monitors.drift.judgement import Thresholds
from monitors.drift.record import Subject
from monitors.drift.windows import WindowLength
from monitors.reference import ReferenceSet
from samescore.cli.drift.history import history, show
from samescore.cli.drift.options import DriftOptions, drift_options
from samescore.cli.engine_options import engine_options
from samescore.cli.options import FOLDER, json_option, model_trust, print_json
from samescore.drifts.counted import Counted
from samescore.drifts.job import run_drift, write_summary
from samescore.drifts.run import EXIT_CODES, DriftJob, DriftRun, Outcome
from samescore.drifts.text import conclusion, show_run, warnings_of
from samescore.drifts.units import CountInUnits, size_bytes
from samescore.engines.work import Engine
from samescore.progress import byte_progress, progress


@click.group("drift")
def command() -> None:
    """Judge the windows of a request log against the frozen reference."""


command.add_command(show)
command.add_command(history)


@command.command("run")
@click.argument("log", type=FOLDER)
@drift_options
@engine_options
@json_option
def run(log: Path, engine: Engine, as_json: bool, **options: Unpack[DriftOptions]) -> None:
    """Judge the windows of the request log in LOG.

    Counts features and scores by window, in the buckets that were frozen at training, and keeps
    every judgement in a history. Running it again changes nothing, unless the log has changed;
    windows that were missed are made up for.

    \b
    Example:
      samescore drift run requests --bundle models/flights/1 --window 1d --html

    Exit code 0: no drift in the latest window (see --last); 1: drift; 2: nothing to judge, wrong
    usage or unusable input.
    """
    _check_outputs(options)
    count = partial(_counted, engine)
    found = run_drift(_job(log, options), time.time(), count, partial(progress, "judging windows"))
    found = _explained(found, options)
    write_summary(found)
    if options["with_html"]:
        from samescore.drifts.report import write_report

        write_report(found)
    if as_json:
        changes = {w.start: change.value for w, change in found.changes.items()}
        more = {"folder": str(found.folder), "history": found.place, "changes": changes}
        print_json(found.to_json() | more)
        if found.outcome is Outcome.NOTHING_TO_JUDGE:
            click.echo(conclusion(found), err=True)
    else:
        show_run(found)
    for line in warnings_of(found):
        click.echo(f"warning: {line}", err=True)
    _export(found, options)
    sys.exit(EXIT_CODES[found.outcome])


def _counted(
    engine: Engine, log: Path, subject: Subject, reference: ReferenceSet, length: WindowLength
) -> Counted:
    with byte_progress("counting", size_bytes(log)) as step:
        return CountInUnits(engine, step)(log, subject, reference, length)


def _explained(found: DriftRun, options: DriftOptions) -> DriftRun:
    """Return the run with its root cause; the model is loaded only where that was asked for."""
    from samescore.drifts.root_cause import CauseSettings, explain

    settings = CauseSettings(
        options["root_cause"],
        options["segments"],
        options["threads"],
        model_trust(options["trust_types"], options["allow_pickle"]),
    )
    with progress("explaining", None) as step:
        return replace(found, root_cause=explain(found, settings, step, step))


def _job(log: Path, options: DriftOptions) -> DriftJob:
    thresholds = Thresholds(
        options["threshold"],
        options["significance"],
        options["min_rows"],
        tuple(sorted(set(options["report_only"]))),
        options["false_alarm_windows"],
    )
    until_us = options["until"]
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
        history=options["history"],
        lateness_s=options["lateness"],
        until_s=None if until_us is None else until_us / 1e6,
        most_windows=options["most_windows"],
    )


def _check_outputs(options: DriftOptions) -> None:
    """Refuse what could not be written before the log is read."""
    needed = ["scipy", "sqlalchemy"]
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


def _export(found: DriftRun, options: DriftOptions) -> None:
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
