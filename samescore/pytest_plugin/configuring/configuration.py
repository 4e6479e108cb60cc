"""Reads `samescore.toml`, or the same table from `conftest.py`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consistency.bundle.manifest import check_model_name
from consistency.compare import Tolerance
from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.log.selection import LogSelection
from consistency.replay import BatchPlan, ReplayMode
from samescore.pytest_plugin.configuring.settings import (
    GOLDEN,
    BundleSettings,
    EnvironmentLevels,
    LawSettings,
    Level,
    LogSettings,
    PipelineSettings,
    Settings,
)
from samescore.pytest_plugin.configuring.tables import Table
from serving.loaders.trust.grants import ModelTrust

_MOST_THREADS: Final = 256
_MOST_ROWS: Final = 1 << 20
_MOST_GENERATED: Final = 10_000
_HIGHEST_VERSION: Final = (1 << 63) - 1

_TOP_KEYS: Final = (
    "strict", "trusted", "trusted_types", "allow_pickle", "decimals", "environment",
    "bundles", "pipelines", "logs",
)  # fmt: skip
_LAW_KEYS: Final = (
    "records", "records_limit", "generated", "distinct", "bitwise", "snapshots", "skip",
)  # fmt: skip
_PIPELINE_KEYS: Final = ("object", "state", *_LAW_KEYS)
_BUNDLE_KEYS: Final = (
    "path", "threads", "max_batch", "devices", "batch_sizes", "storage", "environment",
    *_LAW_KEYS,
)  # fmt: skip
_LOG_KEYS: Final = (
    "path", "bundles", "snapshots", "mode", "batch", "models", "versions", "since", "until",
    "sample", "threads", "decimals", "skip",
)  # fmt: skip


def read_settings(source: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: naming the file, the key, its value and the remedy.
    """
    try:
        text = source.read_text("utf-8")
        table = tomllib.loads(text)
    except OSError as e:
        raise ConfigError(f"{source}: cannot be read ({e.strerror}); give a file") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{source}: is no TOML: {e}") from e
    return settings_from(source, table, _lines(text))


def settings_from(
    source: Path, table: Mapping[str, Json], lines: Mapping[str, int] | None = None
) -> Settings:
    """Check a configuration.

    Args:
        source: the file that it stands in; relative paths start from its folder.
        table: its top table.
        lines: table name to the line of its header.

    Raises:
        ConfigError: naming the file, the key, its value and the remedy; also when nothing would be
            checked.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{source}: pytest_samescore_config returned {table!r:.60}; return a dict that holds "
            "what a samescore.toml would"
        )
    top = Table(source, "", table, source.parent)
    top.only(_TOP_KEYS)
    levels = _levels(top.table("environment"), EnvironmentLevels())
    at, decimals = lines or {}, _decimals(top, Tolerance().decimals)
    bundles = tuple(_bundle(n, t, at, levels) for n, t in top.tables("bundles").items())
    pipelines = tuple(_pipeline(n, t, at) for n, t in top.tables("pipelines").items())
    logs = tuple(_log(n, t, at, decimals) for n, t in top.tables("logs").items())
    shared = {b.name for b in bundles} & {p.name for p in pipelines}
    if shared:
        top.refuse("pipelines", f"{min(shared)!r} is also a bundle's name; rename one of the two")
    if not (bundles or pipelines or logs):
        raise ConfigError(
            f"{source}: nothing is checked; add a table [bundles.NAME], [pipelines.NAME] or "
            "[logs.NAME]"
        )
    return Settings(
        source,
        table,
        top.flag("strict", False),
        frozenset(top.texts("trusted") or ()),
        ModelTrust(frozenset(top.texts("trusted_types") or ()), top.flag("allow_pickle", False)),
        decimals,
        bundles,
        pipelines,
        logs,
    )


def _bundle(
    name: str, table: Table, lines: Mapping[str, int], levels: EnvironmentLevels
) -> BundleSettings:
    table.only(_BUNDLE_KEYS)
    return BundleSettings(
        name=name,
        line=lines.get(table.name, 0),
        path=_needed_path(table, "path", 'give the bundle, for example "models/rides/1"'),
        threads=table.counts("threads", (1, 2), lowest=1, highest=_MOST_THREADS),
        max_batch=table.count("max_batch", 64, lowest=1, highest=_MOST_ROWS),
        devices=_devices(table),
        batch_sizes=table.counts("batch_sizes", (1, 7, 64), lowest=1, highest=_MOST_ROWS),
        storage=table.texts("storage") or (),
        environment=_levels(table.table("environment"), levels),
        laws=_laws(table, (GOLDEN,)),
        skip=table.reasons("skip"),
    )


def _pipeline(name: str, table: Table, lines: Mapping[str, int]) -> PipelineSettings:
    table.only(_PIPELINE_KEYS)
    location = table.text("object")
    if location is None:
        table.refuse("object", 'is missing; write object = "package.module:pipeline"')
    laws = _laws(table, ())
    if GOLDEN in laws.records:
        table.refuse("records", f"{GOLDEN!r} needs a bundle; name files, or use [bundles.{name}]")
    state = table.path("state")
    line = lines.get(table.name, 0)
    return PipelineSettings(name, line, location, state, laws, table.reasons("skip"))


def _log(name: str, table: Table, lines: Mapping[str, int], decimals: int) -> LogSettings:
    table.only(_LOG_KEYS)
    return LogSettings(
        name=name,
        line=lines.get(table.name, 0),
        path=_needed_path(table, "path", "give the log's folder"),
        bundles=_needed_path(table, "bundles", "give the folder that was served"),
        snapshots=table.path("snapshots"),
        mode=table.choice("mode", ReplayMode, ReplayMode.FULL),
        batch=_batch(table),
        selection=_selection(table),
        threads=table.count("threads", 1, lowest=1, highest=_MOST_THREADS),
        decimals=_decimals(table, decimals),
        skip=table.reasons("skip"),
    )


def _selection(table: Table) -> LogSelection:
    models, since, until = table.texts("models") or (), table.time("since"), table.time("until")
    for model in models:
        try:
            check_model_name(model)
        except ConfigError as e:
            table.refuse("models", str(e))
    if since is not None and until is not None and until <= since:
        table.refuse("until", "is not after `since`: nothing lies between them")
    versions = table.counts("versions", (), lowest=0, highest=_HIGHEST_VERSION)
    return LogSelection(
        since_us=since,
        until_us=until,
        models=frozenset(models),
        versions=frozenset(versions),
        sample_ratio=table.share("sample", 1.0),
    )


def _laws(table: Table, records: tuple[str, ...]) -> LawSettings:
    return LawSettings(
        records=table.texts("records", records) or (),
        records_limit=table.count("records_limit", 256, lowest=2, highest=_MOST_ROWS),
        generated=table.count("generated", 25, lowest=0, highest=_MOST_GENERATED),
        distinct=table.texts("distinct", None),
        bitwise=table.flag("bitwise", True),
        snapshots=table.path("snapshots"),
    )


def _levels(table: Table, default: EnvironmentLevels) -> EnvironmentLevels:
    kinds = [name for name in EnvironmentLevels.__slots__ if name != "names"]
    table.only((*kinds, "names"))
    levels = {kind: table.choice(kind, Level, getattr(default, kind)) for kind in kinds}
    return EnvironmentLevels(**levels, names=table.texts("names", default.names) or ())


def _devices(table: Table) -> tuple[str, ...]:
    devices = table.texts("devices", ("cpu",))
    return devices or table.refuse("devices", "names none; leave it out for the CPU")


def _batch(table: Table) -> BatchPlan:
    value = table.values.get("batch", 4096)
    if value == "logged":
        return BatchPlan(None)
    if type(value) is not int or not 1 <= value <= _MOST_ROWS:
        table.refuse("batch", f"is neither 'logged' nor a whole number from 1 to {_MOST_ROWS}")
    return BatchPlan(value)


def _decimals(table: Table, default: int) -> int:
    return table.count("decimals", default, lowest=0, highest=16)


def _needed_path(table: Table, key: str, remedy: str) -> Path:
    return table.path(key) or table.refuse(key, f"is missing; {remedy}")


def _lines(text: str) -> dict[str, int]:
    """Return table name to the line of its header, from 1."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[([^\[\]]+)\]", line)
        if header:
            parts = [p.strip().strip("\"'") for p in header[1].split(".")]
            found.setdefault(".".join(parts), number)
    return found
