"""Options and parameter types that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson

from samescore.replays.targets import OpaqueSpec
from serving.loaders.runtimes.devices import CPU, Device
from serving.loaders.trust.grants import ModelTrust

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command

FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
ANY_PATH: Final = click.Path(path_type=Path)


def _known_device(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Refuse what is no device before anything is loaded."""
    return str(Device.parse(value))


pipeline_option = click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="PACKAGE",
    help="A package whose feature pipelines may be imported; repeat for several.",
)

snapshots_option = click.option(
    "--snapshots",
    type=ANY_PATH,
    help="Folder of the lookup snapshots.  [default: BASE/.snapshots]",
)

threads_option = click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of each model."
)

device_option = click.option(
    "--device",
    default=CPU,
    callback=_known_device,
    show_default=True,
    help="Of each model: cpu, cuda (the first GPU) or cuda:N.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def trust_options(function: F) -> F:
    """Add `--trust-type` and `--allow-pickle`, the opt-ins for models that are Python objects."""
    types = click.option(
        "--trust-type",
        "trust_types",
        multiple=True,
        metavar="PACKAGE.TYPE",
        help="A type that a skops file may hold; repeat for several.",
    )
    pickles = click.option(
        "--allow-pickle",
        is_flag=True,
        help="Load pickled scikit-learn models. A pickle can run any code.",
    )
    return types(pickles(function))


def service_option(function: F) -> F:
    """Add `--inference-service`, the operator's opt-in to import model code."""
    return click.option(
        "--inference-service",
        "services",
        multiple=True,
        nargs=3,
        type=(ServiceName(), str, ANY_PATH),
        metavar="NAME/VERSION MODULE_OR_FILE MODEL_PATH",
        help="Import a class InferenceService and serve it; repeat for several.",
    )(function)


class EnumValue(click.ParamType[StrEnum]):
    """One of an enumeration's values.

    Args:
        kind: the enumeration.
    """

    def __init__(self, kind: type[StrEnum]) -> None:
        self._kind = kind
        self.name = "|".join(kind)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the values as they are typed."""
        return self.name

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> StrEnum:
        """Return the member with this value."""
        try:
            return self._kind(str(value))
        except ValueError:
            self.fail(f"{value!r} is not one of {', '.join(self._kind)}", param, ctx)


class ServiceName(click.ParamType[tuple[str, int]]):
    """`NAME/VERSION`."""

    name = "name/version"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Split and check the text."""
        from consistency.bundle.manifest import check_model_name
        from consistency.errors import ConfigError

        name, slash, version = str(value).partition("/")
        if not (slash and version.isascii() and version.isdigit()):
            self.fail(f"{value!r}: write it as NAME/VERSION, for example m47/1", param, ctx)
        try:
            return check_model_name(name), int(version)
        except ConfigError as e:
            self.fail(str(e), param, ctx)


class BasePath(click.ParamType[tuple[str, Path]]):
    """`NAME=FOLDER`."""

    name = "name=folder"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Split and check the text."""
        name, equals, path = str(value).partition("=")
        if not (name and equals and path):
            self.fail(f"{value!r}: write it as NAME=FOLDER, for example half=/m/half", param, ctx)
        if not Path(path).is_dir():
            self.fail(f"{path!r} is no folder", param, ctx)
        return name, Path(path)


def model_trust(types: Sequence[str], allow_pickle: bool) -> ModelTrust:
    """Return what `--trust-type` and `--allow-pickle` said."""
    return ModelTrust(frozenset(types), allow_pickle)


def opaque_specs(
    services: Sequence[tuple[tuple[str, int], str, Path]],
) -> tuple[OpaqueSpec, ...]:
    """Return the services that `--inference-service` named."""
    return tuple(OpaqueSpec(name, version, at, path) for (name, version), at, path in services)


def print_json(value: object) -> None:
    """Print JSON on standard output."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
