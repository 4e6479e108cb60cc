"""`samescore log export`."""

from __future__ import annotations

from pathlib import Path

import click

from consistency.log.columnar.export import Exported, export_log
from consistency.log.columnar.export_sinks import ExportFormat
from consistency.log.selection import LogSelection
from samescore.cli.log.selection import selection_options
from samescore.cli.options import FOLDER, EnumValue, json_option, print_json
from samescore.progress import progress


@click.command("export")
@click.argument("log", type=FOLDER)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="The file to write; replaced if it is there.")  # fmt: skip
@click.option("--format", "form", type=EnumValue(ExportFormat),
              help="Of the file.  [default: what the name of --out ends with]")  # fmt: skip
@selection_options
@json_option
def command(
    log: Path, out: Path, form: ExportFormat | None, selection: LogSelection, as_json: bool
) -> None:
    """Write LOG as one flat table: a line a scored row, a column a score and a feature.

    Floats keep every bit in each format. Values that a format cannot hold (NaN in JSON) are counted
    and named.

    \b
    Example:
      samescore log export requests --out requests.parquet --since 7d
    """
    with progress("reading requests, twice", None) as step:
        done = export_log(log, out, form or _format_of(out), selection, step)
    if as_json:
        print_json(
            {
                "out": str(out), "requests": done.requests, "rows": done.rows,
                "without_rows": done.without_rows, "damage": done.damage, "columns": done.columns,
                "nulled": dict(done.nulled),
            }
        )  # fmt: skip
    else:
        _show(out, done)


def _format_of(out: Path) -> ExportFormat:
    try:
        return ExportFormat(out.suffix.removeprefix(".").lower())
    except ValueError:
        raise click.UsageError(
            f"--out {out} does not end with .parquet, .jsonl or .csv; say which with --format"
        ) from None


def _show(out: Path, done: Exported) -> None:
    click.echo(
        f"{out}: {done.rows:,} rows of {done.requests:,} requests, {len(done.columns)} columns"
    )
    if done.without_rows:
        click.echo(f"{done.without_rows} requests have no row: their payload could not be decoded")
    if done.damage:
        click.echo(f"{done.damage} damaged lines are left out; see samescore log verify")
    for name, count in sorted(done.nulled.items()):
        click.echo(
            f"column {name}: {count} NaN or infinite values are null in this format; "
            f"Parquet holds them"
        )
