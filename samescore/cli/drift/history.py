"""`samescore drift show` and `samescore drift history`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.errors import MonitorError
from samescore.cli.drift.options import history_option
from samescore.cli.options import FOLDER, json_option, print_json
from samescore.drifts.history_text import (
    point_summary,
    revision_json,
    revisions_table,
    trend_table,
)
from samescore.drifts.run import window_summary
from samescore.drifts.text import windows_table

if TYPE_CHECKING:
    from monitors.drift.history import DriftHistory
    from monitors.drift.revision import JobState

_folder = click.argument("folder", type=FOLDER, required=False)
_last = click.option("--last", type=click.IntRange(1), default=400, show_default=True,
                     help="So many of the latest windows.")  # fmt: skip


@click.command("show")
@_folder
@history_option
@_last
@json_option
def show(folder: Path | None, history: str | None, last: int, as_json: bool) -> None:
    """Show the windows that were judged so far, as they stand, from FOLDER or --history.

    \b
    Example:
      samescore drift show drift

    Exit code 2 when there are none.
    """
    with _opened(folder, history) as (held, jobs):
        found = [(job, held.records(job, last)) for job in jobs]
    if as_json:
        print_json(
            [
                _job_json(job) | {"windows": [window_summary(r) for r in records]}
                for job, records in found
            ]
        )
        return
    for job, records in found:
        Console().print(windows_table(job.name, records))


@click.command("history")
@_folder
@history_option
@click.option("--feature", metavar="NAME", help="The trend of one feature, or of the score.")
@click.option("--model", metavar="NAME", help="Only this model.")
@_last
@json_option
def history(
    folder: Path | None,
    history: str | None,
    feature: str | None,
    model: str | None,
    last: int,
    as_json: bool,
) -> None:
    """Show every judgement that was made of each window, and why, from FOLDER or --history.

    A window is judged again when rows come late, when settings change, or when a window before it
    did; its first verdict stays in the history. With --feature: how far it was off in each window.

    \b
    Example:
      samescore drift history drift --feature temp

    Exit code 2 when there are none.
    """
    with _opened(folder, history, model) as (held, jobs):
        if feature is not None:
            _trends(held, jobs, feature, last, as_json)
            return
        found = [(job, held.revisions(job, last)) for job in jobs]
    if as_json:
        print_json(
            [_job_json(job) | {"judgements": [revision_json(r) for r in each]}
             for job, each in found]
        )  # fmt: skip
        return
    for job, each in found:
        Console().print(revisions_table(job.name, each))


def _trends(
    held: DriftHistory, jobs: list[JobState], feature: str, last: int, as_json: bool
) -> None:
    found = [(job, held.trend(job, feature, last)) for job in jobs]
    if as_json:
        print_json(
            [
                _job_json(job) | {"feature": feature, "trend": [point_summary(p) for p in points]}
                for job, points in found
            ]
        )
        return
    for job, points in found:
        Console().print(trend_table(f"{job.name}: {feature}", points))


@contextmanager
def _opened(
    folder: Path | None, url: str | None, model: str | None = None
) -> Iterator[tuple[DriftHistory, list[JobState]]]:
    """Open a history that is there, and yield it with its jobs.

    Raises:
        MonitorError: it holds no judged window.
        UsageError: neither or both are named.
    """
    if (folder is None) == (url is None):
        raise click.UsageError("name the --out folder of samescore drift run, or its --history")
    if importlib.util.find_spec("sqlalchemy") is None:
        raise ConfigError("samescore drift needs sqlalchemy; pip install 'samescore[drift]'")
    from monitors.drift.database import SQLITE_FILE, Database, sqlite_url
    from monitors.drift.history import DriftHistory

    if folder is not None:
        path = folder / SQLITE_FILE
        if not path.is_file():
            raise MonitorError(
                f"{folder}: no judged window in it; name the --out of samescore drift run"
            )
        url = sqlite_url(path.resolve())
    assert url is not None
    with DriftHistory(Database(url)) as held:
        jobs = [
            job for job in held.jobs() if model in (None, job.subject.model) and held.count(job)
        ]
        if not jobs:
            of_model = "" if model is None else f" of model {model!r}"
            raise MonitorError(
                f"{held.place}: no judged window{of_model} in it; name the --history of samescore "
                f"drift run"
            )
        yield held, jobs


def _job_json(job: JobState) -> dict[str, Json]:
    return {
        "model": job.subject.model,
        "version": job.subject.version,
        "bundle_digest": job.subject.bundle_digest,
        "window": str(job.length),
        "by": job.subject.by.value,
    }
