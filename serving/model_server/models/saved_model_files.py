"""Loads a SavedModel from disk: its meta graph, variables, assets and initialisation.

The steps are those of TensorFlow's C++ loader, which tensorflow_model_server uses, and so are the
codes and words of their failures. `tf.compat.v1.saved_model.load` would take most of them and
answer in Python's words; it also rebuilds every collection of the training graph.

A SavedModel is code: TensorFlow's operations read and write files. Load what you trust.
Only the model server loads this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from consistency.bundle.manifest import MANIFEST_FILE
from serving.loaders.runtimes.devices import CPU, only_cpu
from serving.loaders.runtimes.tensorflow_runtime import start_tensorflow
from serving.model_server.models.saved_model import (
    SavedModel,
    Session,
    make_call,
    tensorflow_errors,
)
from serving.model_server.models.variables import uninitialised
from serving.model_server.status import Code, StatusError, not_found

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf.config_pb2 import ConfigProto
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef, SignatureDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

Graph: TypeAlias = Any  # Any: TensorFlow ships no types

BINARY: Final = "saved_model.pb"
TEXT: Final = "saved_model.pbtxt"
SERVE: Final = "serve"
SMALL_GRAPH: Final = 500
"""Nodes up to which a graph runs in its caller's thread, unless the operator sets threads: 7 µs for
half_plus_two where TensorFlow's own pool takes 16 to 65. At 24,000 nodes the pool was quicker."""

_UNKNOWN_OPERATION: Final = "Op type not registered"
INIT_OP: Final = "__saved_model_init_op"
# Collections of TensorFlow 1 models, in the order in which the loader looks for an operation.
_INIT_COLLECTIONS: Final = ("saved_model_main_op", "legacy_init_op")
_ASSETS_COLLECTION: Final = "saved_model_assets"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How models run.

    Attributes:
        tags: of the meta graph to load, all of them and no others.
        intra_op_threads: within an operation; 0 leaves it to TensorFlow.
        inter_op_threads: for operations side by side; 0 leaves it to TensorFlow.
        device: `cpu`.
    """

    tags: frozenset[str] = frozenset({SERVE})
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    device: str = CPU


def load_saved_model(folder: Path, options: SessionOptions | None = None) -> SavedModel:
    """Load a version's folder.

    `assets.extra/saved_model_config.pb` is not read: upstream's flag for it concerns another
    runtime (TFRT).

    Raises:
        StatusError: as upstream's: NOT_FOUND without `saved_model.pb` or without a meta graph of
            these tags, UNIMPLEMENTED for a session bundle of TensorFlow 0.x, DATA_LOSS for a file
            that is no SavedModel, or what restoring and initialising fail with. Unlike upstream's:
            NOT_FOUND without the files of its variables, see `variables`.
        ConfigError: another device.
    """
    options = options or SessionOptions()
    only_cpu("TensorFlow", options.device)
    start_tensorflow(None)
    meta = _meta_graph(_read(folder), options.tags)
    session = _session(meta, options)
    feeds = list(_asset_feeds(meta, folder))
    is_restored = _restore(session, meta, folder, feeds)
    _initialise(session, meta, feeds)
    if not is_restored:
        _check_variables(session, folder)
    return SavedModel(session, _signatures(meta))


def _signatures(meta: MetaGraphDef) -> dict[str, SignatureDef]:
    """Copy the signatures out of a meta graph, which holds megabytes besides."""
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    found = {}
    for key, signature in meta.signature_def.items():
        found[key] = SignatureDef()
        found[key].CopyFrom(signature)
    return found


def _read(folder: Path) -> SavedModelProto:
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel as SavedModelProto

    if (folder / "export.meta").exists():
        raise StatusError(Code.UNIMPLEMENTED, "Session Bundle is deprecated and removed.")
    binary, text = folder / BINARY, folder / TEXT
    try:
        if binary.exists():
            return SavedModelProto.FromString(binary.read_bytes())
        if text.exists():
            return text_format.Parse(text.read_text(encoding="utf-8"), SavedModelProto())
    except DecodeError as error:
        raise StatusError(Code.DATA_LOSS, f"Can't parse {binary} as binary proto") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise StatusError(Code.DATA_LOSS, f"Can't parse {text} as text proto") from error
    except OSError as error:
        raise StatusError(
            Code.FAILED_PRECONDITION, f"{error.filename}; {error.strerror}"
        ) from error
    ours = (folder / MANIFEST_FILE).is_file()
    raise not_found(
        "Specified file path does not appear to contain a SavedModel bundle (should have a file"
        f" called `saved_model.pb`)\nSpecified file path: {folder}"
        + ("\nIt is a bundle of samescore's: --enable_bundles loads it" if ours else "")
    )


def _meta_graph(saved: SavedModelProto, tags: frozenset[str]) -> MetaGraphDef:
    for meta in saved.meta_graphs:
        if set(meta.meta_info_def.tags) == tags:
            return meta
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. To"
        " inspect available tag-sets in the SavedModel, please use the SavedModel CLI:"
        " `saved_model_cli`"
    )


def _session(meta: MetaGraphDef, options: SessionOptions) -> Session:
    import tensorflow as tf

    try:
        graph = _graph(meta)
    except StatusError as error:
        if not error.message.startswith(_UNKNOWN_OPERATION):
            raise
        _register_text_operations(error)
        graph = _graph(meta)
    return tf.compat.v1.Session(graph=graph, config=_config(options, meta.graph_def))


def _graph(meta: MetaGraphDef) -> Graph:
    import tensorflow as tf

    graph = tf.Graph()
    with tensorflow_errors(), graph.as_default():
        tf.graph_util.import_graph_def(meta.graph_def, name="")
    return graph


def _register_text_operations(unknown: StatusError) -> None:
    """Add TensorFlow Text's operations, which upstream's binary has built in.

    Raises:
        StatusError: what was unknown, and where it may come from.
    """
    try:
        import tensorflow_text  # noqa: F401  # its import registers them
    except ImportError as error:
        raise StatusError(
            unknown.code,
            f"{unknown.message} If it is one of TensorFlow Text's, which tensorflow_model_server"
            " has built in, install tensorflow-text in the version of TensorFlow.",
        ) from error


def _config(options: SessionOptions, graph: GraphDef) -> ConfigProto:
    from tensorflow.core.protobuf.config_pb2 import ConfigProto

    nodes = len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
    # -1: in the caller's thread. A change of threads costs more than a small graph.
    ours = -1 if nodes <= SMALL_GRAPH else 0
    return ConfigProto(
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=options.inter_op_threads or ours,
        device_count={"GPU": 0},
        allow_soft_placement=True,
    )


def _asset_feeds(meta: MetaGraphDef, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each asset's tensor and the path that it is fed."""
    for asset in meta.asset_file_def or _collected_assets(meta):
        yield asset.tensor_info.name, str(folder / "assets" / Path(asset.filename).name)


def _collected_assets(meta: MetaGraphDef) -> Iterator[AssetFileDef]:
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

    if _ASSETS_COLLECTION in meta.collection_def:
        for packed in meta.collection_def[_ASSETS_COLLECTION].any_list.value:
            asset = AssetFileDef()
            packed.Unpack(asset)
            yield asset


def _restore(
    session: Session, meta: MetaGraphDef, folder: Path, assets: list[tuple[str, str]]
) -> bool:
    """Read the variables, if the graph reads any; false when the files for it are not there."""
    if not meta.HasField("saver_def"):
        return True
    variables = folder / "variables" / "variables"
    if not variables.with_suffix(".index").exists():
        return False
    saver = meta.saver_def
    feeds = [(saver.filename_tensor_name, os.fspath(variables)), *assets]
    _run_operation(session, saver.restore_op_name, feeds)
    return True


def _check_variables(session: Session, folder: Path) -> None:
    """Refuse a model whose variables' files are not there, unless it does without."""
    missing = uninitialised(session)
    if missing:
        raise not_found(
            f"Could not find {folder / 'variables' / 'variables.index'}, and nothing else sets the"
            f" model's variables ({', '.join(missing[:5])}). Is the version still being copied?"
        )


def _initialise(session: Session, meta: MetaGraphDef, assets: list[tuple[str, str]]) -> None:
    operation = _init_operation(meta)
    if operation:
        _run_operation(session, operation, assets)


def _init_operation(meta: MetaGraphDef) -> str:
    """Return the name of the operation that a loader has to run; empty for none."""
    if INIT_OP in meta.signature_def:
        name: str = meta.signature_def[INIT_OP].outputs[INIT_OP].name
        return name
    for collection in _INIT_COLLECTIONS:
        if collection in meta.collection_def:
            names = meta.collection_def[collection].node_list.value
            if len(names) != 1:
                raise StatusError(
                    Code.FAILED_PRECONDITION, f"Expected exactly one main op in : {collection}"
                )
            return str(names[0])
    return ""


def _run_operation(session: Session, operation: str, feeds: list[tuple[str, str]]) -> None:
    names = tuple(name for name, _ in feeds)
    target = operation.split(":", maxsplit=1)[0]
    call = make_call(session, names, (), (target,))
    with tensorflow_errors():
        call(*(np.array(path.encode(), dtype=object) for _, path in feeds))
