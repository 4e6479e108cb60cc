"""One loader a model format. Importing this imports no model library; loading a model does.

`runtimes/` starts the libraries, `trust/` looks files through before they are read, `promotion/`
makes float64 models.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, cast

from consistency.errors import ConfigError
from consistency.protocols import Scorer
from serving.loaders.runtimes.devices import CPU, Device
from serving.loaders.trust.grants import NO_TRUST, ModelTrust


class Load(Protocol):
    """What a loader module offers under the name `load`."""

    def __call__(
        self, folder: Path, threads: int | None, device: str, **opt_ins: ModelTrust
    ) -> Scorer:
        """Load the model that lies in a folder.

        `opt_ins` is `trust`, for a format with `takes_trust`.

        Raises:
            BundleError: the model's files are missing or damaged.
            ConfigError: the model, the number of threads or the device cannot be served in this
                process.
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
        also: other names that the loader reads, for files of their suffixes.
        takes_trust: whether the loader takes the operator's opt-ins.
    """

    module: str
    library: str
    extra: str
    file: str = ""
    also: tuple[str, ...] = ()
    takes_trust: bool = False

    def file_for(self, model: Path) -> str:
        """Return the name that a model's file gets in a bundle, by its suffix."""
        return next((name for name in self.also if Path(name).suffix == model.suffix), self.file)


FORMATS: Final[Mapping[str, ModelFormat]] = MappingProxyType(
    {
        "xgboost": ModelFormat("serving.loaders.xgboost", "xgboost", "xgboost", "model.ubj"),
        "lightgbm": ModelFormat("serving.loaders.lightgbm", "lightgbm", "lightgbm", "model.txt"),
        "saved_model": ModelFormat("serving.loaders.saved_model", "tensorflow", "tf"),
        "sklearn": ModelFormat(
            "serving.loaders.sklearn",
            "sklearn",
            "sklearn",
            "model.skops",
            also=("model.joblib", "model.pkl"),
            takes_trust=True,
        ),
        "onnx": ModelFormat("serving.loaders.onnx", "onnxruntime", "onnx", "model.onnx"),
        "torch": ModelFormat(
            "serving.loaders.torch_export", "torch", "torch", "model.pt2", takes_trust=True
        ),
        "frozen_graph": ModelFormat("serving.loaders.frozen_graph", "tensorflow", "tf", "model.pb"),
        "pmml": ModelFormat("serving.loaders.pmml", "pypmml", "pmml", "model.pmml"),
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


def load_scorer(
    model_format: str,
    path: Path,
    *,
    threads: int | None = 1,
    device: str = CPU,
    trust: ModelTrust = NO_TRUST,
) -> Scorer:
    """Load the model of a bundle into this process.

    Args:
        model_format: one of `FORMATS`.
        path: the folder that holds the model's files; a `samescore/` folder in it is not looked at.
            Check the files' digests first: a missing or cut file is refused here, but XGBoost and
            LightGBM can kill the process over one that is damaged in its middle.
        threads: for the model's own computation, at least 1; None takes what the process has: a
            library that already runs as it runs, another one every core.
        device: `cpu`, `cuda` (the first GPU) or `cuda:N`.
        trust: the operator's opt-ins, for formats that hold Python objects.

    Raises:
        ConfigError: an unknown format, a library that is not installed, an unusable setting, a
            device that is not there or that the format cannot use.
        BundleError: the model's files are missing or damaged.
    """
    entry = format_named(model_format)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads}: a model needs at least 1 thread")
    Device.parse(device)
    load = cast("Load", importlib.import_module(entry.module).load)
    try:
        return load(path, threads, device, **({"trust": trust} if entry.takes_trust else {}))
    except ModuleNotFoundError as error:
        # Another missing module is a broken installation: its own message says more than ours.
        if error.name is None or error.name.partition(".")[0] != entry.library:
            raise
        raise ConfigError(
            f"model format {model_format!r} needs {entry.library}, which is not installed; run"
            f" pip install 'samescore[{entry.extra}]'"
        ) from error
