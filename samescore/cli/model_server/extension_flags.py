"""Flags of `samescore model-server` for what upstream's server has not; all of it is off."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import click

from consistency.log.settings import GIB, MIB, LogSettings
from samescore.cli.model_server.tfs_flags import F, switch
from samescore.cli.options import ANY_PATH, EnumValue, model_trust
from samescore.model_server.extensions import ExtensionSettings, RequestLoggingSettings
from serving.dataplane import OnLogFailure
from serving.loaders.runtimes.devices import CPU, Device
from serving.model_server.models.golden_gate_mode import GoldenGate


class ExtensionFlags(TypedDict):
    """What can be told, as click gives it."""

    enable_request_logging: bool
    request_logging_folder: Path | None
    request_logging_file_mib: int
    request_logging_max_mib: int
    request_logging_by_request: bool
    request_log: Path | None
    request_log_max_gib: int
    on_request_log_failure: OnLogFailure
    golden_gate: GoldenGate
    enable_bundles: bool
    bundle_threads: int
    bundle_device: str
    trust_types: tuple[str, ...]
    allow_pickle: bool
    rest_api_exact_floats: bool


def _known_device(_context: click.Context, _option: click.Parameter, value: str) -> str:
    return str(Device.parse(value))


_OPTIONS = (
    switch("enable_request_logging", False,
           "Honour logging_config: PredictionLog records in TFRecord files."),
    click.option("--request_logging_folder", type=ANY_PATH, metavar="FOLDER",
                 help="Each filename_prefix lies below it; required beyond loopback."),
    click.option("--request_logging_file_mib", type=click.IntRange(1, 4096), default=64,
                 show_default=True, help="Size at which such a file is finished."),
    click.option("--request_logging_max_mib", type=click.IntRange(1, 1 << 24), default=1024,
                 show_default=True, help="Of all files of a prefix; no more is written then."),
    switch("request_logging_by_request", False,
           "Sample by the request's content: the same one always, or never."),
    click.option("--request_log", type=ANY_PATH, metavar="FOLDER",
                 help="Log every call there, for samescore replay."),
    click.option("--request_log_max_gib", type=click.IntRange(1, 65536), default=64,
                 show_default=True, help="Size at which that log is full."),
    click.option("--on_request_log_failure", type=EnumValue(OnLogFailure),
                 default=OnLogFailure.REJECT.value, show_default=True,
                 help="What a call gets that cannot be logged there: UNAVAILABLE, or its answer."),
    click.option("--golden_gate", type=EnumValue(GoldenGate), default=GoldenGate.OFF.value,
                 show_default=True, help="Whether a bundle must reproduce its golden scores before "
                 "it is AVAILABLE; report: it is all the same, and the report is logged."),
    switch("enable_bundles", False, "A version with samescore/manifest.json is loaded as a bundle "
           "of its format, also without model_platform: \"samescore\"."),
    click.option("--bundle_threads", type=click.IntRange(1, 256), default=1, show_default=True,
                 help="Of each bundle's model; a SavedModel's are TensorFlow's."),
    click.option("--bundle_device", default=CPU, show_default=True, callback=_known_device,
                 help="Of each bundle's model: cpu, cuda or cuda:N."),
    click.option("--trust_type", "--trust-type", "trust_types", multiple=True,
                 metavar="PACKAGE.TYPE", help="A type that a skops file may hold; repeat."),
    click.option("--allow_pickle", "--allow-pickle", "allow_pickle", is_flag=True,
                 help="Load pickled scikit-learn models. A pickle can run any code."),
    switch("rest_api_exact_floats", False,
           "HTTP reads and writes floats exactly, shortest form."),
)  # fmt: skip


def extension_options(function: F) -> F:
    """Add the flags."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def extension_settings(flags: ExtensionFlags, *, loopback_only: bool) -> ExtensionSettings:
    """Return what the flags say.

    Args:
        flags: as given.
        loopback_only: no other machine can connect.

    Raises:
        UsageError: a flag needs another one.
    """
    folder = flags["request_log"]
    return ExtensionSettings(
        request_logging=_request_logging(flags, loopback_only=loopback_only),
        request_log=None
        if folder is None
        else LogSettings(
            folder,
            segment_bytes=min(64 * MIB, flags["request_log_max_gib"] * GIB),
            max_total_bytes=flags["request_log_max_gib"] * GIB,
        ),
        on_log_failure=flags["on_request_log_failure"],
        golden_gate=flags["golden_gate"],
        bundles=flags["enable_bundles"],
        threads=flags["bundle_threads"],
        device=flags["bundle_device"],
        trust=model_trust(flags["trust_types"], flags["allow_pickle"]),
    )


def _request_logging(
    flags: ExtensionFlags, *, loopback_only: bool
) -> RequestLoggingSettings | None:
    folder = flags["request_logging_folder"]
    if not flags["enable_request_logging"]:
        if folder is not None:
            raise click.UsageError("--request_logging_folder needs --enable_request_logging")
        return None
    if folder is None and not loopback_only:
        raise click.UsageError(
            "--enable_request_logging beyond loopback needs --request_logging_folder: a reloaded "
            "configuration could name any file"
        )
    return RequestLoggingSettings(
        folder,
        file_bytes=flags["request_logging_file_mib"] * MIB,
        total_bytes=flags["request_logging_max_mib"] * MIB,
        by_request=flags["request_logging_by_request"],
    )
