"""Bundles under the model server's core: the model platform `samescore`.

A version's folder with `samescore/manifest.json` is a bundle. One that holds a SavedModel is run as
any SavedModel; every other format goes through its loader in `serving.loaders`. Nothing in a bundle
is unpickled or imported unless the operator said so.

Only the model server loads this module, and a replay of what it answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from consistency.bundle import open_bundle, verify_files
from consistency.bundle.manifest import MANIFEST_FILE
from consistency.errors import SamescoreError
from consistency.execution import apply_execution
from consistency.features import take_rows
from serving.core.loader import Loader, LoaderFactory
from serving.core.state import ServableId
from serving.loaders import load_scorer
from serving.loaders.runtimes.devices import CPU
from serving.loaders.trust.grants import NO_TRUST, ModelTrust
from serving.model_server.api import ServedModel
from serving.model_server.batching.parameters import PER_MODEL_FILE
from serving.model_server.models.bundle_model import BundleModel
from serving.model_server.status import Code, StatusError

PLATFORM: Final = "samescore"

OPERATORS_FILES: Final = ("assets.extra", PER_MODEL_FILE)
"""What an operator puts into a version's folder for the server: warm-up requests, batching. It
changes no answer, belongs to no bundle, and counts in no digest."""

_SAVED_MODEL: Final = "saved_model"


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """How bundles are loaded.

    Attributes:
        threads: of each model.
        device: of each model: `cpu`, `cuda` or `cuda:N`.
        trust: what model files may bring along.
    """

    threads: int = 1
    device: str = CPU
    trust: ModelTrust = NO_TRUST


def is_bundle(folder: Path) -> bool:
    """Tell whether a version's folder is a bundle."""
    return (folder / MANIFEST_FILE).is_file()


def load_bundle(folder: Path, options: BundleOptions) -> BundleModel:
    """Load a bundle of any format but SavedModel, its files checked against its manifest first.

    Raises:
        SamescoreError: it is not whole, not what its manifest says, or cannot be loaded here.
    """
    bundle = open_bundle(folder)
    verify_files(bundle, beside=OPERATORS_FILES)
    manifest = bundle.manifest
    scorer = load_scorer(
        manifest.model_format,
        folder,
        threads=options.threads,
        device=options.device,
        trust=options.trust,
    )
    sample = take_rows(bundle.golden().features, np.arange(1))
    return BundleModel(apply_execution(manifest.execution, scorer), sample, manifest.postprocess)


def format_of(folder: Path) -> str:
    """Return the model format of a bundle.

    Raises:
        BundleError: it is none.
    """
    return open_bundle(folder).manifest.model_format


def bundle_platform(
    options: BundleOptions, saved_models: LoaderFactory[ServedModel]
) -> LoaderFactory[ServedModel]:
    """Return what makes a loader for each version of a model of this platform.

    Args:
        options: how bundles are loaded.
        saved_models: loads the folder of a bundle that holds a SavedModel.
    """

    def loader(id: ServableId, folder: Path) -> Loader[ServedModel]:
        return BundleVersion(id, folder, options, saved_models)

    return loader


def with_bundles(
    saved_models: LoaderFactory[ServedModel], bundles: LoaderFactory[ServedModel]
) -> LoaderFactory[ServedModel]:
    """Return what loads a folder as a bundle if it is one, and as a SavedModel else."""

    def loader(id: ServableId, folder: Path) -> Loader[ServedModel]:
        return bundles(id, folder) if is_bundle(folder) else saved_models(id, folder)

    return loader


class BundleVersion:
    """Loads one version. A `Loader` of the serving core."""

    def __init__(
        self,
        id: ServableId,
        folder: Path,
        options: BundleOptions,
        saved_models: LoaderFactory[ServedModel],
    ) -> None:
        self._id, self._folder, self._options = id, folder, options
        self._saved_models = saved_models
        self._inner: Loader[ServedModel] | None = None

    def load(self) -> ServedModel:
        """Return the model.

        Raises:
            StatusError: FAILED_PRECONDITION: the bundle cannot be loaded; or as a SavedModel's.
        """
        try:
            if format_of(self._folder) != _SAVED_MODEL:
                return load_bundle(self._folder, self._options)
        except SamescoreError as error:
            raise StatusError(Code.FAILED_PRECONDITION, str(error)) from error
        self._inner = self._saved_models(self._id, self._folder)
        return self._inner.load()

    def unload(self, servable: ServedModel) -> None:
        """Give back what a SavedModel's loader holds; a bundle goes with its last reference."""
        if self._inner is not None:
            self._inner.unload(servable)
