"""Promotes an ONNX model to float64.

Initialisers and constants are converted exactly, dtypes that attributes and type declarations name
are widened, subgraphs and model-local functions included; inputs keep their dtype, with a Cast
behind each. ONNX's own type rules and onnxruntime's own kernels then judge the result: an operator
that is float32 by definition (tree ensembles before ai.onnx.ml 5), or that onnxruntime has no
float64 kernel for (Conv), is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from consistency.errors import BundleError, ConfigError
from serving.loaders.runtimes.onnx_runtime import import_onnxruntime

Onnx: TypeAlias = Any  # Any: the module, which is imported late
Proto: TypeAlias = Any  # Any: ONNX's protocol buffers

_FLOAT, _DOUBLE = 1, 11
_HALVES: Final = frozenset({10, 16})
_DTYPE_ATTRIBUTES: Final = frozenset({"to", "dtype", "output_dtype"})
_MAX_BYTES: Final = 2**31 - 1
_SUFFIX: Final = "/float64"
_OFFERED: Final = (
    "export the model in float64 from the library that trained it, or bundle it as 'padded:N'"
)


def promote_onnx(source: Path, target: Path) -> None:
    """Write an ONNX model that computes in float64; it is not verified yet.

    Args:
        source: an ONNX file, with the external data beside it that it names, if any.
        target: the file to write; it holds all data itself.

    Raises:
        ConfigError: an operator (named, with its node) cannot compute in float64, or the promoted
            model is larger than a protocol buffer can be.
        BundleError: the file cannot be read.
    """
    onnx = _import_onnx()
    try:
        model = onnx.load(source)
        before = _types(onnx.shape_inference.infer_shapes(model, check_type=True))
    except Exception as error:  # protobuf's, ONNX's and the file system's own errors
        raise BundleError(source, f"onnx {onnx.__version__} cannot read it: {error}") from error
    _check_nodes(onnx, model, before)
    for graph in [model.graph, *_subgraphs(model.graph.node)]:
        _widen_graph(onnx, graph)
    for function in model.functions:
        _widen_nodes(onnx, function.node)
    _keep_inputs(onnx, model.graph)
    _check_types(onnx, model)
    if model.ByteSize() * 1.01 > _MAX_BYTES:
        raise ConfigError(
            f"promotion to float64: the model would take {model.ByteSize()} bytes, an ONNX file"
            f" holds {_MAX_BYTES}; {_OFFERED}"
        )
    target.write_bytes(model.SerializeToString(deterministic=True))
    _check_kernels(target)


def _import_onnx() -> Onnx:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ConfigError(
            "promoting an ONNX model needs onnx, which is not installed; run pip install onnx"
        ) from error
    import onnx.shape_inference

    return onnx


def _subgraphs(nodes: Proto) -> Iterator[Proto]:
    """Yield the branches and bodies of control flow, at any depth."""
    for node in nodes:
        for attribute in node.attribute:
            held = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for graph in held:
                yield graph
                yield from _subgraphs(graph.node)


def _types(model: Proto) -> dict[str, int]:
    """Return the element type of every value that is known by name."""
    found: dict[str, int] = {}
    for graph in [model.graph, *_subgraphs(model.graph.node)]:
        for info in [*graph.input, *graph.output, *graph.value_info]:
            found[info.name] = info.type.tensor_type.elem_type
        found.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    return found


def _check_nodes(onnx: Onnx, model: Proto, types: dict[str, int]) -> None:
    """Refuse what ONNX defines for float32 only, and half precision."""
    versions = {i.domain: i.version for i in model.opset_import}
    local = {(f.domain, f.name) for f in model.functions}
    for graph in [model.graph, *_subgraphs(model.graph.node)]:
        for node in graph.node:
            if any(types.get(name) in _HALVES for name in node.output) and node.op_type != "Cast":
                raise _refusal(node, "it computes in half precision, whose digits are lost")
            if (node.domain, node.op_type) not in local:
                _check_definition(onnx, node, versions.get(node.domain, 1), types)


def _check_definition(onnx: Onnx, node: Proto, version: int, types: dict[str, int]) -> None:
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError as error:
        raise _refusal(node, f"its domain {node.domain!r} is not ONNX's") from error
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    for names, declared in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for position, name in enumerate(names):
            formal = declared[min(position, len(declared) - 1)]
            kinds = allowed.get(formal.type_str, {formal.type_str})
            if types.get(name) == _FLOAT and "tensor(double)" not in kinds:
                raise _refusal(node, f"its {formal.name!r} is float32 by definition")


def _refusal(node: Proto, why: str) -> ConfigError:
    return ConfigError(
        f"promotion to float64: operator {node.op_type} (node {node.name!r}) cannot be promoted:"
        f" {why}; {_OFFERED}"
    )


def _widen_graph(onnx: Onnx, graph: Proto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(onnx, tensor)
    for info in [*graph.input, *graph.output, *graph.value_info]:
        _widen_type(info.type)
    _widen_nodes(onnx, graph.node)


def _widen_type(declared: Proto) -> None:
    if declared.HasField("tensor_type") and declared.tensor_type.elem_type == _FLOAT:
        declared.tensor_type.elem_type = _DOUBLE
    for kind in ("sequence_type", "optional_type"):
        if declared.HasField(kind):
            _widen_type(getattr(declared, kind).elem_type)


def _widen_nodes(onnx: Onnx, nodes: Proto) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _DTYPE_ATTRIBUTES and attribute.i == _FLOAT:
                attribute.i = _DOUBLE
            if attribute.HasField("t"):
                _widen_tensor(onnx, attribute.t)
        if node.op_type in {"Constant", "ConstantOfShape"}:
            _spell_out(onnx, node)


def _spell_out(onnx: Onnx, node: Proto) -> None:
    """Give a constant that is float32 by default, or by its attribute, a float64 value."""
    held = {attribute.name: attribute for attribute in node.attribute}
    values: list[float] | None = None
    shape: list[int] = []
    if node.op_type == "ConstantOfShape" and "value" not in held:
        values, shape = [0.0], [1]
    elif "value_float" in held:
        values = [held["value_float"].f]
    elif "value_floats" in held:
        values = list(held["value_floats"].floats)
        shape = [len(values)]
    if values is not None:
        tensor = onnx.helper.make_tensor("value", _DOUBLE, shape, values)
        del node.attribute[:]
        node.attribute.append(onnx.helper.make_attribute("value", tensor))


def _widen_tensor(onnx: Onnx, tensor: Proto) -> None:
    if tensor.data_type == _FLOAT:
        wide = onnx.numpy_helper.to_array(tensor).astype("float64")
        tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))


def _keep_inputs(onnx: Onnx, graph: Proto) -> None:
    """Give the inputs their dtype back, and let the graph read what a Cast makes of them."""
    inner = {tensor.name for tensor in graph.initializer}
    casts = []
    for info in graph.input:
        kind = info.type.tensor_type
        if kind.elem_type == _DOUBLE and info.name not in inner:
            kind.elem_type = _FLOAT
            casts.append(info.name)
    for within in [graph, *_subgraphs(graph.node)]:
        for node in within.node:
            node.input[:] = [n + _SUFFIX if n in casts else n for n in node.input]
    made = [
        onnx.helper.make_node("Cast", [name], [name + _SUFFIX], name=name + _SUFFIX, to=_DOUBLE)
        for name in casts
    ]
    nodes = [*made, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _check_types(onnx: Onnx, model: Proto) -> None:
    for graph in [model.graph, *_subgraphs(model.graph.node)]:
        del graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(inferred)
    except Exception as error:  # ONNX's own errors, which name operator and node
        raise ConfigError(
            f"promotion to float64: ONNX's type rules refuse the widened model:"
            f" {' '.join(str(error).split())[:300]}; {_OFFERED}"
        ) from error
    inputs = {info.name for info in model.graph.input}
    narrow = [n for n, kind in _types(inferred).items() if kind == _FLOAT and n not in inputs]
    for graph in [inferred.graph, *_subgraphs(inferred.graph.node)]:
        for node in graph.node:
            if set(narrow) & set(node.output):
                raise _refusal(node, "it still answers float32")


def _check_kernels(path: Path) -> None:
    """Let onnxruntime say which operator has no kernel: its message names it."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each status
        raise ConfigError(
            f"promotion to float64: onnxruntime {onnxruntime.__version__} cannot run the widened"
            f" model: {' '.join(str(error).split())[:300]}; {_OFFERED}"
        ) from error
