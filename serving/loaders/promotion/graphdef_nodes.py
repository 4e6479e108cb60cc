"""Turns one TensorFlow graph or library function from float32 to float64, node by node.

Most nodes only need their type attributes widened. Three kinds need more: nodes that read what a
client or a file wrote as float32 keep that type, between casts; a fused batch normalisation, which
TensorFlow has for float32 alone, becomes the five operations that it fuses; and a node whose
operation has no float64 kernel on the CPU is refused by name. Which kernels there are is asked of
TensorFlow itself, so that no list of ours can be out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from consistency.errors import ConfigError

Proto: TypeAlias = Any  # Any: TensorFlow's protocol buffers and modules ship no types
Op: TypeAlias = Any  # Any: an OpDef

FLOAT, DOUBLE, STRING, COMPLEX64, HALF, BFLOAT16, COMPLEX128 = 1, 2, 7, 8, 19, 14, 18
WIDER: Final[Mapping[int, int]] = {FLOAT: DOUBLE, COMPLEX64: COMPLEX128}

READERS: Final = frozenset(
    {
        *("ParseExample", "ParseExampleV2", "ParseSingleExample", "ParseSequenceExample"),
        *("ParseSequenceExampleV2", "DecodeRaw", "DecodePaddedRaw", "DecodeCSV"),
        *("StringToNumber", "ParseTensor", "PlaceholderWithDefault"),
    }
)
"""They take float32 from a client, bytes or text: read as float64, the numbers would be others."""

RESAMPLERS: Final = frozenset(
    {"ResizeBilinear", "ResizeBicubic", "ResizeArea", "CropAndResize", "ScaleAndTranslate"}
)
"""They answer in float32 only, one image at a time; kept so between casts, and reported."""

_BATCH_NORMS: Final = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_HALF_CARRIERS: Final = frozenset({"Const", "Cast", "Identity", "Placeholder", "ReadVariableOp"})
_OPAQUE: Final = frozenset(
    {"XlaCallModule", "PyFunc", "PyFuncStateless", "EagerPyFunc", "TRTEngineOp", "Bitcast"}
)
_FULL_TYPES: Final = {"TFT_FLOAT": "TFT_DOUBLE", "TFT_COMPLEX64": "TFT_COMPLEX128"}


@dataclass(slots=True)
class Body:
    """The nodes of a graph, or of a function, while they are rewritten.

    Attributes:
        where: for messages: empty for the graph, else the function's name.
        nodes: repeated NodeDef.
        returns: a function's `ret` map; None for the graph.
        kept: what stays float32 and is cast behind: placeholders of a graph, arguments of a
            function.
        direct: nodes of a graph that take the kept placeholders as they are.
    """

    where: str
    nodes: Proto
    returns: Proto | None = None
    kept: frozenset[str] = frozenset()
    direct: frozenset[str] = frozenset()

    def reference(self, node: str, argument: str, index: int, flat: int) -> tuple[str, ...]:
        """Return the ways in which an output may be named; the first is the one to write."""
        if self.returns is not None:
            return (f"{node}:{argument}:{index}",)
        return (f"{node}:{flat}",) if flat else (node, f"{node}:0")

    def redirect(self, routes: Mapping[str, str], skip: Iterable[str] = ()) -> None:
        """Make every node (but those to skip) and every result read from elsewhere."""
        skipped = set(skip)
        for node in self.nodes:
            if node.name not in skipped:
                node.input[:] = [routes.get(name, name) for name in node.input]
        if self.returns is not None:
            for name, value in self.returns.items():
                self.returns[name] = routes.get(value, value)


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Rewrites bodies; collects what stayed in float32.

    Attributes:
        op_named: finds an operation's definition.
        kernels_of: the CPU kernels of an operation, as constraints: attribute to allowed types.
        widen_tensor: rewrites a TensorProto in place.
        functions: names of the library's functions.
        narrow: nodes that still compute in float32, as `Op (node)`.
    """

    op_named: Callable[[str], Op | None]
    kernels_of: Callable[[str], list[dict[str, frozenset[int]]]]
    widen_tensor: Callable[[Proto], None]
    functions: frozenset[str]
    narrow: list[str] = field(default_factory=list)

    def rewrite(self, body: Body) -> None:
        """Rewrite every node of a body in place.

        Raises:
            ConfigError: a node (named) cannot compute in float64.
        """
        for node in list(body.nodes):
            if node.name in body.kept and node.op.startswith("Placeholder"):
                continue
            self._rewrite_node(body, node)
        for name in sorted(body.kept):
            _cast_kept(body, name)

    def _rewrite_node(self, body: Body, node: Proto) -> None:
        op = self.op_named(node.op)
        if op is None:
            if node.op not in self.functions:
                raise refusal(body, node, "its operation is not part of TensorFlow")
            self.widen(node)
            return
        _fill_defaults(node, op)
        if not _has_floats(node, op):
            self.widen(node)  # shapes and types kept beside the node
            return
        _check_half(body, node)
        if node.op in _OPAQUE:
            raise refusal(body, node, "what it computes is not visible in the graph")
        if node.op in READERS | RESAMPLERS:
            self._keep(body, node, op)
        elif node.op in _BATCH_NORMS:
            _split_batch_norm(body, node)
        else:
            self._widen_node(body, node, op)

    def _keep(self, body: Body, node: Proto, op: Op) -> None:
        """Leave a node in float32, between casts."""
        if node.op in RESAMPLERS:
            self.narrow.append(f"{node.op} ({node.name})")
        kinds = list(arguments(node, op.input_arg))
        for position, (_, _, kind) in enumerate(kinds):
            if kind == FLOAT:
                cast = f"{node.name}/float64/input_{position}"
                _add_cast(body, cast, node.input[position], DOUBLE, FLOAT)
                node.input[position] = body.reference(cast, "y", 0, 0)[0]
        for flat, (name, index, kind) in enumerate(arguments(node, op.output_arg)):
            if kind == FLOAT:
                _cast_behind(body, body.reference(node.name, name, index, flat), node.name, flat)

    def _widen_node(self, body: Body, node: Proto, op: Op) -> None:
        fixed = [a.name for a in (*op.input_arg, *op.output_arg) if a.type in WIDER]
        if fixed:
            raise refusal(body, node, f"its {fixed[0]!r} is float32 by definition")
        ran = self._has_kernel(node)
        self.widen(node)
        for attr in op.attr:
            allowed = set(attr.allowed_values.list.type)
            if allowed and not _types(node.attr[attr.name]) <= allowed:
                raise refusal(body, node, "it is not defined for float64")
        if ran and not self._has_kernel(node):
            raise refusal(body, node, "TensorFlow has no float64 kernel for it on the CPU")

    def _has_kernel(self, node: Proto) -> bool:
        kernels = self.kernels_of(node.op)
        return any(
            all(_types(node.attr[name]) <= allowed for name, allowed in kernel.items())
            for kernel in kernels
        )

    def widen(self, message: Proto) -> None:
        """Replace float32 by float64 in everything that a message says of types."""
        for descriptor, value in message.ListFields():
            if descriptor.message_type is not None:
                for inner in _messages(descriptor, value):
                    if inner.DESCRIPTOR.full_name == "tensorflow.TensorProto":
                        self.widen_tensor(inner)
                    else:
                        self.widen(inner)
            elif descriptor.enum_type is not None:
                _widen_enum(message, descriptor, value)


def refusal(body: Body, node: Proto, why: str) -> ConfigError:
    """Return the error that names an operation and its node."""
    within = f" of function {body.where!r}" if body.where else ""
    return ConfigError(
        f"promotion to float64: operation {node.op} (node {node.name!r}{within}) cannot be"
        f" promoted: {why}; replace it in the model, or bundle the model as 'padded:N'"
    )


def arguments(node: Proto, declared: Proto) -> Iterator[tuple[str, int, int]]:
    """Yield name, index and type of each input or output of a node, in order.

    Args:
        node: with all type attributes filled in.
        declared: `input_arg` or `output_arg` of its definition.
    """
    for argument in declared:
        if argument.type_list_attr:
            kinds = list(node.attr[argument.type_list_attr].list.type)
        else:
            count = node.attr[argument.number_attr].i if argument.number_attr else 1
            kind = node.attr[argument.type_attr].type if argument.type_attr else argument.type
            kinds = [kind] * count
        yield from ((argument.name, index, kind) for index, kind in enumerate(kinds))


def _messages(descriptor: Proto, value: Proto) -> Iterable[Proto]:
    if descriptor.message_type.GetOptions().map_entry:
        held = descriptor.message_type.fields_by_name["value"].message_type
        return value.values() if held is not None else ()
    return (value,) if hasattr(value, "ListFields") else value


def _widen_enum(message: Proto, descriptor: Proto, value: Proto) -> None:
    if descriptor.enum_type.full_name == "tensorflow.DataType":
        if isinstance(value, int):
            setattr(message, descriptor.name, WIDER.get(value, value))
        else:
            value[:] = [WIDER.get(kind, kind) for kind in value]
    elif descriptor.enum_type.full_name == "tensorflow.FullTypeId":
        wider = _FULL_TYPES.get(descriptor.enum_type.values_by_number[value].name)
        if wider is not None:
            setattr(message, descriptor.name, descriptor.enum_type.values_by_name[wider].number)


def _fill_defaults(node: Proto, op: Op) -> None:
    """Write down the types that an export left out because they are the operation's defaults."""
    for attr in op.attr:
        is_type = attr.type in {"type", "list(type)"}
        if is_type and attr.name not in node.attr and attr.HasField("default_value"):
            node.attr[attr.name].CopyFrom(attr.default_value)


def _types(value: Proto) -> set[int]:
    return {value.type, *value.list.type} - {0}


def _has_floats(node: Proto, op: Op) -> bool:
    fixed = {a.type for a in (*op.input_arg, *op.output_arg)}
    held = set().union(*(_types(value) for value in node.attr.values())) if node.attr else set()
    return bool((fixed | held) & {FLOAT, COMPLEX64, HALF, BFLOAT16})


def _check_half(body: Body, node: Proto) -> None:
    held = set().union(*(_types(value) for value in node.attr.values()))
    if held & {HALF, BFLOAT16} and node.op not in _HALF_CARRIERS:
        raise refusal(body, node, "it computes in half precision, whose digits are lost")


def _add_cast(body: Body, name: str, source: str, old: int, new: int) -> None:
    cast = body.nodes.add(name=name, op="Cast", input=[source])
    cast.attr["SrcT"].type, cast.attr["DstT"].type = old, new


def _cast_behind(body: Body, ways: tuple[str, ...], stem: str, flat: int) -> None:
    """Let everything that reads an output read its float64 form."""
    name = f"{stem}/float64/output_{flat}"
    target = body.reference(name, "y", 0, 0)[0]
    body.redirect(dict.fromkeys(ways, target), skip=body.direct)
    _add_cast(body, name, ways[0], FLOAT, DOUBLE)


def _cast_kept(body: Body, name: str) -> None:
    ways = (name,) if body.returns is not None else (name, f"{name}:0")
    _cast_behind(body, ways, name, 0)


def _split_batch_norm(body: Body, node: Proto) -> None:
    """Replace a fused inference normalisation by (x - mean) * (scale / sqrt(var + eps)) + offset.

    The last operation takes the node's name, so that whoever reads the node reads it.
    """
    training = node.attr["is_training"].b if "is_training" in node.attr else True
    layout = node.attr["data_format"].s if "data_format" in node.attr else b"NHWC"
    if training or layout not in {b"NHWC", b"NDHWC"}:
        raise refusal(
            body, node, "only inference (is_training=False) with channels last has a float64 form"
        )
    epsilon = node.attr["epsilon"].f if "epsilon" in node.attr else 1e-4
    x, scale, offset, mean, variance = node.input[:5]
    behind, name = list(node.input[5:]), node.name
    _check_single_output(body, name, node)
    made = type(node)(name=f"{name}/float64/epsilon", op="Const", input=behind)
    made.attr["dtype"].type, made.attr["value"].tensor.dtype = DOUBLE, DOUBLE
    made.attr["value"].tensor.double_val.append(epsilon)
    body.nodes.append(made)

    def add(suffix: str, op: str, *inputs: str) -> str:
        step = type(node)(name=f"{name}/float64/{suffix}", op=op, input=inputs)
        step.attr["T"].type = DOUBLE
        body.nodes.append(step)
        out = {"Rsqrt": "y"}.get(op, "z")
        return body.reference(step.name, out, 0, 0)[0]

    shown = body.reference(f"{name}/float64/epsilon", "output", 0, 0)[0]
    root = add("rsqrt", "Rsqrt", add("variance", "AddV2", variance, shown))
    factor = add("factor", "Mul", root, scale)
    scaled = add("scaled", "Mul", add("centred", "Sub", x, mean), factor)
    node.Clear()
    node.name, node.op = name, "AddV2"
    node.input.extend([scaled, offset, *behind])
    node.attr["T"].type = DOUBLE
    if body.returns is not None:
        body.redirect({f"{name}:y:0": f"{name}:z:0"})


def _check_single_output(body: Body, name: str, node: Proto) -> None:
    first = {name, f"{name}:0", f"{name}:y:0", f"^{name}"}
    read = {i for n in body.nodes for i in n.input} | set((body.returns or {}).values())
    others = [i for i in read if i.lstrip("^").partition(":")[0] == name and i not in first]
    if others:
        raise refusal(body, node, f"its statistics ({others[0]}) are read")
