"""Promotes a torch exported program (`.pt2`) to float64.

Parameters, buffers and constants are converted exactly, every dtype that the graph names is
widened, and the program is exported anew, so that each node's recorded dtypes are true. Inputs keep
their names, dtypes and dynamic shapes; a cast follows each. Two things that a plain
`module.double()` leaves in float32 are caught: tensors made by the graph without naming a dtype,
and integers that an operation turns into floats of the default dtype.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from consistency.errors import BundleError, ConfigError
from serving.loaders.trust.grants import NO_TRUST, ModelTrust
from serving.loaders.trust.pt2_archive import find_surprise

Torch: TypeAlias = Any  # Any: the module, which is imported late
Program: TypeAlias = Any  # Any: torch.export.ExportedProgram, likewise
Node: TypeAlias = Any  # Any: torch.fx.Node, likewise
Module: TypeAlias = Any  # Any: torch.fx.GraphModule, likewise

_NAMESPACES: Final = frozenset({"aten", "prims"})
_PLAIN_MODULES: Final = frozenset({"_operator", "math", "torch"})
"""Where functions of sizes and of single numbers come from: `operator.getitem`, `torch.sym_max`."""
_OPAQUE: Final = frozenset({"aten::view.dtype"})
_CONTROL_FLOW: Final = frozenset({"cond", "while_loop", "wrap_with_set_grad_enabled"})
_TRAINING: Final = {"aten::batch_norm": 5, "aten::dropout": 2}
"""Operations that behave otherwise in training, with the position of the argument that says so."""
_OFFERED: Final = "replace it in the model, or bundle the model as 'padded:N'"


def promote_program(source: Path, target: Path, trust: ModelTrust = NO_TRUST) -> None:
    """Write an exported program that computes in float64; it is not verified yet.

    Args:
        source: a file that `torch.export.save` wrote.
        target: the file to write.
        trust: whether a file that holds more than tensors and operators may be loaded.

    Raises:
        ConfigError: an operation (named, with its node) cannot compute in float64, the program
            changes its own buffers, or the file is not to be trusted.
        BundleError: the file cannot be read.
    """
    import torch

    program = _load(torch, source, trust)
    _check_program(torch, program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # export speaks of its own future
        module = program.module()
        shapes = _dynamic_shapes(torch, program)
        for graph_module in _graph_modules(torch, module):
            _rewrite(torch, graph_module)
        _widen_tensors(torch, module)
        _cast_inputs(torch, module)
        promoted = _export(torch, module, program, shapes)
        _check_promoted(torch, promoted)
        torch.export.save(promoted, target)


def _load(torch: Torch, path: Path, trust: ModelTrust) -> Program:
    try:
        data = path.read_bytes()
        surprise = "" if trust.allow_pickle else find_surprise(data)
        if not surprise:
            return torch.export.load(io.BytesIO(data))
    except Exception as error:  # zip, JSON, version and torch's own errors
        raise BundleError(
            path, f"torch {torch.__version__} cannot read it: {type(error).__name__}: {error}"
        ) from error
    raise ConfigError(
        f"{path} holds {surprise}, which a plain exported model does not; torch could run code from"
        " it. If you trust the file's whole way here, allow pickles"
    )


def _check_program(torch: Torch, program: Program) -> None:
    signature = program.graph_signature
    changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        raise ConfigError(
            f"promotion to float64: the program changes {changed[0]!r} as it scores: its scores"
            " depend on the requests before; export the model after model.eval()"
        )
    if program.example_inputs is None:
        raise ConfigError(
            "promotion to float64: the program holds no example inputs; export it anew with"
            " torch.export.export, which keeps them"
        )
    held = {**program.state_dict, **program.constants}
    for name, value in held.items():
        if not isinstance(value, torch.Tensor):
            raise ConfigError(
                f"promotion to float64: constant {name!r} is a {type(value).__name__}, whose code"
                " is not visible in the graph; keep tensors only"
            )
        if value.dtype in {torch.float16, torch.bfloat16} or value.is_quantized:
            raise ConfigError(
                f"promotion to float64: {name!r} is {value.dtype}; only float32 models can be"
                " promoted: digits that are lost do not come back"
            )


def _graph_modules(torch: Torch, module: Module) -> Iterator[Module]:
    """Yield the program's graph, and the branches and bodies of its control flow."""
    for inner in module.modules():
        if isinstance(inner, torch.fx.GraphModule) and inner.graph is not None:
            yield inner


def _rewrite(torch: Torch, module: Module) -> None:
    for node in list(module.graph.nodes):
        if node.op == "call_module" and str(node.target).startswith("_guards"):
            module.graph.erase_node(node)  # checks float32 inputs; the new export makes its own
        elif node.op == "call_function":
            _rewrite_call(torch, module, node)
    module.graph.lint()
    module.recompile()


def _rewrite_call(torch: Torch, module: Module, node: Node) -> None:
    _check_operation(torch, node)
    if _name(node).startswith("aten::_assert_tensor_metadata"):
        module.graph.erase_node(node)  # states dtypes that are no longer true
        return
    wider = _wider(torch)

    def widen(value: object) -> object:
        return wider.get(value, value) if isinstance(value, torch.dtype) else value

    node.args = torch.fx.node.map_aggregate(node.args, widen)
    node.kwargs = torch.fx.node.map_aggregate(node.kwargs, widen)
    made = node.meta.get("val")
    if isinstance(made, torch.Tensor) and made.dtype in wider and _widens_by_default(torch, node):
        _name_dtype(torch, module, node, wider[made.dtype])


def _widens_by_default(torch: Torch, node: Node) -> bool:
    """Return whether an operation makes floats of the default dtype out of none."""
    read = [n.meta.get("val") for n in node.all_input_nodes]
    return not any(
        isinstance(v, torch.Tensor) and (v.is_floating_point() or v.is_complex()) for v in read
    )


def _name_dtype(torch: Torch, module: Module, node: Node, dtype: object) -> None:
    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    if "dtype" in names:
        position = names.index("dtype")
        if position < len(node.args):
            node.args = (*node.args[:position], dtype, *node.args[position + 1 :])
        else:
            node.kwargs = {**node.kwargs, "dtype": dtype}
        return
    for read in list(node.all_input_nodes):
        if isinstance(read.meta.get("val"), torch.Tensor):
            with module.graph.inserting_before(node):
                cast = module.graph.call_function(
                    torch.ops.aten.to.dtype, (read, torch.float64), {}
                )
            node.replace_input_with(read, cast)


def _check_operation(torch: Torch, node: Node) -> None:
    target = node.target
    if isinstance(target, torch._ops.HigherOrderOperator):  # noqa: SLF001 - it has no public name
        if target.name() not in _CONTROL_FLOW:
            raise _refusal(node, "what it computes cannot be widened")
        return
    schema = getattr(target, "_schema", None)
    if schema is None:
        if getattr(target, "__module__", None) not in _PLAIN_MODULES:
            raise _refusal(node, "it is no operation of ATen")
        return
    if target.namespace not in _NAMESPACES or _name(node) in _OPAQUE:
        raise _refusal(node, "it has no float64 form that is known")
    position = _TRAINING.get(str(schema.name))
    if position is not None and node.args[position] is True:
        raise _refusal(node, "it runs in training mode: export the model after model.eval()")
    made = node.meta.get("val")
    if isinstance(made, torch.Tensor) and made.dtype in {torch.float16, torch.bfloat16}:
        raise _refusal(node, "it computes in half precision, whose digits are lost")


def _name(node: Node) -> str:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.target))
    return f"{schema.name}.{schema.overload_name}" if schema.overload_name else str(schema.name)


def _refusal(node: Node, why: str) -> ConfigError:
    return ConfigError(
        f"promotion to float64: operation {_name(node)} (node {node.name!r}) cannot be promoted:"
        f" {why}; {_OFFERED}"
    )


def _wider(torch: Torch) -> dict[object, object]:
    return {torch.float32: torch.float64, torch.complex64: torch.complex128}


def _widen_tensors(torch: Torch, module: Module) -> None:
    """Convert parameters, buffers and plain tensor attributes; float32 to float64 is exact."""
    wider = _wider(torch)
    for inner in module.modules():
        for held in (inner._parameters, inner._buffers, vars(inner)):  # noqa: SLF001 - torch's own
            for name, value in list(held.items()):
                if isinstance(value, torch.Tensor) and value.dtype in wider:
                    wide = value.detach().to(wider[value.dtype])
                    is_parameter = isinstance(value, torch.nn.Parameter)
                    held[name] = torch.nn.Parameter(wide, False) if is_parameter else wide


def _cast_inputs(torch: Torch, module: Module) -> None:
    wider = _wider(torch)
    for node in [n for n in module.graph.nodes if n.op == "placeholder"]:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            continue
        if value.dtype not in wider and value.dtype != torch.float16:
            continue
        with module.graph.inserting_after(node):
            cast = module.graph.call_function(torch.ops.aten.to.dtype, (node, torch.float64), {})
        node.replace_all_uses_with(cast, delete_user_cb=lambda user, cast=cast: user is not cast)
    module.graph.lint()
    module.recompile()


def _dynamic_shapes(torch: Torch, program: Program) -> object:
    """Return the program's own dynamic axes in the form that `torch.export.export` takes."""
    made: dict[str, object] = {}
    by_name = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    axes = [
        [_axis(torch, program, size, made) for size in value.shape]
        if isinstance(value := by_name.get(name), torch.Tensor)
        else None
        for name in program.graph_signature.user_inputs
    ]
    args, kwargs = torch.utils._pytree.tree_unflatten(axes, program.call_spec.in_spec)  # noqa: SLF001
    return {"args": args, "kwargs": kwargs}


def _axis(torch: Torch, program: Program, size: object, made: dict[str, object]) -> object:
    """Return one axis: fixed, free within the program's own bounds, or for export to find out."""
    dim, name = torch.export.Dim, str(size)
    if isinstance(size, int):
        return dim.STATIC
    bounds = {str(symbol): bound for symbol, bound in program.range_constraints.items()}
    if not name.isidentifier() or name not in bounds:
        return dim.AUTO  # tied to another axis by a formula
    if name not in made:
        low, high = bounds[name].lower, bounds[name].upper
        made[name] = dim(name, min=int(low), max=int(high) if high.is_Integer else None)
    return made[name]


def _export(torch: Torch, module: Module, program: Program, shapes: Any) -> Program:  # noqa: ANN401
    args, kwargs = program.example_inputs
    dynamic = (*shapes["args"], *shapes["kwargs"].values())
    try:
        return torch.export.export(module, args, kwargs, dynamic_shapes=dynamic or None)
    except Exception as error:  # whatever an operation raises when it is traced
        raise ConfigError(
            f"promotion to float64: the widened program cannot be exported:"
            f" {str(error).strip().partition(chr(10))[0]}; {_OFFERED}"
        ) from error


def _check_promoted(torch: Torch, promoted: Program) -> None:
    """No node but the inputs may still be narrow."""
    for node in promoted.graph.nodes:
        made = node.meta.get("val")
        for value in made if isinstance(made, (tuple, list)) else (made,):
            narrow = isinstance(value, torch.Tensor) and value.dtype in _wider(torch)
            if narrow and node.op == "call_function":
                raise _refusal(node, f"it still answers {value.dtype}")
