"""The offline side of what the model server answered: the same loaders, the same readers.

Only a replay of such a log loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from consistency.errors import ReplayError
from consistency.postprocess import PostProcess
from consistency.replay import ReplayTarget
from consistency.schema import FeatureSchema
from serving.core.base_paths import parse_version
from serving.core.state import ServableId
from serving.faces.tfs_replay import CallReplay
from serving.model_server.api import ServedModel
from serving.model_server.models.bundle_platform import BundleOptions, bundle_platform
from serving.model_server.models.saved_model_files import SessionOptions
from serving.model_server.models.tensorflow_platform import TensorFlowOptions, tensorflow_platform
from serving.model_server.recording.scored_calls import ServedFrom, folder_digest
from serving.model_server.status import StatusError


def model_server_target(
    base: Path, model: tuple[str, int], digest: str, options: BundleOptions
) -> ReplayTarget:
    """Load what the model server served.

    Args:
        base: the model's base path.
        model: its name and version.
        digest: as logged.
        options: how bundles are loaded.

    Raises:
        ReplayError: it is not there, not as it was, or cannot be loaded.
    """
    folder = served_folder(base, model, digest)
    try:
        return ReplayTarget(
            FeatureSchema((), ()),
            None,
            None,
            PostProcess(),
            calls=CallReplay(_load(folder, model, ServedFrom.parse(digest), options)),
        )
    except StatusError as e:
        raise ReplayError(f"{folder} cannot be loaded: {e.code.name}: {e.message}") from e


def served_folder(base: Path, model: tuple[str, int], digest: str) -> Path:
    """Return the folder of a version, if it is as it was served.

    Raises:
        ReplayError: it is not there, or not as it was.
    """
    name, version = model
    children = sorted(base.iterdir()) if base.is_dir() else []
    found = [child for child in children if parse_version(child.name) == version]
    if not found:
        raise ReplayError(
            f"{base} holds no version {version} of {name}; name its base path with "
            f"--model-base-path {name}=FOLDER"
        )
    got, wanted = folder_digest(found[-1]), ServedFrom.parse(digest).digest
    if got != wanted:
        raise ReplayError(
            f"the log was served from files with the digest {wanted}, those in {found[-1]} have "
            f"{got}; replay with the ones that served"
        )
    return found[-1]


def _load(
    folder: Path, model: tuple[str, int], served: ServedFrom, options: BundleOptions
) -> ServedModel:
    tensorflow = tensorflow_platform(
        TensorFlowOptions(SessionOptions(tags=served.tags), only_tflite=served.is_tflite)
    )
    loads = bundle_platform(options, tensorflow) if served.is_bundle else tensorflow
    return loads(ServableId(*model), folder).load()
