"""The options of `samescore serve` for models that other machines compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypedDict, TypeVar

import click

from consistency.errors import ConfigError
from serving.backends.settings import BackendSettings
from serving.loaders.runtimes.devices import CPU

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class BackendOptions(TypedDict):
    """What can be told of a remote backend, as click gives it."""

    backend: str | None
    backend_weights: str | None
    backend_timeout_ms: int
    backend_max_in_flight: int
    backend_probe_seconds: float


_OPTIONS: Final = (
    click.option("--backend", metavar="grpc://HOST:PORT[,...]",
                 help="Have servers that speak TensorFlow Serving's protocol compute the models of "
                 "BASE; rest:// for its REST interface."),
    click.option("--backend-weights", metavar="N[,N...]",
                 help="Shares of the instances, in their order.  [default: equal]"),
    click.option("--backend-timeout-ms", type=click.IntRange(1, 600_000), default=1000,
                 show_default=True, help="Deadline of a request's scores."),
    click.option("--backend-max-in-flight", type=click.IntRange(1, 10_000), default=64,
                 show_default=True, help="Requests that an instance gets at a time from a worker; "
                 "more wait until their deadline."),
    click.option("--backend-probe-seconds", type=click.FloatRange(0.05, 3600), default=1.0,
                 show_default=True, help="Between two looks at an instance."),
)  # fmt: skip


def backend_options(command: F) -> F:
    """Add the options to a command; they appear in the order above."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def backend_settings(
    options: BackendOptions, device: str, *, has_base: bool
) -> BackendSettings | None:
    """Return the remote backend that the options say, or None for models in process.

    Args:
        options: as click gave them.
        device: of models in process.
        has_base: whether bundles are served at all.

    Raises:
        ConfigError: an unusable value, or options that contradict each other.
    """
    if options["backend"] is None:
        if options["backend_weights"] is not None:
            raise ConfigError(
                f"--backend-weights {options['backend_weights']} without --backend; name the"
                " instances that have them"
            )
        return None
    if not has_base:
        raise ConfigError(
            f"--backend {options['backend']} without BASE; name the folder of the bundles whose"
            " models the backend computes"
        )
    if device != CPU:
        raise ConfigError(
            f"--device {device} with --backend: where the backend computes is its own setting;"
            " leave --device out"
        )
    return BackendSettings.parse(
        options["backend"],
        _weights(options["backend_weights"]),
        timeout_seconds=options["backend_timeout_ms"] / 1000,
        max_in_flight=options["backend_max_in_flight"],
        probe_seconds=options["backend_probe_seconds"],
    )


def _weights(text: str | None) -> tuple[int, ...]:
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--backend-weights {text}: give whole numbers, for example 3,1")
    return tuple(map(int, parts))
