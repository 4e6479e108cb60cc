"""`samescore demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from samescore.cli.options import ANY_PATH, json_option, print_json
from samescore.demo.stage import NEEDED, check_installed

REQUESTS: Final = 20_000
SMALL_REQUESTS: Final = 600


@click.command("demo")
@click.option("--out", type=ANY_PATH, default="build/demo", show_default=True,
              help="The demo's folder; a former demo in it is removed.")  # fmt: skip
@click.option("--requests", type=click.IntRange(400, 1_000_000),
              help=f"Sent to all models together.  [default: {REQUESTS}]")  # fmt: skip
@click.option("--small", is_flag=True,
              help=f"Little training and {SMALL_REQUESTS} requests, for a quick look.")  # fmt: skip
@json_option
def command(out: Path, requests: int | None, small: bool, as_json: bool) -> None:
    """Show the whole path on real flights, in one command.

    Trains on January to June 2013, bundles four models, serves them in a process of its own, sends
    real later flights over HTTP, replays the request log in a new process and compares to ten
    decimals. Then it breaks one thing on purpose, and finds it; and, where Prometheus is installed,
    lets it watch a server through an alert and its end. Leaves report.html and summary.json.

    \b
    Example:
      samescore demo --out build/demo

    Exit code 0: all that must agree agrees, the fault was found, and the alert fired and
    resolved where there is a Prometheus; 1: not so, and the report says what; 2: something is
    missing, or an act could not be played.
    """
    check_installed(NEEDED)
    from samescore.demo.run import DemoSettings, play  # imports what has just been checked

    count = requests or (SMALL_REQUESTS if small else REQUESTS)
    # With --json, standard output is for the machine and the story goes to standard error.
    summary = play(DemoSettings(out, count, small), Console(stderr=as_json))
    if as_json:
        print_json(summary)
    sys.exit(1 if summary["problems"] else 0)
