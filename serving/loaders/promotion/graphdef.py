"""Promotes SavedModels and frozen graphs to float64 by rewriting their graphs.

For models whose Keras configuration is gone: a plain `tf.Module`, a Keras export, a TensorFlow 1
export. Signatures keep the names, shapes and dtypes of their inputs, with a cast behind each;
floating outputs become float64. Variables and constants are converted exactly; tables, assets,
control flow and several signatures are kept.

Converters to lower precision that were looked at lose the signatures, or freeze variables into a
graph of at most 2 GB, or find an operation without a kernel when the first request arrives. Here
the SavedModel stays one, variables stay in their file, and each node is checked beforehand against
the kernels that this very TensorFlow has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from consistency.errors import BundleError, ConfigError
from serving.loaders.promotion.graphdef_nodes import FLOAT, WIDER, Body, Proto, Rewriter
from serving.loaders.runtimes.tensorflow_runtime import TensorFlow, start_tensorflow

_SAVED_MODEL: Final = "saved_model.pb"
_VARIABLES: Final = ("variables", "variables")
_KEPT_FOLDERS: Final = ("assets", "assets.extra")
_SERVE: Final = "serve"
_PLAIN_INPUTS: Final = frozenset({"Placeholder", "PlaceholderV2"})
_INPUTS: Final = _PLAIN_INPUTS | {"PlaceholderWithDefault"}
_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def promote_saved_model(source: Path, target: Path) -> tuple[str, ...]:
    """Write a SavedModel that computes in float64; it is not verified yet.

    Args:
        source: the SavedModel's folder.
        target: an empty or absent folder.

    Returns:
        The nodes that still compute in float32 between casts, as `Op (node)`: image resizing.

    Raises:
        ConfigError: a node (named) cannot compute in float64.
        BundleError: the SavedModel cannot be read.
    """
    tensorflow = start_tensorflow(None)
    saved = _read(source)
    serving = [m for m in saved.meta_graphs if _SERVE in m.meta_info_def.tags]
    if not serving:
        raise ConfigError(f"{source}: the SavedModel has no graph with the tag {_SERVE!r}")
    del saved.meta_graphs[:]
    narrow: list[str] = []
    for meta in serving:
        narrow += _promote_meta_graph(tensorflow, meta)
        saved.meta_graphs.append(meta)
    target.mkdir(parents=True, exist_ok=True)
    (target / _SAVED_MODEL).write_bytes(saved.SerializeToString(deterministic=True))
    for name in _KEPT_FOLDERS:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
    if source.joinpath(*_VARIABLES).with_suffix(".index").is_file():
        _promote_variables(tensorflow, source.joinpath(*_VARIABLES), target.joinpath(*_VARIABLES))
    return tuple(narrow)


def promote_graph(graph: Proto, inputs: frozenset[str]) -> tuple[str, ...]:
    """Rewrite a GraphDef in place.

    Args:
        graph: without variables.
        inputs: names of the placeholders that keep their dtype.

    Returns:
        As `promote_saved_model`.

    Raises:
        ConfigError: a node (named) cannot compute in float64.
    """
    return _promote_graph(start_tensorflow(None), graph, inputs, {})


def _read(folder: Path) -> Proto:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return SavedModel.FromString((folder / _SAVED_MODEL).read_bytes())
    except Exception as error:  # protobuf's DecodeError comes from one of several modules
        raise BundleError(folder, f"{_SAVED_MODEL} cannot be read: {error}") from error


def _promote_meta_graph(tensorflow: TensorFlow, meta: Proto) -> tuple[str, ...]:
    signatures = meta.signature_def.values()
    inputs = {name for s in signatures for info in s.inputs.values() for name in _tensors(info)}
    wrappers = _signature_functions(meta.graph_def, meta.object_graph_def)
    declared = {name: _arguments_of(meta.object_graph_def, name) for name in wrappers}
    placeholders = frozenset(name.partition(":")[0] for name in inputs)
    _check_inputs(meta.graph_def, placeholders)
    narrow = _promote_graph(tensorflow, meta.graph_def, placeholders, wrappers)
    rewriter = _rewriter(tensorflow, frozenset())
    rewriter.widen(meta.object_graph_def)
    for name, structure in declared.items():
        concrete = meta.object_graph_def.concrete_functions[name]
        concrete.canonicalized_input_signature.CopyFrom(structure)
    for signature in signatures:
        for info in signature.outputs.values():
            rewriter.widen(info)
    return narrow


def _check_inputs(graph: Proto, inputs: frozenset[str]) -> None:
    for node in graph.node:
        if node.name in inputs and node.op not in _INPUTS:
            raise ConfigError(
                f"promotion to float64: a signature's input is node {node.name!r}, a {node.op};"
                " only placeholders can keep their dtype: export the model anew"
            )


def _promote_graph(
    tensorflow: TensorFlow, graph: Proto, inputs: frozenset[str], wrappers: Mapping[str, int]
) -> tuple[str, ...]:
    floats = {n.name for n in graph.node if n.op in _PLAIN_INPUTS and n.attr["dtype"].type == FLOAT}
    direct = [n for n in graph.node if n.op in _CALLS and n.attr["f"].func.name in wrappers]
    taken = {n.name: _taken(n, wrappers[n.attr["f"].func.name]) for n in direct}
    rewriter = _rewriter(tensorflow, frozenset(f.signature.name for f in graph.library.function))
    for function in graph.library.function:
        _promote_function(rewriter, function, wrappers.get(function.signature.name, 0))
    kept = frozenset(inputs & floats)
    rewriter.rewrite(Body("", graph.node, kept=kept, direct=frozenset(taken)))
    for node in graph.node:
        if node.name in taken:
            kinds = taken[node.name]
            node.attr["Tin"].list.type[:] = kinds + list(node.attr["Tin"].list.type)[len(kinds) :]
    return tuple(rewriter.narrow)


def _promote_function(rewriter: Rewriter, function: Proto, client_arguments: int) -> None:
    taken = function.signature.input_arg[:client_arguments]
    kinds = [argument.type for argument in taken]
    kept = frozenset(argument.name for argument in taken if argument.type == FLOAT)
    rewriter.rewrite(Body(function.signature.name, function.node_def, function.ret, kept))
    rewriter.widen(function.signature)
    for attributes in function.arg_attr.values():
        rewriter.widen(attributes)
    for argument, kind in zip(taken, kinds, strict=True):
        argument.type = kind


def _taken(call: Proto, client_arguments: int) -> list[int]:
    return list(call.attr["Tin"].list.type)[:client_arguments]


def _tensors(info: Proto) -> tuple[str, ...]:
    if info.WhichOneof("encoding") == "coo_sparse":
        sparse = info.coo_sparse
        return sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name
    return (info.name,)


def _signature_functions(graph: Proto, objects: Proto) -> dict[str, int]:
    """Return the functions that clients call, with how many of their arguments clients give.

    The arguments behind these are what the function captured: variables, tables, constants.
    """
    if not objects.nodes:
        return {}
    roots = [c.node_id for c in objects.nodes[0].children if c.local_name == "signatures"]
    called = [objects.nodes[c.node_id] for r in roots for c in objects.nodes[r].children]
    names = {n.bare_concrete_function.concrete_function_name for n in called}
    return {
        f.signature.name: len(f.signature.input_arg)
        - len(objects.concrete_functions[f.signature.name].bound_inputs)
        for f in graph.library.function
        if f.signature.name in names
    }


def _arguments_of(objects: Proto, function: str) -> Proto:
    structure = objects.concrete_functions[function].canonicalized_input_signature
    copy = type(structure)()
    copy.CopyFrom(structure)
    return copy


def _promote_variables(tensorflow: TensorFlow, source: Path, target: Path) -> None:
    """Convert a checkpoint; float32 to float64 is exact."""
    reader = tensorflow.train.load_checkpoint(str(source))
    kinds = reader.get_variable_to_dtype_map()
    names = sorted(kinds)
    tensors = []
    for name in names:
        wider = WIDER.get(kinds[name].as_datatype_enum)
        value = tensorflow.constant(reader.get_tensor(name), kinds[name])
        tensors.append(value if wider is None else tensorflow.cast(value, wider))
    target.parent.mkdir(parents=True, exist_ok=True)
    tensorflow.raw_ops.SaveV2(
        prefix=str(target), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )


def _rewriter(tensorflow: TensorFlow, functions: frozenset[str]) -> Rewriter:
    # Neither module has a public name; TensorFlow offers no other way to ask.
    from tensorflow.python.framework import op_def_registry

    return Rewriter(op_def_registry.get, _kernel_finder(), _tensor_widener(tensorflow), functions)


def _kernel_finder() -> Callable[[str], list[dict[str, frozenset[int]]]]:
    from tensorflow.python.framework import kernels

    @cache
    def find(op: str) -> list[dict[str, frozenset[int]]]:
        listed = kernels.get_registered_kernels_for_op(op).kernel
        return [
            {c.name: frozenset(c.allowed_values.list.type) for c in kernel.constraint}
            for kernel in listed
            if kernel.device_type in {"CPU", "DEFAULT"}
        ]

    return find


def _tensor_widener(tensorflow: TensorFlow) -> Callable[[Proto], None]:
    def widen(tensor: Proto) -> None:
        wider = WIDER.get(tensor.dtype)
        if wider is not None:
            numpy_dtype = tensorflow.dtypes.as_dtype(wider).as_numpy_dtype
            values = tensorflow.make_ndarray(tensor).astype(numpy_dtype)
            tensor.CopyFrom(tensorflow.make_tensor_proto(values, wider))

    return widen
