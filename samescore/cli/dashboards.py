"""`samescore dashboards build|publish`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from dashboards.render import Board, boards
from samescore.cli.options import ANY_PATH
from samescore.publishing import Change, Plan, carry_out, connect, plan

_DONE: Final = {
    Change.CREATE: "created",
    Change.UPDATE: "updated",
    Change.MOVE: "moved",
    Change.NONE: "unchanged",
}


@click.group("dashboards")
def command() -> None:
    """Build and publish the Grafana boards."""


@command.command("build")
@click.option("--out", type=ANY_PATH, default=Path("dashboards/generated"), show_default=True,
              help="The folder of the JSON files.")  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; say whether the files are current.")
def build(out: Path, check: bool) -> None:
    """Write each board as a JSON file, for Grafana's provisioning.

    \b
    Example:
      samescore dashboards build --out boards

    Exit code 1: with --check, a file is missing or not what the code builds.
    """
    if check:
        problems = list(_not_current(out))
        for problem in problems:
            click.echo(problem)
        if problems:
            click.echo(f"run: samescore dashboards build --out {out}", err=True)
        sys.exit(1 if problems else 0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for board in boards():
            path = out / board.file_name
            path.write_text(board.text, encoding="utf-8")
            click.echo(f"{path}: {board.title}")
    except OSError as e:
        raise click.UsageError(
            f"--out {out}: cannot write there: {e.strerror}; name a folder that you may write to"
        ) from e


def _not_current(out: Path) -> list[str]:
    """Name the files that are missing, old, or of a board that is no more."""
    built = {board.file_name: board for board in boards()}
    problems = [_state(out / name, board) for name, board in built.items()]
    left = sorted(path for path in out.glob("*.json") if path.name not in built)
    problems += [f"{path}: no board of samescore; delete it" for path in left]
    return [problem for problem in problems if problem]


def _state(path: Path, board: Board) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"{path}: missing"
    except (OSError, UnicodeDecodeError) as e:
        return f"{path}: unreadable: {e}"
    return "" if text == board.text else f"{path}: not current"


@command.command("publish")
@click.option("--url", required=True, help="Grafana's start page, http(s)://host[:port][/path].")
@click.option("--token-env", default="GRAFANA_TOKEN", show_default=True, metavar="NAME",
              help="The environment variable that holds a service account's token.")  # fmt: skip
@click.option("--folder", default="samescore", show_default=True,
              help="Title or uid of the folder; General for none.")  # fmt: skip
@click.option("--create-folder", is_flag=True, help="Create the folder when there is none.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would change.")
def publish(url: str, token_env: str, folder: str, create_folder: bool, dry_run: bool) -> None:
    """Bring the boards to a Grafana server, by their uid.

    \b
    Example:
      samescore dashboards publish --url https://grafana.example.org --dry-run

    A board that Grafana holds already as it should be is not written again. Exit code 1: with
    --dry-run, something would change.
    """
    token = _token(token_env)
    grafana = connect(url, token)
    if grafana.is_open:
        click.echo(f"{url}: without TLS, anyone on the way can read the token", err=True)
    planned = plan(grafana, folder, create_folder=create_folder)
    if dry_run:
        _show(planned)
        sys.exit(1 if planned.changes else 0)
    for step in carry_out(grafana, planned):
        click.echo(f"{step.board.uid}: {_DONE[step.change]}")


def _token(name: str) -> str:
    token = os.environ.get(name, "").strip()
    if not token:
        raise click.UsageError(
            f"--token-env {name}: this environment variable is not set; put the token of a Grafana "
            f"service account with the role Editor into it"
        )
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError(f"--token-env {name}: its value is no token; it may hold ASCII only")
    return token


def _show(planned: Plan) -> None:
    if planned.changes and planned.folder_uid is None:
        click.echo(f"the folder {planned.folder!r} would be created")
    for step in planned.steps:
        if step.change is Change.NONE:
            click.echo(f"{step.board.uid}: unchanged")
        else:
            click.echo(f"{step.board.uid}: would {step.change}")
            click.echo(step.difference, nl=False)
