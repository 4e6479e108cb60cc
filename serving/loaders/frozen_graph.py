"""TensorFlow 1 frozen graphs (`model.pb`: a GraphDef whose variables are constants) in process.

A frozen graph does not say which of its tensors are inputs and outputs. `model.json` beside it
does: `{"inputs": ["input"], "outputs": ["output", "softmax"]}`, node names or tensor names. Without
that file every placeholder is an input, and every node whose answer nobody reads is an output.

The graph is wrapped as one function; nothing in it is Python. Operations that would reach out of
the model (files, Python callbacks) are refused before it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from consistency.errors import BundleError, ConfigError
from serving.loaders.runtimes.devices import CPU, only_cpu
from serving.loaders.runtimes.tensorflow_runtime import TensorFlow, start_tensorflow
from serving.loaders.runtimes.threads import cores
from serving.loaders.saved_model import SavedModelScorer

FILE: Final = "model.pb"
NAMES_FILE: Final = "model.json"
MAX_BYTES: Final = 2**31 - 1
"""What a protocol buffer can hold."""

_PLACEHOLDERS: Final = frozenset({"Placeholder", "PlaceholderV2"})
_SILENT: Final = frozenset({"Const", "NoOp", "Assert"})
_REACHING_OUT: Final = re.compile(
    "File|Reader|PyFunc|Dataset|Iterator|Checkpoint|Summary|Rpc|Remote|Debug|^Save|^Restore"
    "|^PrintV2$|^LoadAndRemapMatrix$"
)
"""Operations that read or write files, call Python or another machine."""
_VARIABLES: Final = frozenset({"Variable", "VariableV2", "VarHandleOp"})

_FORM: Final = 'write {"inputs": ["input"], "outputs": ["output"]}'

GraphDef: TypeAlias = Any  # Any: TensorFlow's protocol buffers ship no types


@dataclass(frozen=True, slots=True)
class GraphNames:
    """Which tensors go in and come out.

    Attributes:
        inputs: feature name (the node's name) to tensor name.
        outputs: output name (the node's name) to tensor name.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def load(folder: Path, threads: int | None, device: str = CPU) -> SavedModelScorer:
    """Load `model.pb`, with the tensor names of `model.json` if that is there.

    Args:
        folder: holds the files.
        threads: of TensorFlow's pools, which all models of a process share; None takes them as they
            are.
        device: `cpu`.

    Returns:
        A scorer as for a SavedModel: a single input of two axes gets all features as one matrix,
        several get one feature each, by name; outputs are named as their nodes.

    Raises:
        BundleError: the file is missing, or is no GraphDef.
        ConfigError: another device or number of threads; the graph still has variables, reaches
            out of the model, or has no tensor of a given name.
    """
    only_cpu("TensorFlow", device)
    tensorflow = start_tensorflow(threads)
    graph = read_graph(folder)
    names = read_names(folder, graph)
    try:
        signature = _signature(tensorflow, graph, names)
    except (ValueError, KeyError, TypeError, tensorflow.errors.OpError) as error:
        raise BundleError(
            folder,
            f"TensorFlow {tensorflow.__version__} cannot import {FILE}: {type(error).__name__}:"
            f" {error}",
        ) from error
    within = tensorflow.config.threading.get_intra_op_parallelism_threads()
    return SavedModelScorer(tensorflow, signature, signature, threads or within or cores())


def read_graph(folder: Path) -> GraphDef:
    """Return the GraphDef of a folder, checked.

    Raises:
        BundleError: it is missing, too large, or no GraphDef.
        ConfigError: it holds variables, or operations that reach out of the model.
    """
    from tensorflow.core.framework.graph_pb2 import GraphDef as Graph

    path = folder / FILE
    if not path.is_file():
        raise BundleError(folder, f"{FILE} is missing; a frozen graph is that file")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(folder, f"{FILE} is larger than a GraphDef can be ({MAX_BYTES} bytes)")
    try:
        graph = Graph.FromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError comes from one of several modules
        raise BundleError(folder, f"{FILE} is no GraphDef: {error}") from error
    if not graph.node:
        raise BundleError(folder, f"{FILE} holds no node; is it a GraphDef?")
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    for node in (node for body in bodies for node in body):
        _check_node(folder, node)
    return graph


def _check_node(folder: Path, node: GraphDef) -> None:
    if node.op in _VARIABLES:
        raise ConfigError(
            f"{folder / FILE}: node {node.name!r} is a variable, so the graph is not frozen; freeze"
            " it (tf.compat.v1.graph_util.convert_variables_to_constants), or bundle a SavedModel"
        )
    if _REACHING_OUT.search(node.op):
        raise ConfigError(
            f"{folder / FILE}: node {node.name!r} is a {node.op}, which reaches out of the model;"
            " cut the graph down to what scores (extract_sub_graph)"
        )


def read_names(folder: Path, graph: GraphDef) -> GraphNames:
    """Return the names of `model.json`, or those that the graph's form suggests.

    Raises:
        BundleError: `model.json` is not what it should be.
        ConfigError: no such tensor in the graph, or nothing suggests an input or output.
    """
    path = folder / NAMES_FILE
    if path.is_file():
        given = _parse(folder, path.read_bytes())
    else:
        given = {"inputs": _placeholders(graph), "outputs": _ends(graph)}
    known = {node.name for node in graph.node}
    for kind, tensors in given.items():
        if not tensors:
            raise ConfigError(f"{folder / FILE} has no {kind}; name them in {NAMES_FILE}")
        for tensor in tensors:
            if tensor.partition(":")[0] not in known:
                raise ConfigError(
                    f"{folder / NAMES_FILE}: the graph has no tensor {tensor!r}; placeholders are"
                    f" {', '.join(_placeholders(graph))}, last nodes {', '.join(_ends(graph))}"
                )
    return GraphNames(*(_by_name(given[kind]) for kind in ("inputs", "outputs")))


def _parse(folder: Path, data: bytes) -> dict[str, Sequence[str]]:
    try:
        value = orjson.loads(data)
        given = {kind: value[kind] for kind in ("inputs", "outputs")}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(folder, f"{NAMES_FILE}: {error}; {_FORM}") from error
    for tensors in given.values():
        if not isinstance(tensors, list) or not all(isinstance(t, str) for t in tensors):
            raise BundleError(folder, f"{NAMES_FILE}: {_FORM}")
    return given


def _by_name(tensors: Sequence[str]) -> dict[str, str]:
    """Name a node's first tensor as the node, another one with its number."""
    full = [t if ":" in t else f"{t}:0" for t in tensors]
    return {t.removesuffix(":0").replace(":", "_"): t for t in full}


def _placeholders(graph: GraphDef) -> list[str]:
    return [node.name for node in graph.node if node.op in _PLACEHOLDERS]


def _ends(graph: GraphDef) -> list[str]:
    read = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    silent = _SILENT | _PLACEHOLDERS
    return [n.name for n in graph.node if n.name not in read and n.op not in silent]


def _signature(tensorflow: TensorFlow, graph: GraphDef, names: GraphNames) -> FrozenSignature:
    imported = tensorflow.compat.v1.wrap_function(
        lambda: tensorflow.graph_util.import_graph_def(graph, name=""), []
    )
    element = imported.graph.as_graph_element
    inputs = {name: element(tensor) for name, tensor in names.inputs.items()}
    outputs = {name: element(tensor) for name, tensor in names.outputs.items()}
    specs = {name: tensorflow.TensorSpec(t.shape, t.dtype) for name, t in inputs.items()}
    pruned = imported.prune(list(inputs.values()), outputs)
    return FrozenSignature(pruned, ((), specs), outputs)


@dataclass(frozen=True, slots=True)
class FrozenSignature:
    """A graph as a function with named inputs and outputs, as a SavedModel's signature is one.

    Attributes:
        function: takes tensors in the order of the inputs.
        structured_input_signature: no positional inputs; name to shape and dtype.
        structured_outputs: name to a tensor of the graph.
    """

    function: TensorFlow
    structured_input_signature: tuple[tuple[()], Mapping[str, TensorFlow]]
    structured_outputs: Mapping[str, TensorFlow]

    def __call__(self, **tensors: TensorFlow) -> Mapping[str, TensorFlow]:
        """Return the outputs by name."""
        names = self.structured_input_signature[1]
        answer: Mapping[str, TensorFlow] = self.function(*(tensors[name] for name in names))
        return answer
