"""`samescore log compact`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from consistency.log.columnar.compaction import TARGET_BYTES, Compacted, compact_log
from consistency.log.columnar.parquet_writer import Kept
from samescore.cli.options import FOLDER, json_option, print_json
from samescore.progress import progress

_MIB = 1 << 20


@click.command("compact")
@click.argument("log", type=FOLDER)
@click.option("--target-mib", type=click.IntRange(1, 65_536), default=TARGET_BYTES // _MIB,
              show_default=True, help="Merge neighbouring segments up to this size.")  # fmt: skip
@json_option
def command(log: Path, target_mib: int, as_json: bool) -> None:
    """Turn the sealed segments of LOG into Parquet files, which hold the same lines and columns.

    Safe while servers write and others read; one compaction at a time. A segment goes only after
    its Parquet file has been read back and compared, byte by byte.

    \b
    Example:
      samescore log compact requests

    Exit code 0: all sealed segments are compacted; 1: a damaged one stays as it is, and is named.
    """
    done: list[Compacted] = []
    kept: list[Kept] = []
    with progress("compacting files", None) as step:
        for item in compact_log(log, target_mib * _MIB):
            step()
            if isinstance(item, Compacted):
                done.append(item)
            else:
                kept.append(item)
    if as_json:
        print_json(
            {
                "compacted": [{**asdict(c), "path": c.path.name} for c in done],
                "kept": [asdict(k) for k in kept],
            }
        )
    else:
        _show(done, kept)
    sys.exit(1 if kept else 0)


def _show(done: list[Compacted], kept: list[Kept]) -> None:
    before, after = sum(c.bytes_before for c in done), sum(c.bytes_after for c in done)
    click.echo(
        f"{sum(c.lines for c in done):,} requests: {sum(len(c.segments) for c in done)} segments "
        f"({before / _MIB:.1f} MiB) became {len(done)} Parquet files ({after / _MIB:.1f} MiB)"
    )
    for one in kept:
        click.echo(f"stays JSON Lines: {one.segment} line {one.line}: {one.problem}")
