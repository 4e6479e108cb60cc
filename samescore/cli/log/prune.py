"""`samescore log prune`."""

from __future__ import annotations

from pathlib import Path

import click

from consistency.log.retention import Pruned, prune
from samescore.cli.log.options import retention
from samescore.cli.options import FOLDER, json_option, print_json


@click.command("prune")
@click.argument("log", type=FOLDER)
@click.option("--keep-days", type=click.FloatRange(0, min_open=True), metavar="DAYS",
              help="Remove sealed segments whose last line is older.")  # fmt: skip
@click.option("--keep-gib", type=click.FloatRange(0, min_open=True), metavar="GIB",
              help="Remove the oldest sealed segments of a larger log.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be.")
@json_option
def command(
    log: Path, keep_days: float | None, keep_gib: float | None, dry_run: bool, as_json: bool
) -> None:
    """Remove the oldest segments of the log folder LOG.

    \b
    Example:
      samescore log prune requests --keep-days 30 --dry-run

    Open segments stay, whoever writes them, and so do the lookup snapshots that lines name. A
    server does the same by itself with --log-keep-days and --log-keep-gib; both at once do no harm.
    """
    if keep_days is None and keep_gib is None:
        raise click.UsageError("say what to keep: --keep-days, --keep-gib, or both")
    pruned = prune(log, retention(keep_days, keep_gib), dry_run=dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "removed": [f.path.name for f in pruned.removed],
                "removed_bytes": pruned.removed_bytes,
                "kept_bytes": pruned.kept_bytes,
            }
        )
    else:
        _show(pruned, "would remove" if dry_run else "removed")


def _show(pruned: Pruned, verb: str) -> None:
    for file in pruned.removed:
        click.echo(f"{verb} {file.path.name} ({file.size_bytes} bytes)")
    click.echo(
        f"{verb} {len(pruned.removed)} files, {pruned.removed_bytes} bytes; "
        f"{pruned.kept_bytes} bytes stay"
    )
