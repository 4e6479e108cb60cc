"""The command line: one file a command group; `main` is the `samescore` command.

Exit codes: 0 all is well (or agrees), 1 something differs, 2 wrong usage or unusable input.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any, Final

import click

from consistency.errors import SamescoreError
from samescore import __version__

_COMMANDS: Final = {
    "bundle": "Build, show and check bundles: model versions that can prove their scores.",
    "dashboards": "Build and publish the Grafana boards.",
    "demo": "The whole path on real flights, in one command.",
    "drift": "Judge the windows of a request log against the frozen reference.",
    "log": "Verify, count, print, follow, compact, export and prune a request log.",
    "model-server": "Serve models over TensorFlow Serving's protocol, with its flags.",
    "parity": "Compute a bundle's rows in many ways and say whether the scores agree.",
    "promote": "Make a float64 model from a float32 one, verified against the original.",
    "replay": "Score a request log again and compare to ten decimals.",
    "rules": "Write the Prometheus alert rules.",
    "serve": "Serve bundles over HTTP and log every scored request.",
    "storage": "Show which forms of storage a bundle's feature values survive.",
    "suite": "Make an expectation suite, show it, and check data with it.",
}


_EXTRAS: Final = {
    "dashboards": "dashboards",
    "demo": "demo",
    "drift": "drift",
    "model-server": "serve,tfserving",
    "suite": "gx",
}


_ROOMS: Final = frozenset({"drift", "log", "model-server", "replay", "suite"})
"""Groups of several files: a package each, whose `command.py` has the group."""


class _Lazy(click.Group):
    """Imports a command when it is called: `samescore --help` loads no library."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        try:
            command = importlib.import_module(_module_of(name)).command
        except ModuleNotFoundError as e:
            extra = _EXTRAS.get(name, "serve")
            raise _UserError(
                f"samescore {name} needs the package {e.name!r}; pip install 'samescore[{extra}]'"
            ) from e
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except SamescoreError as e:
            raise _UserError(str(e)) from e


def _module_of(name: str) -> str:
    module = f"samescore.cli.{name.replace('-', '_')}"
    return f"{module}.command" if name in _ROOMS else module


class _UserError(click.ClickException):
    exit_code = 2


@click.group(cls=_Lazy, context_settings={"auto_envvar_prefix": "SAMESCORE"})
@click.version_option(__version__, prog_name="samescore")
@click.option("--verbose", is_flag=True, help="Log what happens to standard error.")
def main(verbose: bool) -> None:
    """Same score, offline and online, to ten decimals, and a warning before it matters.

    Every option can also be set by an environment variable, for example SAMESCORE_SERVE_PORT.
    """
    # OpenMP threads that spin while they wait take the core from those that compute: with two
    # threads on two busy cores one row of boosted trees took 18 ms of CPU time instead of 0.4.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
