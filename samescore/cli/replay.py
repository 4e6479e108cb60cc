"""`samescore replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from consistency.compare import Tolerance
from consistency.replay import BatchPlan, ReplayMode, ReplayReport, ReplaySettings
from consistency.replay.report import ModelReport
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from samescore.cli.options import (
    FOLDER,
    EnumValue,
    json_option,
    opaque_specs,
    pipeline_option,
    print_json,
    service_option,
    snapshots_option,
    threads_option,
)
from samescore.progress import progress
from samescore.replaying import BundleTargets, replay_log


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


@click.command("replay")
@click.argument("log", type=FOLDER)
@click.option("--bundles", type=FOLDER, required=True, help="The folder that was served.")
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
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Replay only this model; repeat."
)
@threads_option
@json_option
def command(
    log: Path,
    bundles: Path,
    pipelines: tuple[str, ...],
    snapshots: Path | None,
    services: tuple[tuple[tuple[str, int], str, Path], ...],
    mode: ReplayMode,
    batch_size: BatchPlan,
    decimals: int,
    models: tuple[str, ...],
    threads: int,
    as_json: bool,
) -> None:
    """Score the request log in LOG again, from its bytes, and compare with what was answered.

    \b
    Example:
      samescore replay requests --bundles models --pipeline flights_features

    Exit code 0: every row of every stage agrees; 1: something differs, is damaged, or there is
    nothing to replay; 2: wrong usage or unusable input.
    """
    targets = BundleTargets(
        bundles,
        SnapshotStore(snapshots or bundles / SNAPSHOT_FOLDER),
        frozenset(pipelines),
        opaque_specs(services),
        threads,
        with_pipeline=mode is not ReplayMode.FEATURES,
    )
    settings = ReplaySettings(mode, batch_size, Tolerance(decimals))
    with progress("replaying", None) as step:
        report = replay_log(log, targets, settings, step, frozenset(models))
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    sys.exit(0 if report.agrees else 1)


def _show(report: ReplayReport) -> None:
    console = Console()
    table = Table(title=f"replay: {report.mode}, batch {report.batch}, {report.decimals} decimals")
    for column in ("model", "stage", "rows", "agree", "same bits", "largest |Δ|", "ULPs"):
        left = column in ("model", "stage")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for name, model in report.models.items():
        for stage, found in model.stages.items():
            style = None if found.agrees else "bold red"
            table.add_row(
                name, stage, f"{found.rows:,}", _percent(found.agree_ratio),
                _percent(found.identical_ratio), f"{found.max_abs_diff:.3g}",
                f"{found.max_ulps:,}", style=style,
            )  # fmt: skip
    console.print(table)
    for name, model in report.models.items():
        _show_model(console, name, model)
    for damage in report.damage:
        console.print(
            f"damaged: {damage.segment} line {damage.line}: {damage.problem} "
            f"({damage.size_bytes} bytes)", style="yellow", markup=False,
        )  # fmt: skip
    console.print(_verdict(report), style="bold green" if report.agrees else "bold red")


def _percent(ratio: float) -> str:
    """Never round a share of disagreeing rows away."""
    return "100%" if ratio == 1 else f"{min(ratio, 0.999999):.4%}"


def _show_model(console: Console, name: str, model: ModelReport) -> None:
    if model.rejected:
        console.print(
            f"{name}: {model.rejected_reproduced} of {model.rejected} refusals reproduced"
        )
    for reason, count in model.not_replayable.items():
        console.print(f"{name}: {count} requests not replayed ({reason})")
    for feature, found in model.features.items():
        cause = f"{found.finding.cause} ({found.finding.evidence})"
        text = f"{name}: feature {feature!r} differs in {found.rows} rows: {cause}"
        console.print(text, style="red", markup=False)
    if model.first_divergence is not None:
        text = f"{name}: first divergence: {model.first_divergence}"
        console.print(text, style="red", markup=False, soft_wrap=True)


def _verdict(report: ReplayReport) -> str:
    if not report.models:
        return (
            "nothing was replayed: the log holds no request of these models; this is no agreement"
        )
    rows = sum(m.rows for m in report.models.values())
    if report.agrees:
        return f"agrees: {rows:,} rows to {report.decimals} decimals"
    return f"differs (see above; {rows:,} rows replayed)"
