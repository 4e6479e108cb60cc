"""The model platform `tensorflow`: SavedModels, and TensorFlow Lite where it is preferred.

Only the model server loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.core.loader import LoaderFactory
from serving.core.state import ServableId
from serving.loaders.runtimes.threads import cores
from serving.model_server.api import ServedModel
from serving.model_server.models import tflite
from serving.model_server.models.saved_model_files import SessionOptions, load_saved_model


@dataclass(frozen=True, slots=True)
class TensorFlowOptions:
    """How versions of this platform are loaded.

    Attributes:
        session: of SavedModels.
        prefer_tflite: take `model.tflite` where a folder has one (the flag prefer_tflite_model).
        only_tflite: a folder without one fails (the older flag use_tflite_model).
        tflite_interpreters: of each such model, so many requests at a time (num_tflite_pools);
            0 for one a processor.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    prefer_tflite: bool = False
    only_tflite: bool = False
    tflite_interpreters: int = 0


def load_tensorflow(folder: Path, options: TensorFlowOptions) -> ServedModel:
    """Load a version's folder.

    Raises:
        StatusError: as `load_saved_model` and `load_tflite`.
    """
    preferred = options.prefer_tflite and (folder / tflite.FILE).exists()
    if options.only_tflite or preferred:
        return tflite.load_tflite(folder, options.tflite_interpreters or cores())
    return load_saved_model(folder, options.session)


def tensorflow_platform(options: TensorFlowOptions) -> LoaderFactory[ServedModel]:
    """Return what makes a loader for each version of a model of this platform."""

    def loader(_: ServableId, folder: Path) -> TensorFlowLoader:
        return TensorFlowLoader(folder, options)

    return loader


class TensorFlowLoader:
    """Loads one version."""

    def __init__(self, folder: Path, options: TensorFlowOptions) -> None:
        self._folder, self._options = folder, options

    def load(self) -> ServedModel:
        """Return the model, initialised.

        Raises:
            StatusError: as `load_tensorflow`.
        """
        return load_tensorflow(self._folder, self._options)

    def unload(self, servable: ServedModel) -> None:
        """Nothing to take back: variables go with the last reference, after the last call."""
