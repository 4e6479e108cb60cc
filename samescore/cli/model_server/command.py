"""`samescore model-server`: TensorFlow Serving's flags, and the few that are this server's own."""

from __future__ import annotations

import ipaddress
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final, Unpack

import click

from samescore import __version__
from samescore.cli.model_server.extension_flags import (
    ExtensionFlags,
    extension_options,
    extension_settings,
)
from samescore.cli.model_server.options import (
    LoadingFlags,
    loading_options,
    loading_settings,
    monitoring_settings,
)
from samescore.cli.model_server.tfs_flags import (
    NOT_NEGATIVE,
    POSITIVE,
    Port,
    check_refused,
    switch,
    upstream_flags_refused,
)
from samescore.cli.options import ANY_PATH, print_json
from samescore.model_server.rest import RestSettings
from samescore.model_server.server import ModelServerSettings, Ready, StartError, run_model_server
from serving.model_server.configuration.listening import (
    MIB,
    GrpcSettings,
    parse_channel_arguments,
    read_tls,
)
from serving.model_server.configuration.reload_policy import ReloadPolicy
from serving.model_server.status import Code, StatusError

THREADS: Final = 4 * (os.cpu_count() or 1)
FAILED_TO_START: Final = 255  # upstream's -1


class _Flags(LoadingFlags, ExtensionFlags):
    """What can be told, as click gives it."""

    port: int
    grpc_socket_path: str
    rest_api_port: int
    rest_api_num_threads: int
    rest_api_timeout_in_ms: int
    rest_api_enable_cors_support: bool
    model_name: str
    model_base_path: str
    model_config_file: str
    model_config_file_poll_wait_seconds: int
    file_system_poll_wait_seconds: int
    num_load_threads: int
    max_num_load_retries: int
    load_retry_interval_micros: int
    allow_version_labels_for_unavailable_models: bool
    enable_signature_method_name_check: bool
    enable_serialization_as_tensor_content: bool
    saved_model_tags: str
    tensorflow_session_parallelism: int
    tensorflow_intra_op_parallelism: int
    tensorflow_inter_op_parallelism: int
    ssl_config_file: str
    grpc_channel_arguments: str
    grpc_max_threads: int
    bind: str
    max_message_mib: int
    allow_config_reload: bool
    allowed_base_paths: tuple[Path, ...]


@click.command("model-server")
@click.option("--port", type=Port(), default="8500", show_default=True,
              help="TCP port of gRPC; 0: none, auto: a free one.")  # fmt: skip
@click.option("--grpc_socket_path", default="", metavar="PATH",
              help="Unix socket of gRPC, beside the port.")  # fmt: skip
@click.option("--rest_api_port", type=Port(), default="0", show_default=True,
              help="TCP port of HTTP; 0: none, auto: a free one.")  # fmt: skip
@click.option("--rest_api_num_threads", type=POSITIVE, default=THREADS, show_default=True,
              help="HTTP calls that compute at once.")  # fmt: skip
@click.option("--rest_api_timeout_in_ms", type=POSITIVE, default=30_000, show_default=True,
              help="After which an HTTP call is answered with an error.")  # fmt: skip
@switch("rest_api_enable_cors_support", False, "Pages of other origins may call.")
@click.option("--model_name", default="default", show_default=True,
              help="Without --model_config_file: the model's name.")  # fmt: skip
@click.option("--model_base_path", default="", metavar="PATH",
              help="Without --model_config_file: the folder of its versions.")  # fmt: skip
@click.option("--model_config_file", default="", metavar="PATH",
              help="Text ModelServerConfig: several models, policies, labels.")  # fmt: skip
@click.option("--model_config_file_poll_wait_seconds", type=NOT_NEGATIVE, default=0,
              show_default=True, help="Between two looks at it; 0: it is read once.")  # fmt: skip
@click.option("--file_system_poll_wait_seconds", type=NOT_NEGATIVE, default=1, show_default=True,
              help="Between two looks for new versions; 0: one look.")  # fmt: skip
@click.option("--num_load_threads", type=NOT_NEGATIVE, default=0, show_default=True,
              help="Loads at a time; 0 is 1.")  # fmt: skip
@click.option("--max_num_load_retries", type=NOT_NEGATIVE, default=5, show_default=True,
              help="Further attempts after a load that failed.")  # fmt: skip
@click.option("--load_retry_interval_micros", type=int, default=60_000_000, show_default=True,
              help="The pause before each; negative: none.")  # fmt: skip
@switch("allow_version_labels_for_unavailable_models", False,
        "New labels may name versions that are not loaded.")  # fmt: skip
@switch("enable_signature_method_name_check", False,
        "Signatures must have the method name of the call.")  # fmt: skip
@switch("enable_serialization_as_tensor_content", False,
        "Predict answers tensor_content, not typed fields.")  # fmt: skip
@click.option("--saved_model_tags", default="serve", show_default=True,
              help="Of the meta graph to load, by commas.")  # fmt: skip
@click.option("--tensorflow_session_parallelism", type=NOT_NEGATIVE, default=0, show_default=True,
              help="Threads within operations, and between them; 0: TensorFlow's choice."
              )  # fmt: skip
@click.option("--tensorflow_intra_op_parallelism", type=NOT_NEGATIVE, default=0,
              show_default=True, help="Threads within an operation.")  # fmt: skip
@click.option("--tensorflow_inter_op_parallelism", type=NOT_NEGATIVE, default=0,
              show_default=True, help="Operations side by side.")  # fmt: skip
@click.option("--ssl_config_file", default="", metavar="PATH",
              help="Text SSLConfig; gRPC then speaks TLS.")  # fmt: skip
@click.option("--grpc_channel_arguments", default="", metavar="NAME=VALUE,...",
              help="gRPC's own settings.")  # fmt: skip
@click.option("--grpc_max_threads", type=POSITIVE, default=THREADS, show_default=True,
              help="gRPC calls that run at once; 1024 more may wait.")  # fmt: skip
@switch("version", False, "Print the versions and leave.")
@click.option("--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where the ports listen; upstream's is 0.0.0.0.")  # fmt: skip
@click.option("--max_message_mib", type=click.IntRange(1, 2047), default=512, show_default=True,
              help="Size of one request or response.")  # fmt: skip
@switch("allow_config_reload", False, "Beyond loopback: anyone may reload any path.")
@click.option("--allowed_base_paths", type=ANY_PATH, multiple=True, metavar="FOLDER",
              help="Beyond loopback: reloads may name paths below it; repeat for several."
              )  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Announce readiness as one JSON object.")
@loading_options
@extension_options
@upstream_flags_refused
def command(version: bool, as_json: bool, **flags: Unpack[_Flags]) -> None:
    """Serve models over TensorFlow Serving's gRPC and REST protocols.

    \b
    Example:
      samescore model-server --rest_api_port=8501 --model_name=half \\
        --model_base_path=/models/half &
      curl -d '{"instances": [1.0, 2.0, 5.0]}' \\
        http://127.0.0.1:8501/v1/models/half:predict

    It takes tensorflow_model_server's flags, as `--flag=value` or `--flag value`. A flag that it
    cannot honour is refused by name. Ports open when each model has a version that is loaded.
    SIGTERM answers what is in flight. Exit codes: 0 stopped, 2 wrong usage, 255 failed to start.
    """
    check_refused(flags)
    if version:
        _print_version()
        return
    beyond = _beyond_loopback(flags)
    try:
        settings = _settings(flags, loopback_only=not beyond)
        if beyond:
            click.echo(_WARNING.format(flags["bind"]), err=True)
        run_model_server(settings, lambda ready: _announce(ready, as_json))
    except (StartError, StatusError) as e:
        failure = e if isinstance(e, StartError) else StartError(e)
        click.echo(str(failure), err=as_json)
        sys.exit(FAILED_TO_START)


_WARNING: Final = (
    "listening on {}: anyone who reaches it can ask for predictions; put a proxy with "
    "authentication in front"
)


def _settings(flags: _Flags, *, loopback_only: bool) -> ModelServerSettings:
    """Return what the flags say.

    Raises:
        StatusError: they contradict each other, or a file that they name is unusable.
    """
    intra, inter = _parallelism(flags)
    return ModelServerSettings(
        config_file=_path(flags["model_config_file"]),
        config_poll_seconds=flags["model_config_file_poll_wait_seconds"],
        model_name=flags["model_name"],
        model_base_path=flags["model_base_path"],
        grpc=_grpc(flags),
        rest=_rest(flags),
        tags=frozenset(flags["saved_model_tags"].split(",")),
        intra_op_threads=intra,
        inter_op_threads=inter,
        poll_seconds=flags["file_system_poll_wait_seconds"],
        max_load_retries=flags["max_num_load_retries"],
        load_retry_seconds=max(flags["load_retry_interval_micros"] / 1e6, 0.0),
        load_threads=max(flags["num_load_threads"], 1),
        allow_labels_for_unavailable=flags["allow_version_labels_for_unavailable_models"],
        as_content=flags["enable_serialization_as_tensor_content"],
        check_method=flags["enable_signature_method_name_check"],
        reload=ReloadPolicy(
            loopback_only, flags["allow_config_reload"], flags["allowed_base_paths"]
        ),
        loading=loading_settings(flags),
        extensions=extension_settings(flags, loopback_only=loopback_only),
        monitoring=monitoring_settings(flags),
        profiler=loopback_only if flags["enable_profiler"] is None else flags["enable_profiler"],
    )


def _grpc(flags: _Flags) -> GrpcSettings:
    socket_path = _path(flags["grpc_socket_path"])
    if flags["port"] < 0 and socket_path is None:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be "
            "set.",
        )
    tls = _path(flags["ssl_config_file"])
    return GrpcSettings(
        host=flags["bind"],
        port=None if flags["port"] < 0 else flags["port"],
        socket_path=socket_path,
        threads=flags["grpc_max_threads"],
        max_message_bytes=flags["max_message_mib"] * MIB,
        channel_arguments=parse_channel_arguments(flags["grpc_channel_arguments"]),
        tls=None if tls is None else read_tls(tls),
    )


def _rest(flags: _Flags) -> RestSettings | None:
    port = flags["rest_api_port"]
    if port < 0:
        return None
    if port and port == flags["port"]:
        raise click.UsageError(
            f"--rest_api_port={port} cannot be the same as --port; give HTTP a port of its own"
        )
    return RestSettings(
        host=flags["bind"],
        port=port,
        timeout_seconds=flags["rest_api_timeout_in_ms"] / 1e3,
        threads=flags["rest_api_num_threads"],
        cors=flags["rest_api_enable_cors_support"],
        exact_floats=flags["rest_api_exact_floats"],
        max_body_bytes=flags["max_message_mib"] * MIB,
    )


def _parallelism(flags: _Flags) -> tuple[int, int]:
    both = flags["tensorflow_session_parallelism"]
    intra = flags["tensorflow_intra_op_parallelism"]
    inter = flags["tensorflow_inter_op_parallelism"]
    if both and intra and inter:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.",
        )
    return (intra, inter) if intra or inter else (both, both)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _beyond_loopback(flags: _Flags) -> bool:
    """Tell whether another machine may connect."""
    if flags["port"] < 0 and flags["rest_api_port"] < 0:
        return False
    try:
        return not ipaddress.ip_address(flags["bind"]).is_loopback
    except ValueError:
        return flags["bind"] != "localhost"


def _print_version() -> None:
    from importlib.metadata import version

    click.echo(f"samescore ModelServer: {__version__}\nTensorFlow Library: {version('tensorflow')}")


def _announce(ready: Ready, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(ready), "pid": os.getpid()})
        return
    for name, error in ready.failed.items():
        click.echo(f"not served: {name}: {error}", err=True)
    for kind, where in (
        ("gRPC ModelServer at", ready.grpc),
        ("gRPC ModelServer at UNIX socket", ready.grpc_socket),
        ("HTTP/REST API at", ready.url),
    ):
        if where is not None:
            click.echo(f"Running {kind} {where} ...")
