"""`samescore rules build`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click

from consistency.errors import ConfigError
from monitors.alerting.alerts import build_rules
from monitors.alerting.rules import to_yaml
from monitors.alerting.settings import EXAMPLE_DASHBOARD_URL, EXAMPLE_RUNBOOK_URL, AlertSettings
from monitors.slo.file import parse_slo
from monitors.slo.rules import build_slo_rules
from monitors.slo.settings import SloSettings

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
HEAD: Final = "Written by samescore rules build; build it anew instead of editing it."

_HELP: Final = {
    "job": "The job name under which Prometheus scrapes the servers.",
    "runbook_url": "Folder of the runbooks; the alert's name and the suffix are appended.",
    "runbook_suffix": "Behind the alert's name in its runbook's address.",
    "dashboard_url": "Address of the board of a model.",
    "latency_seconds": "A request that takes longer is slow; a bucket bound of the latency.",
    "slow_ratio": "So many of the requests may be slow.",
    "queue_seconds": "A request that waits longer, for a worker or an instance of the backend, has "
    "queued; a bucket bound of the waits.",
    "queue_ratio": "So many of the requests may queue.",
    "error_ratio": "So many of the requests may end in a backend error or a timeout.",
    "data_error_ratio": "So many of the requests may be refused for their data.",
    "unseen_ratio": "In so many of the scored rows a feature may be an unseen category.",
    "missing_excess_ratio": "A feature may be missing in so many more of the scored rows than in "
    "the training sample.",
    "violation_ratio": "So many of the rows may break one rule of the expectation suite.",
    "rejection_ratio": "So many of the HTTP requests may be refused before they reach a model.",
    "backend_failure_ratio": "So many of the requests sent to one instance of the remote backend "
    "may fail there.",
    "feature_psi": "The index of one feature may be so large, in nats; 0: no alert on it.",
    "score_psi": "The population stability index of the scores may be so large, in nats.",
    "min_requests": "With fewer requests in the window, no ratio of requests is an alert.",
    "min_rows": "With fewer rows in the window, no ratio of rows is an alert.",
    "min_window_rows": "With fewer rows in the sliding window, its scores are no alert.",
    "window_seconds": "Ratios are taken over so long a time.",
    "for_seconds": "A state must hold for so long; lost log lines, failing observers and scores "
    "that are no numbers wait for nothing.",
    "workers": "Worker processes of each server; 0: no alert on missing ones.",
    "model_age_seconds": "The newest version of a model may be so old; 0: no alert on stale ones.",
    "drift_period_seconds": "Between two runs of the drift job; 0: no alerts on that job.",
    "replay_period_seconds": "Between two scheduled replays; 0: no alert on missed ones.",
}


def _settings_options(function: Callable[..., Any]) -> Callable[..., Any]:  # Any: click's own
    """Add an option for each of the alert settings, with its default."""
    defaults = AlertSettings()
    for field in reversed(fields(AlertSettings)):
        default = getattr(defaults, field.name)
        function = click.option(
            f"--{field.name.replace('_', '-')}",
            type=type(default),
            default=default,
            show_default=True,
            help=_HELP[field.name],
        )(function)
    return function


@click.group("rules")
def command() -> None:
    """Write the Prometheus alert rules."""


@command.command("build")
@click.option("--out", type=_FILE, required=True, help="The rule file.")
@click.option("--slo", type=_FILE, help="An SLO file: its burn-rate rules come behind the others.")
@click.option("--check", is_flag=True, help="Write nothing; tell whether the file is current.")
@_settings_options
def build(out: Path, slo: Path | None, check: bool, **settings: Any) -> None:  # noqa: ANN401 - typed by the options
    """Write recording rules and alerts for Prometheus, one runbook for each alert.

    \b
    Example:
      samescore rules build --out rules.yml --job samescore \\
        --latency-seconds 0.2 \\
        --runbook-url https://wiki.yourteam.example/runbooks
      samescore rules build --out rules.yml --slo slo.toml
      promtool check rules rules.yml

    Exit code 0: written, or with --check current; 1: with --check, another text; 2: wrong usage.
    """
    given = AlertSettings(**settings)
    promised = () if slo is None else build_slo_rules(_read_slo(slo), given)
    text = to_yaml((*build_rules(given), *promised), HEAD)
    if check:
        sys.exit(_tell_difference(out, text))
    _write(out, text)
    click.echo(f"wrote {out}")
    _warn_of_examples(settings)


def _tell_difference(out: Path, text: str) -> int:
    found = _read(out)
    if found == text:
        click.echo(f"{out} is current")
        return 0
    lines = difflib.unified_diff(
        found.splitlines(), text.splitlines(), str(out), "as it would be built", lineterm=""
    )
    click.echo("\n".join(lines))
    click.echo(f"{out} is not current; run the same command without --check", err=True)
    return 1


def _read_slo(path: Path) -> SloSettings:
    try:
        return parse_slo(path.read_text(encoding="utf-8"), f"--slo {path}")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--slo {path} cannot be read: {e}; give a TOML file") from e


def _read(out: Path) -> str:
    try:
        return out.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--out {out} cannot be read: {e}; build it without --check") from e


def _write(out: Path, text: str) -> None:
    """Put the file in place whole: Prometheus may be reading it."""
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(out)
    except OSError as e:
        half.unlink(missing_ok=True)
        raise ConfigError(
            f"--out {out} cannot be written: {e.strerror}; name a file in a writable folder"
        ) from e


def _warn_of_examples(settings: dict[str, Any]) -> None:
    for name, example in (
        ("runbook_url", EXAMPLE_RUNBOOK_URL),
        ("dashboard_url", EXAMPLE_DASHBOARD_URL),
    ):
        if settings[name] == example:
            option = f"--{name.replace('_', '-')}"
            click.echo(f"the alerts link to {example}: give your own {option}", err=True)
