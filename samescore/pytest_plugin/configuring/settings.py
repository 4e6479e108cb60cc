"""What a configuration asks for, checked; `configuration.py` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from consistency.jsontype import Json
from consistency.log.selection import LogSelection
from consistency.replay import BatchPlan, ReplayMode
from serving.loaders.trust.grants import ModelTrust

GOLDEN: Final = "golden"
"""Names a bundle's own golden records among `records`."""


class Level(StrEnum):
    """What a difference of the environment does."""

    FAIL = "fail"
    WARN = "warn"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class EnvironmentLevels:
    """What each difference from the bundle's training environment does.

    Attributes:
        pipeline: other sources of the feature pipeline.
        python: another minor version; python_patch: another patch version.
        packages: another version of a package that computes (numpy, the model's library, and those
            in `names`); other_packages: of any other.
        cpu: another model or other flags; threads: other thread variables; device: another one.
        names: further packages whose version counts.
    """

    pipeline: Level = Level.FAIL
    python: Level = Level.FAIL
    python_patch: Level = Level.WARN
    packages: Level = Level.FAIL
    other_packages: Level = Level.IGNORE
    cpu: Level = Level.WARN
    threads: Level = Level.WARN
    device: Level = Level.WARN
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LawSettings:
    """On what the laws of a pipeline are checked.

    Attributes:
        records: files and log folders with raw records; `GOLDEN` stands for the bundle's own.
        records_limit: at most so many, evenly spaced.
        generated: examples that Hypothesis makes from the schema for each law; 0 for none.
        distinct: raw fields whose missing values are told apart; None when nothing was said.
        bitwise: whether batch invariance asks for equal bits.
        snapshots: the lookup snapshots' folder, or None: beside the bundles.
    """

    records: tuple[str, ...]
    records_limit: int
    generated: int
    distinct: tuple[str, ...] | None
    bitwise: bool
    snapshots: Path | None


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """`[pipelines.NAME]`: a pipeline that no bundle holds yet.

    Attributes:
        object: ``package.module:attribute``.
        state: JSON file of the fitted state, or None for an empty one.
        line: of its table in the source, from 1; 0 when it is not known.
        skip: check to the reason for leaving it out.
    """

    name: str
    line: int
    object: str
    state: Path | None
    laws: LawSettings
    skip: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """`[bundles.NAME]`.

    Attributes:
        path: `<base>/<model>/<version>`.
        threads: thread counts that must give the same scores; golden rows use the first.
        max_batch: the largest batch of the golden gate.
        devices: devices that must give the same scores; golden rows use the first.
        batch_sizes: batch sizes that must give the same scores.
        storage: forms of storage that the team relies on: they must keep features and scores.
    """

    name: str
    line: int
    path: Path
    threads: tuple[int, ...]
    max_batch: int
    devices: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    storage: tuple[str, ...]
    environment: EnvironmentLevels
    laws: LawSettings
    skip: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`[logs.NAME]`: a request log to be replayed.

    Attributes:
        path: the log's folder; bundles: the base folder that was served.
        selection: which of its requests.
    """

    name: str
    line: int
    path: Path
    bundles: Path
    snapshots: Path | None
    mode: ReplayMode
    batch: BatchPlan
    selection: LogSelection
    threads: int
    decimals: int
    skip: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration.

    Attributes:
        source: the file it stands in.
        table: as it was read, JSON types: what a fresh process is given.
        strict: a check that could not run fails.
        trusted: packages whose pipelines may be imported.
        trust: what model files may bring along.
        decimals: that must agree.
    """

    source: Path
    table: Mapping[str, Json]
    strict: bool
    trusted: frozenset[str]
    trust: ModelTrust
    decimals: int
    bundles: tuple[BundleSettings, ...] = ()
    pipelines: tuple[PipelineSettings, ...] = ()
    logs: tuple[LogSettings, ...] = ()
