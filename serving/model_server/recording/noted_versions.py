"""Notes what is loaded, for the request log: which files, what computes them.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consistency.bundle import open_bundle
from consistency.execution import Execution, ExecutionMode
from consistency.protocols import ScorerInfo
from serving.core.loader import Loader
from serving.core.state import ServableId
from serving.loaders.runtimes.threads import cores
from serving.model_server.api import ServedModel
from serving.model_server.models.bundle_model import BundleModel
from serving.model_server.recording.scored_calls import (
    ServedFrom,
    ServedVersions,
    folder_digest,
    served_info,
)

_AS_IS = Execution(ExecutionMode.AS_IS)


@dataclass(frozen=True, slots=True)
class NotedLoader:
    """Loads a version and notes it. A `Loader` of the serving core.

    Attributes:
        inner: does the loading.
        id: of the version; folder: its files.
        versions: what is noted.
        tags: of the meta graph that is served.
        is_bundle: it is loaded as a bundle.
        is_tflite: its TensorFlow Lite model is.
    """

    inner: Loader[ServedModel]
    id: ServableId
    folder: Path
    versions: ServedVersions
    tags: frozenset[str]
    is_bundle: bool = False
    is_tflite: bool = False

    def load(self) -> ServedModel:
        """See `Loader.load`."""
        digest = folder_digest(self.folder)  # what is read now, not what is there later
        model = self.inner.load()
        served = ServedFrom(digest, self.tags, self.is_bundle, self.is_tflite)
        how, execution, decimals = _how(model), _AS_IS, 10
        if isinstance(model, BundleModel):
            manifest = open_bundle(self.folder).manifest
            execution, decimals = manifest.execution, manifest.gate_decimals
        self.versions.note(
            served_info(
                self.id, model, how, served=served, execution=execution, gate_decimals=decimals
            )
        )
        return model

    def unload(self, servable: ServedModel) -> None:
        """See `Loader.unload`."""
        self.inner.unload(servable)


def _how(model: ServedModel) -> ScorerInfo:
    if isinstance(model, BundleModel):
        return model.scorer.info
    import tensorflow as tf

    return ScorerInfo(f"model_server/tensorflow {tf.__version__}", "", threads=cores())
