"""`samescore serve`."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Unpack

import click

from consistency.log.settings import MIB, LogMode
from consistency.snapshots import SnapshotStore
from monitors.online.window import DEFAULT_MIN_ROWS, WindowSettings
from monitors.suites import SuitePolicy
from samescore.cli.backend_options import BackendOptions, backend_options, backend_settings
from samescore.cli.log.options import LogOptions, log_options, log_settings
from samescore.cli.options import (
    ANY_PATH,
    EnumValue,
    device_option,
    model_trust,
    opaque_specs,
    pipeline_option,
    print_json,
    service_option,
    snapshots_option,
    threads_option,
    trust_options,
)
from samescore.cli.suite.options import suite_option, tell_left_out, tell_without_model
from samescore.server import ServerSettings, serve
from samescore.suites import SuiteLocation, suite_guards
from samescore.workers import Announcement, serve_with_workers
from serving.core.policy import parse_version_policy
from serving.dataplane import DataPlaneSettings, OnLogFailure
from serving.servable import GateMode


class _Options(LogOptions, BackendOptions):
    """What a server can be told, as click gives it."""

    pipelines: tuple[str, ...]
    snapshots: Path | None
    services: tuple[tuple[tuple[str, int], str, Path], ...]
    gate: GateMode
    versions: str
    threads: int
    device: str
    trust_types: tuple[str, ...]
    allow_pickle: bool
    poll_seconds: float
    max_rows: int
    max_body_mib: int
    on_log_failure: OnLogFailure | None
    suites: tuple[SuiteLocation, ...]
    suite_policy: SuitePolicy
    window_slices: int
    window_slice_seconds: int
    window_min_rows: int


@click.command("serve")
@click.argument("base", type=ANY_PATH, required=False)
@click.option("--log", "log_folder", type=ANY_PATH, required=True, help="The log's folder.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0: any."
)
@pipeline_option
@snapshots_option
@service_option
@click.option(
    "--gate", type=EnumValue(GateMode), default=GateMode.ENFORCE.value, show_default=True,
    help="enforce: a version that fails its golden gate does not go live; report: it is served, "
    "marked unverified.",
)  # fmt: skip
@click.option(
    "--versions", default="latest:1", show_default=True, help="latest:N, specific:1,3 or all."
)
@threads_option
@device_option
@trust_options
@click.option("--poll-seconds", type=click.FloatRange(0.05), default=1.0, show_default=True,
              help="Between two looks for new versions.")  # fmt: skip
@click.option("--max-rows", type=click.IntRange(1, 1_000_000), default=1024, show_default=True,
              help="Rows in one request.")  # fmt: skip
@click.option("--max-body-mib", type=click.IntRange(1, 1024), default=8, show_default=True,
              help="Size of one request.")  # fmt: skip
@click.option("--on-log-failure", type=EnumValue(OnLogFailure),
              help="What a request that cannot be logged gets.  [default: reject; drop with "
              "--log-mode spool]")  # fmt: skip
@backend_options
@log_options
@suite_option
@click.option("--suite-policy", type=EnumValue(SuitePolicy), default=SuitePolicy.REJECT.value,
              show_default=True, help="What a row that breaks a rule without a policy of its own "
              "does: reject, its request is refused; flag, reply and log name it; count, only the "
              "metric tells.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Processes that share the port; one that dies is replaced.")  # fmt: skip
@click.option("--window-slices", type=click.IntRange(1, 1000), default=12, show_default=True,
              help="Slices in the sliding window of the drift gauges.")  # fmt: skip
@click.option("--window-slice-seconds", type=click.IntRange(1, 86_400), default=300,
              show_default=True, help="Length of one slice.")  # fmt: skip
@click.option("--window-min-rows", type=click.IntRange(1), default=DEFAULT_MIN_ROWS,
              show_default=True, help="Rows in it before a stability index is given.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Announce readiness as one JSON object.")
def command(
    base: Path | None,
    log_folder: Path,
    host: str,
    port: int,
    workers: int,
    as_json: bool,
    **options: Unpack[_Options],
) -> None:
    """Serve the bundles in BASE over HTTP, and log every scored request.

    \b
    Example:
      samescore serve models --pipeline flights_features --log requests &
      curl http://127.0.0.1:8501/predict/xgboost/1 \\
        -H 'Content-Type: application/json' \\
        --data '{"type": "record", "data": {"insts": [{"carrier": "UA", ...}]}}'

    New versions in BASE go live, vanished ones are unloaded, without a failed request. SIGTERM
    finishes what is in flight and seals the log. With --workers, /metrics of any worker counts the
    requests of all. With --backend, servers that speak TensorFlow Serving's protocol compute; the
    bundles lie here as well, and their golden rows pass through the backend first. Pages: /models,
    /health/live, /health/ready, /metrics.
    """
    if base is None and not options["services"]:
        raise click.UsageError("name a BASE folder of bundles, or an --inference-service")
    settings = _settings(base, log_folder, options)
    _warn_beyond_loopback(host)
    tell_left_out(settings.guards)
    tell_without_model(settings.guards, _models(settings))
    try:
        if workers == 1:
            serve(settings, host, port, lambda url, server: _announce(
                url, Announcement.of(server), [os.getpid()], as_json))  # fmt: skip
        else:
            serve_with_workers(settings, host, port, workers, lambda url, announced, pids:
                               _announce(url, announced, pids, as_json))  # fmt: skip
    except OSError as e:
        raise click.UsageError(f"cannot listen on {host}:{port}: {e.strerror}") from e


def _settings(base: Path | None, log_folder: Path, options: _Options) -> ServerSettings:
    snapshots, log = options["snapshots"], log_settings(log_folder, options)
    unlogged = OnLogFailure.DROP if log.mode is LogMode.SPOOL else OnLogFailure.REJECT
    return ServerSettings(
        base=base,
        log=log,
        trusted=frozenset(options["pipelines"]),
        store=None if snapshots is None else SnapshotStore(snapshots),
        services=opaque_specs(options["services"]),
        gate=options["gate"],
        policy=parse_version_policy(options["versions"]),
        threads=options["threads"],
        device=options["device"],
        trust=model_trust(options["trust_types"], options["allow_pickle"]),
        poll_seconds=options["poll_seconds"],
        plane=DataPlaneSettings(options["max_rows"], options["on_log_failure"] or unlogged),
        max_body_bytes=options["max_body_mib"] * MIB,
        guards=suite_guards(options["suites"], options["suite_policy"]),
        window=WindowSettings(
            options["window_slices"], options["window_slice_seconds"], options["window_min_rows"]
        ),
        backend=backend_settings(options, options["device"], has_base=base is not None),
    )


def _models(settings: ServerSettings) -> set[str]:
    """Return the names of what could be served: a base that is not there has none yet."""
    named = {s.name for s in settings.services}
    if settings.base is not None and settings.base.is_dir():
        named |= {p.name for p in settings.base.iterdir() if p.is_dir() and p.name[0] != "."}
    return named


def _announce(url: str, server: Announcement, workers: list[int], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "url": url,
                "pid": os.getpid(),
                "workers": workers,
                "serving": list(server.serving),
                "failed": server.failed,
            }
        )
        return
    for name, error in server.failed.items():
        click.echo(f"not served: {name}: {error}", err=True)
    by = "" if len(workers) == 1 else f" by {len(workers)} workers"
    click.echo(f"serving {', '.join(server.serving) or 'nothing yet'} on {url}{by}")


def _warn_beyond_loopback(host: str) -> None:
    try:
        outside = not ipaddress.ip_address(host).is_loopback
    except ValueError:
        outside = host != "localhost"
    if outside:
        click.echo(
            f"listening on {host}: anyone who reaches it can ask for scores; put a proxy with "
            f"authentication in front",
            err=True,
        )
