"""`samescore replay`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import click

from consistency.compare import Tolerance
from consistency.log.selection import LogSelection
from consistency.replay import BatchPlan, ReplayMode, ReplaySettings
from consistency.replay.units import cut_log
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from samescore.cli.engine_options import engine_options
from samescore.cli.log.selection import selection_options
from samescore.cli.options import (
    FOLDER,
    BasePath,
    EnumValue,
    device_option,
    json_option,
    model_trust,
    opaque_specs,
    pipeline_option,
    print_json,
    service_option,
    snapshots_option,
    threads_option,
    trust_options,
)
from samescore.cli.replay.options import checkpoint_option, output_options
from samescore.engines.work import Engine
from samescore.progress import byte_progress
from samescore.replays.outputs import ReplayOutputs
from samescore.replays.run import run_replay
from samescore.replays.targets import BundleTargets
from samescore.replays.text import notes_of, show
from samescore.replays.units import ReplayJob


class _BatchSize(click.ParamType[BatchPlan]):
    name = "rows|logged"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BatchPlan:
        text = str(value)
        rows = int(text) if text.isascii() and text.isdigit() else 0
        if text != "logged" and rows < 1:
            self.fail(f"{text!r}: give a number of rows, or 'logged'", param, ctx)
        return BatchPlan(rows or None)


class _Options(TypedDict):
    """What a replay can be told, as click gives it."""

    bundles: Path | None
    base_paths: tuple[tuple[str, Path], ...]
    pipelines: tuple[str, ...]
    snapshots: Path | None
    services: tuple[tuple[tuple[str, int], str, Path], ...]
    mode: ReplayMode
    batch_size: BatchPlan
    decimals: int
    selection: LogSelection
    sample: float
    threads: int
    device: str
    trust_types: tuple[str, ...]
    allow_pickle: bool
    engine: Engine
    checkpoint: Path | None
    outputs: ReplayOutputs


@click.command("replay")
@click.argument("log", type=FOLDER)
@click.option("--bundles", type=FOLDER, help="The folder that was served.")
@click.option("--model-base-path", "base_paths", type=BasePath(), multiple=True,
              help="Where the model server had a model from, if not from --bundles/NAME; repeat "
              "for several.")  # fmt: skip
@pipeline_option
@snapshots_option
@service_option
@click.option(
    "--mode", type=EnumValue(ReplayMode), default=ReplayMode.FULL.value, show_default=True,
    help="full: payload to features to score; features: logged features to score; pipeline: "
    "payload to features only.",
)  # fmt: skip
@click.option("--batch-size", type=_BatchSize(), default="4096", show_default=True,
              help="Rows scored at once; 'logged': as they were.")  # fmt: skip
@click.option("--decimals", type=click.IntRange(0, 16), default=10, show_default=True,
              help="That must agree.")  # fmt: skip
@selection_options
@click.option("--sample", type=click.FloatRange(0, 1, min_open=True), default=1.0,
              show_default=True, help="Only this share: by the log's key, or by request id where "
              "a request has none; the same ones every time.")  # fmt: skip
@threads_option
@device_option
@trust_options
@engine_options
@checkpoint_option
@output_options
@json_option
def command(log: Path, as_json: bool, **options: Unpack[_Options]) -> None:
    """Score the request log in LOG again, from its bytes, and compare with what was answered.

    \b
    Example:
      samescore replay requests --bundles models --pipeline flights_features

    Exit code 0: every row of every stage agrees; 1: something differs, is damaged, or there is
    nothing to replay; 2: wrong usage or unusable input.
    """
    outputs = options["outputs"]
    outputs.check(log)
    job, engine = _job(log, options), options["engine"]
    units = cut_log(log, job.settings.selection)
    with byte_progress("replaying", sum(unit.size_bytes for unit in units)) as step:
        run = run_replay(
            job,
            engine,
            units=units,
            checkpoint=options["checkpoint"],
            out=outputs.folder,
            on_bytes=step,
        )
    for note in notes_of(run):
        click.echo(note, err=True)
    if as_json:
        print_json(run.report.to_json())
    else:
        show(run.report)
    outputs.write(run.report, time.time())
    sys.exit(0 if run.report.agrees else 1)


def _bundles(options: _Options) -> Path:
    if options["bundles"] is not None:
        return options["bundles"]
    named = [path for _, path in options["base_paths"]] + [s[-1] for s in options["services"]]
    if not named:
        raise click.UsageError("name the folder that was served with --bundles FOLDER")
    return named[0].parent


def _job(log: Path, options: _Options) -> ReplayJob:
    bundles, mode = _bundles(options), options["mode"]
    targets = BundleTargets(
        bundles,
        SnapshotStore(options["snapshots"] or bundles / SNAPSHOT_FOLDER),
        frozenset(options["pipelines"]),
        opaque_specs(options["services"]),
        options["threads"],
        with_pipeline=mode is not ReplayMode.FEATURES,
        device=options["device"],
        trust=model_trust(options["trust_types"], options["allow_pickle"]),
        base_paths=dict(options["base_paths"]),
    )
    selection = replace(options["selection"], sample_ratio=options["sample"])
    tolerance = Tolerance(options["decimals"])
    settings = ReplaySettings(mode, options["batch_size"], tolerance, selection=selection)
    return ReplayJob(log, targets, settings, with_rows=options["outputs"].folder is not None)
