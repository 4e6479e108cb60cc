"""The options of `samescore serve` that say how the request log is written."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import click

from consistency.errors import ConfigError
from consistency.log import LogSettings
from consistency.log.durability import Fsync
from consistency.log.redaction import Redaction, read_key
from consistency.log.retention import Retention
from consistency.log.sampling import Sampling
from consistency.log.settings import GIB, MIB, LogMode
from samescore.cli.options import ANY_PATH, EnumValue

F = TypeVar("F", bound=Callable[..., Any])  # Any: click's decorators take any command


class LogOptions(TypedDict):
    """What can be told of the log, as click gives it."""

    log_segment_mib: int
    log_max_gib: int
    log_fsync: Fsync
    log_mode: LogMode
    log_spool_mib: int
    log_key: str | None
    log_sample: float
    log_sample_errors: float
    log_redact: tuple[str, ...]
    log_redact_features: tuple[str, ...]
    log_redact_key: Path | None
    log_keep_days: float | None
    log_keep_gib: float | None


class _FsyncPolicy(click.ParamType[Fsync]):
    """`seal`, `every_request` or `interval:50ms`."""

    name = "seal|interval:TIME|every_request"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the values as they are typed."""
        return self.name

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fsync:
        """Return the policy."""
        try:
            return Fsync.parse(str(value))
        except ConfigError as e:
            self.fail(str(e), param, ctx)


_OPTIONS: Final = (
    click.option("--log-segment-mib", type=click.IntRange(1, 4096), default=64, show_default=True,
                 help="Size at which a log segment is sealed."),
    click.option("--log-max-gib", type=click.IntRange(1, 65536), default=64, show_default=True,
                 help="Size at which the log is full."),
    click.option("--log-fsync", type=_FsyncPolicy(), default="seal", show_default=True,
                 help="What a power cut can take: seal, all since the last sealed segment; "
                 "interval:50ms, about the last 50 ms; every_request, nothing that was answered."),
    click.option("--log-mode", type=EnumValue(LogMode), default=LogMode.DIRECT.value,
                 show_default=True, help="direct: a line is written before its reply; spool: soon "
                 "after, so that a stalled disk stalls no request, and a kill can lose lines."),
    click.option("--log-spool-mib", type=click.IntRange(1, 65536), default=64, show_default=True,
                 help="Memory of each worker's spool; what does not fit is dropped."),
    click.option("--log-key", metavar="FIELD",
                 help="Field of the raw record that each line names as its key, to sample by and "
                 "to find requests by."),
    click.option("--log-sample", type=click.FloatRange(0, 1), default=1.0, show_default=True,
                 help="Share of the keys whose requests are logged; without a key, of requests."),
    click.option("--log-sample-errors", type=click.FloatRange(0, 1), default=1.0,
                 show_default=True, help="The same for requests that got no score."),
    click.option("--log-redact", multiple=True, metavar="FIELD",
                 help="Keep this field's values out of the log, a keyed hash stands for each; "
                 "customer.name is name inside customer; repeat for several."),
    click.option("--log-redact-feature", "log_redact_features", multiple=True, metavar="NAME",
                 help="Keep this feature out of the log; repeat for several."),
    click.option("--log-redact-key", type=ANY_PATH, metavar="FILE",
                 help="Holds the key of the hashes; not for everybody to read."),
    click.option("--log-keep-days", type=click.FloatRange(0, min_open=True), metavar="DAYS",
                 help="Remove sealed segments whose last line is older.  [default: never]"),
    click.option("--log-keep-gib", type=click.FloatRange(0, min_open=True), metavar="GIB",
                 help="Remove the oldest sealed segments of a larger log.  [default: never]"),
)  # fmt: skip


def log_options(function: F) -> F:
    """Add the options."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def log_settings(folder: Path, options: LogOptions) -> LogSettings:
    """Return the settings that the options say.

    Raises:
        ConfigError: they do not go together, or the key cannot be used.
    """
    key_file = options["log_redact_key"]
    return LogSettings(
        folder,
        segment_bytes=options["log_segment_mib"] * MIB,
        max_total_bytes=options["log_max_gib"] * GIB,
        fsync=options["log_fsync"],
        mode=options["log_mode"],
        spool_bytes=options["log_spool_mib"] * MIB,
        key_field=options["log_key"],
        sampling=Sampling(options["log_sample"], options["log_sample_errors"]),
        redaction=Redaction(
            options["log_redact"],
            options["log_redact_features"],
            b"" if key_file is None else read_key(key_file),
        ),
        retention=retention(options["log_keep_days"], options["log_keep_gib"]),
    )


def retention(keep_days: float | None, keep_gib: float | None) -> Retention:
    """Return the bounds that days and GiB say; None for none.

    Raises:
        ConfigError: a bound is no number, or beyond all sizes.
    """
    size = None if keep_gib is None else keep_gib * GIB
    if size is not None and not isfinite(size):
        raise ConfigError(f"retention {keep_gib:g} GiB: give a size, or leave it out for any")
    return Retention(keep_days, None if size is None else max(1, int(size)))
