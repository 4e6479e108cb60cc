"""One loader a model format. Importing this imports no model library; loading a model does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, cast

from consistency.errors import ConfigError
from consistency.protocols import Scorer


class Load(Protocol):
    """What a loader module offers under the name `load`."""

    def __call__(self, folder: Path, threads: int | None) -> Scorer:
        """Load the model that lies in a folder.

        Raises:
            BundleError: the model's files are missing or damaged.
            ConfigError: the model or the number of threads cannot be served in this process.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """Where the loader of a format is found and what it needs.

    Attributes:
        module: the loader's module.
        library: the library that it imports.
        extra: the extra of `samescore` that installs the library.
        file: the model's file name in a bundle; empty for a format that is a folder.
    """

    module: str
    library: str
    extra: str
    file: str = ""


FORMATS: Final[Mapping[str, ModelFormat]] = MappingProxyType(
    {
        "xgboost": ModelFormat("serving.loaders.xgboost", "xgboost", "xgboost", "model.ubj"),
        "lightgbm": ModelFormat("serving.loaders.lightgbm", "lightgbm", "lightgbm", "model.txt"),
        "saved_model": ModelFormat("serving.loaders.saved_model", "tensorflow", "tf"),
    }
)
"""Every model format that a manifest may name."""


def format_named(name: str) -> ModelFormat:
    """Return what is known of a format.

    Raises:
        ConfigError: it is unknown.
    """
    if name not in FORMATS:
        raise ConfigError(
            f"model format {name!r} is unknown; the known ones are {', '.join(FORMATS)}"
        )
    return FORMATS[name]


def load_scorer(model_format: str, path: Path, *, threads: int | None = 1) -> Scorer:
    """Load the model of a bundle into this process.

    Args:
        model_format: one of `FORMATS`.
        path: the folder that holds the model's files; a `samescore/` folder in it is not looked at.
            Check the files' digests first: a missing or cut file is refused here, but XGBoost and
            LightGBM can kill the process over one that is damaged in its middle.
        threads: for the model's own computation, at least 1; None takes what the process has: a
            library that already runs as it runs, another one every core.

    Raises:
        ConfigError: an unknown format, a library that is not installed, an unusable setting.
        BundleError: the model's files are missing or damaged.
    """
    entry = format_named(model_format)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads}: a model needs at least 1 thread")
    load = cast("Load", importlib.import_module(entry.module).load)
    try:
        return load(path, threads)
    except ModuleNotFoundError as error:
        # Another missing module is a broken installation: its own message says more than ours.
        if error.name is None or error.name.partition(".")[0] != entry.library:
            raise
        raise ConfigError(
            f"model format {model_format!r} needs {entry.library}, which is not installed; run"
            f" pip install 'samescore[{entry.extra}]'"
        ) from error
