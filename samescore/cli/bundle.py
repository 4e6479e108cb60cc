"""`samescore bundle build|show|check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict, Unpack

import click
import numpy as np
import orjson
from numpy.typing import NDArray

from consistency.bundle import open_bundle, verify_files
from consistency.bundle.manifest import Manifest
from consistency.bundle.reader import load_pipeline_object
from consistency.errors import ConfigError
from consistency.gate import GateReport, run_gate
from consistency.postprocess import Platt, PostProcess
from consistency.records import Record, read_records
from consistency.schema import FeatureSchema, FieldType
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from consistency.state import FittedState
from monitors.drift.windows import WindowLength
from samescore.bundling import BundleRequest, build_bundle
from samescore.cli.drift.options import Length
from samescore.cli.options import (
    ANY_PATH,
    FOLDER,
    device_option,
    json_option,
    model_trust,
    pipeline_option,
    print_json,
    snapshots_option,
    threads_option,
    trust_options,
)
from serving.loaders import FORMATS
from serving.servable import LoadSettings

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Options(TypedDict):
    """What `bundle build` can be told, as click gives it."""

    name: str
    version: int
    model_format: str
    model: Path
    pipeline: str | None
    features: Path | None
    golden: Path
    reference: Path | None
    reference_time: str | None
    reference_block: WindowLength
    state: Path | None
    named: tuple[str, ...]
    snapshots: Path | None
    execution: str
    gate_decimals: int
    output: str | None
    column: int | None
    platt: tuple[float, float] | None
    trust_types: tuple[str, ...]
    allow_pickle: bool


@click.group("bundle")
def command() -> None:
    """Build, show and check bundles: model versions that can prove their scores."""


@command.command("build")
@click.argument("base", type=ANY_PATH)
@click.option("--name", required=True, help="The model's name.")
@click.option("--version", type=click.IntRange(0), required=True, help="A new version.")
@click.option("--format", "model_format", type=click.Choice(list(FORMATS)), required=True)
@click.option("--model", type=click.Path(exists=True, path_type=Path), required=True,
              help="The model's file, or its folder.")  # fmt: skip
@click.option("--pipeline", metavar="PACKAGE:OBJECT",
              help="The installed feature pipeline; it is imported.")  # fmt: skip
@click.option("--features", type=_FILE,
              help="Without a pipeline: the model's features, one name a line. Golden and "
              "reference rows are then JSON lists of numbers, null for missing.")  # fmt: skip
@click.option("--golden", type=_FILE, required=True,
              help="Raw records as JSON lines that the version must reproduce.")  # fmt: skip
@click.option("--reference", type=_FILE,
              help="A sample of the training records as JSON lines, for the monitors.")  # fmt: skip
@click.option("--reference-time", metavar="FIELD",
              help="The timestamp field of the records: drift alarms then know how days "
              "vary.")  # fmt: skip
@click.option("--reference-block", type=Length(), default="1d", show_default=True,
              help="With --reference-time: the length of the shortest windows of drift jobs, "
              "1d or 1h.")  # fmt: skip
@click.option("--state", type=_FILE,
              help="The pipeline's fitted state, as FittedState.to_bytes wrote it.")  # fmt: skip
@click.option("--snapshot", "named", multiple=True, metavar="LOOKUP=ID",
              help="The snapshot of a lookup; the current one unless named.")  # fmt: skip
@snapshots_option
@click.option("--execution", default="as_is", show_default=True, help="as_is, padded:N or float64.")
@click.option("--gate-decimals", type=click.IntRange(0, 16), default=10, show_default=True)
@click.option("--output", help="The raw output that is the score; needed if there are several.")
@click.option("--column", type=int, help="Of an output with several columns, the one that is the "
              "score; -1 is the last.")  # fmt: skip
@click.option("--platt", type=(float, float), metavar="SLOPE INTERCEPT", help="Platt scaling.")
@trust_options
def build(base: Path, **options: Unpack[_Options]) -> None:
    """Bundle a trained model as BASE/NAME/VERSION.

    \b
    Example:
      samescore bundle build models --name xgboost --version 2 --format xgboost \\
        --model model.ubj --pipeline flights_features:pipeline \\
        --state state.json --golden golden.jsonl --reference sample.jsonl
    """
    click.echo(f"bundled {build_bundle(base, _request(base, options))}")


def _request(base: Path, options: _Options) -> BundleRequest:
    store = SnapshotStore(options["snapshots"] or base / SNAPSHOT_FOLDER)
    pipeline, features, platt = options["pipeline"], options["features"], options["platt"]
    if (pipeline is None) == (features is None):
        raise click.UsageError("give either --pipeline, or --features for a model without one")
    sample = _read_rows(options["reference"], features is not None)
    return BundleRequest(
        name=options["name"],
        version=options["version"],
        model_format=options["model_format"],
        model=options["model"],
        golden=_read_rows(options["golden"], features is not None),
        pipeline=pipeline,
        features=None if features is None else _read_names(features),
        state=_read_state(options["state"]),
        snapshots={} if pipeline is None else _snapshots(pipeline, options["named"], store),
        store=store,
        reference=sample,
        reference_times=_times(sample, pipeline, options["reference_time"]),
        reference_block_s=options["reference_block"].seconds,
        execution=options["execution"],
        gate_decimals=options["gate_decimals"],
        postprocess=PostProcess(
            options["output"], options["column"], None if platt is None else Platt(*platt)
        ),
        trust=model_trust(options["trust_types"], options["allow_pickle"]),
    )


def _times(
    sample: Sequence[Record] | NDArray[np.float64], pipeline: str | None, name: str | None
) -> NDArray[np.int64] | None:
    """Return when each record of the reference happened, by one of its fields."""
    if name is None:
        return None
    if pipeline is None or isinstance(sample, np.ndarray) or not sample:
        raise click.UsageError("--reference-time names a field of the records of --reference")
    schema = load_pipeline_object(pipeline).inputs
    times = [f.name for f in schema.fields if f.type is FieldType.TIMESTAMP and not f.nullable]
    if name not in times:
        raise ConfigError(
            f"--reference-time {name!r}: no timestamp that every record has; the pipeline's "
            f"records have {', '.join(times) or 'none'}"
        )
    return read_records(schema, sample).columns[name].astype(np.int64)


def _read_state(path: Path | None) -> FittedState:
    if path is None:
        return FittedState({})
    try:
        return FittedState.from_bytes(path.read_bytes())
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from e


def _read_names(path: Path) -> FeatureSchema:
    return FeatureSchema.float64(tuple(path.read_text().split()))


def _read_rows(path: Path | None, numbers: bool) -> Sequence[Record] | NDArray[np.float64]:
    """Return raw records, or rows of numbers as a matrix."""
    lines: list[bytes] = [] if path is None else path.read_bytes().splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError as e:
            raise ConfigError(f"{path} line {number}: {e}; write one row a line as JSON") from e
    if not numbers or not rows:
        return rows
    try:
        return np.array(rows, np.float64)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{path}: {e}; write lists of numbers, all of one length") from e


def _snapshots(pipeline: str, named: Sequence[str], store: SnapshotStore) -> dict[str, str]:
    """Return a snapshot for each lookup of a pipeline: as named, else the current one."""
    given = dict(text.partition("=")[::2] for text in named)
    lookups = {x.name for x in load_pipeline_object(pipeline).lookups}
    unknown = sorted(given.keys() - lookups)
    if unknown:
        raise ConfigError(f"--snapshot {unknown[0]}: the pipeline has no such lookup")
    found = {name: given.get(name) or store.current(name) for name in lookups}
    return {name: snapshot for name, snapshot in found.items() if snapshot}


@command.command("show")
@click.argument("bundle", type=FOLDER)
@json_option
def show(bundle: Path, as_json: bool) -> None:
    """Show what a bundle (BASE/NAME/VERSION) is and was made with.

    \b
    Example:
      samescore bundle show models/xgboost/1
    """
    manifest = open_bundle(bundle).manifest
    if as_json:
        print_json(manifest.to_json() | {"digest": manifest.digest})
        return
    for name, value in _summary(manifest).items():
        click.echo(f"{name:<12} {value}")


def _summary(manifest: Manifest) -> dict[str, str]:
    ref = manifest.pipeline
    environment = manifest.environment
    return {
        "model": f"{manifest.name}/{manifest.version} ({manifest.model_format})",
        "digest": manifest.digest,
        "created": manifest.created,
        "pipeline": "none" if ref is None else f"{ref.object} ({ref.distribution}, {ref.digest})",
        "features": ", ".join(manifest.features.names),
        "execution": f"{manifest.execution}, gate {manifest.gate_decimals} decimals",
        "snapshots": ", ".join(f"{k} {v}" for k, v in manifest.snapshots.items()) or "none",
        "metrics": ", ".join(f"{k} {v:.4g}" for k, v in manifest.metrics.items()) or "none",
        "loss": ", ".join(f"{v:.4g}" for v in manifest.loss_curve[-3:]) or "none",
        "made with": f"Python {environment['python']} on {environment['cpu_model']}, "
        f"{len(environment['packages'])} packages",
    }


@command.command("check")
@click.argument("bundle", type=FOLDER)
@pipeline_option
@snapshots_option
@threads_option
@device_option
@trust_options
@click.option("--max-batch", type=click.IntRange(1), default=64, show_default=True)
@json_option
def check(
    bundle: Path,
    pipelines: tuple[str, ...],
    snapshots: Path | None,
    threads: int,
    device: str,
    trust_types: tuple[str, ...],
    allow_pickle: bool,
    max_batch: int,
    as_json: bool,
) -> None:
    """Check a bundle's files, and reproduce its golden rows on this machine.

    \b
    Example:
      samescore bundle check models/xgboost/1 --pipeline flights_features

    Exit code 0: all reproduced; 1: the golden gate fails here.
    """
    opened = open_bundle(bundle)
    verify_files(opened)
    store = SnapshotStore(snapshots or bundle.resolve().parent.parent / SNAPSHOT_FOLDER)
    loading = LoadSettings(
        frozenset(pipelines),
        store,
        threads=threads,
        device=device,
        trust=model_trust(trust_types, allow_pickle),
    )
    report = run_gate(
        opened.golden(),
        loading.bind(opened, None),
        loading.load_scorer(opened),
        opened.manifest.postprocess,
        decimals=opened.manifest.gate_decimals,
        max_batch=max_batch,
    )
    if as_json:
        _print_report(report)
    else:
        click.echo(str(report))
    sys.exit(0 if report.passed else 1)


def _print_report(report: GateReport) -> None:
    checks = [
        {
            "batch_rows": c.batch_rows,
            "passed": c.passed,
            "scores": c.scores.to_json(),
            "features": None if c.features is None else c.features.to_json(),
            "detail": c.detail,
        }
        for c in report.checks
    ]
    print_json({"passed": report.passed, "decimals": report.decimals, "checks": checks})
