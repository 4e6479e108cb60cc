"""The flags of tensorflow_model_server: how they are spelled, and which cannot be honoured here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command

NOT_NEGATIVE: Final = click.IntRange(0, (1 << 31) - 1)
POSITIVE: Final = click.IntRange(1, (1 << 31) - 1)

_TRUTHS: Final = MappingProxyType({"true": True, "1": True, "false": False, "0": False})


class Switch(click.ParamType[bool]):
    """`--flag`, `--flag=true` or `--flag=false`."""

    name = "true|false"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> bool:
        """Return the truth value."""
        if isinstance(value, bool):
            return value
        found = _TRUTHS.get(str(value).lower())
        if found is None:
            self.fail(f"{value!r} is neither true nor false", param, ctx)
        return found


class Port(click.ParamType[int]):
    """A TCP port. `auto` takes a free one and becomes 0; 0 opens none and becomes -1."""

    name = "port|auto"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the port to bind, or -1."""
        if isinstance(value, int):
            return value
        if value == "auto":
            return 0
        text = str(value)
        if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
            self.fail(f"{text!r} is no port: write 1 to 65535, auto, or 0 for none", param, ctx)
        return int(text) or -1


def switch(name: str, default: bool, text: str) -> Callable[[F], F]:
    """Return a true or false flag."""
    shown = str(default).lower()
    return click.option(
        f"--{name}", type=Switch(), default=default, is_flag=False, flag_value="true",
        help=f"{text}  [default: {shown}]",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refused:
    """A flag that cannot be honoured.

    Attributes:
        harmless: the values that ask for nothing, as typed; they are accepted.
        why: and what to do.
        is_switch: it can be given without a value, and is `true` then.
    """

    harmless: frozenset[str]
    why: str
    is_switch: bool = False


def _off(why: str) -> Refused:
    return Refused(frozenset({"false", "0"}), why, is_switch=True)


def _unset(why: str, *harmless: str) -> Refused:
    return Refused(frozenset({"", *harmless}), why)


_XLA: Final = "compiled graphs compute other last digits, and this server promises none"

REFUSED: Final[Mapping[str, Refused]] = MappingProxyType(
    {
        "enable_grpc_healthcheck_service": _off(
            "this server has no grpc.health.v1; ask GetModelStatus"
        ),
        "platform_config_file": _unset(
            "the platforms of this server are fixed; give its settings by their own flags"
        ),
        "tensorflow_session_config_file": _unset(
            "give the parallelism by --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism"
        ),
        "thread_pool_factory_config_file": _unset(
            "give the parallelism by --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism"
        ),
        "per_process_gpu_memory_fraction": _unset(
            "this server computes on the CPU: a GPU's last digits are others", "0", "0.0"
        ),
        "use_alts_credentials": _off(
            "ALTS exists inside one cloud only; --ssl_config_file gives TLS"
        ),
        "xla_cpu_compilation_enabled": _off(_XLA),
        "xla_gpu_compilation_enabled": _off(_XLA),
        "mixed_precision": _unset("scores would change with it"),
        "force_allow_any_version_labels_for_unavailable_models": _off(
            "a label would leave the version that serves; "
            "--allow_version_labels_for_unavailable_models takes new labels"
        ),
    }
)  # fmt: skip
"""By flag; upstream knows each."""

NO_EFFECT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "flush_filesystem_caches": "the files of a loaded model stay in the kernel's cache",
        "remove_unused_fields_from_bundle_metagraph": "it only saves memory; it is always done",
        "skip_initialize_tpu": "there is no TPU here to initialise",
        "num_unload_threads": "every unload has a thread of its own",
    }
)
"""Accepted with any value: nothing that a client or operator sees depends on them here."""


def upstream_flags_refused(function: F) -> F:
    """Add the flags that are refused, or have no effect; `check_refused` looks at their values."""
    for name, refused in REFUSED.items():
        function = _hidden(name, refused.is_switch)(function)
    for name in NO_EFFECT:
        function = _hidden(name, is_switch=True)(function)
    return function


def _hidden(name: str, is_switch: bool) -> Callable[[F], F]:
    if is_switch:
        return click.option(f"--{name}", hidden=True, is_flag=False, flag_value="true")
    return click.option(f"--{name}", hidden=True)


def check_refused(given: Mapping[str, object]) -> None:
    """Refuse the flags that cannot be honoured, by name.

    Args:
        given: flags and their values as typed; None for one that was not given.

    Raises:
        UsageError: it names the first one.
    """
    for name, refused in REFUSED.items():
        value = given.get(name)
        if value is not None and str(value).lower() not in refused.harmless:
            raise click.UsageError(f"--{name}={value} cannot be honoured here: {refused.why}")
