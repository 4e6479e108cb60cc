"""`samescore storage`: which forms of storage a bundle's feature values survive."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from consistency.bundle import Bundle, open_bundle, verify_files
from consistency.errors import ConfigError
from consistency.features import FeatureBatch
from consistency.scored import Scores
from consistency.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from consistency.storage import StorageReport, check_storage, forms_named, gaps_in
from samescore.cli.options import (
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
from samescore.progress import progress
from samescore.storage.forms import all_forms
from serving.servable import LoadSettings


@click.command("storage")
@click.argument("bundle", type=FOLDER)
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="FORM",
    help="Try only this form or group (csv.6f, csv, parquet, pandas, ...), and end with 1 unless "
    "it keeps values and scores; repeat for several.",
)
@click.option(
    "--decimals", type=click.IntRange(0, 16), default=10, show_default=True, help="To agree in."
)
@pipeline_option
@snapshots_option
@threads_option
@device_option
@trust_options
@json_option
def command(
    bundle: Path,
    forms: tuple[str, ...],
    decimals: int,
    pipelines: tuple[str, ...],
    snapshots: Path | None,
    threads: int,
    device: str,
    trust_types: tuple[str, ...],
    allow_pickle: bool,
    as_json: bool,
) -> None:
    """Send a bundle's golden feature rows through storage, and score what comes back.

    \b
    Example:
      samescore storage models/xgboost/1

    JSON, CSV, Parquet, Arrow, Feather, numpy, SQLite, pandas, tf.Example, protobuf: which keep
    every bit, which keep ten decimals of the score, and which move features that the score hides.
    With --pipeline the features are made anew from the golden records, and the table also tells
    null, absent and NaN apart; without it the stored features are taken.

    Exit code 0: done; 1: a form named with --form moves values or scores, or could not be tried.
    """
    opened = open_bundle(bundle)
    verify_files(opened)
    store = SnapshotStore(snapshots or bundle.resolve().parent.parent / SNAPSHOT_FOLDER)
    trust = model_trust(trust_types, allow_pickle)
    loading = LoadSettings(frozenset(pipelines), store, threads=threads, device=device, trust=trust)
    features = _features(opened, loading, make=bool(pipelines))
    report = _report(opened, loading, features, forms, decimals)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, features)
    kept = all(f.verdict.keeps_values for f in report.forms)
    sys.exit(0 if kept or not forms else 1)


def _features(bundle: Bundle, loading: LoadSettings, *, make: bool) -> FeatureBatch:
    golden = bundle.golden()
    if not golden.rows:
        raise ConfigError(f"bundle {bundle.path} holds no golden row; bundle it with some")
    if not make or golden.records is None:
        return golden.features
    pipeline = loading.bind(bundle, None)
    return golden.features if pipeline is None else pipeline(golden.records)


def _report(
    bundle: Bundle,
    loading: LoadSettings,
    features: FeatureBatch,
    forms: tuple[str, ...],
    decimals: int,
) -> StorageReport:
    chosen = forms_named(all_forms(), forms)
    # TensorFlow, met by one form, talks of GPUs while it is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    scorer = loading.load_scorer(bundle)

    def score(rows: FeatureBatch) -> Scores:
        return bundle.manifest.postprocess(scorer.score(rows))

    with progress("storage forms", len(chosen)) as step:
        return check_storage(features, chosen, score=score, decimals=decimals, on_form=step)


def _print(report: StorageReport, features: FeatureBatch) -> None:
    met = ", ".join(f"{n} {kind}" for kind, n in gaps_in(features).items()) or "none"
    click.echo(
        f"{report.rows} rows of {len(features.schema)} features to {report.decimals} decimals; "
        f"special cells met: {met}\n"
    )
    click.echo(report.table())
