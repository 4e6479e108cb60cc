"""What a remote model takes and gives: the part of a SignatureDef that scoring needs.

`GetModelMetadata` answers it as a message over gRPC and as the same message in JSON over REST; both
become a `Signature` here, without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from consistency.errors import ConfigError
from serving.loaders.named_inputs import Input

DEFAULT_SIGNATURE: Final = "serving_default"

_INTERNAL: Final = "__saved_model_"
"""How the names of what a SavedModel keeps for itself begin (its init operation)."""

DTYPES: Final[Mapping[int, np.dtype[Any]]] = MappingProxyType(  # Any: one of several
    {
        1: np.dtype("float32"),
        2: np.dtype("float64"),
        3: np.dtype("int32"),
        4: np.dtype("uint8"),
        5: np.dtype("int16"),
        6: np.dtype("int8"),
        7: np.dtype("object"),
        9: np.dtype("int64"),
        10: np.dtype("bool"),
        17: np.dtype("uint16"),
        19: np.dtype("float16"),
        22: np.dtype("uint32"),
        23: np.dtype("uint64"),
    }
)
"""By the numbers of TensorFlow's DataType; object holds strings."""

DTYPE_NUMBERS: Final = MappingProxyType({dtype: number for number, dtype in DTYPES.items()})

_NAMES: Final = MappingProxyType(
    {
        "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
        "DT_STRING": 7, "DT_INT64": 9, "DT_BOOL": 10, "DT_UINT16": 17, "DT_HALF": 19,
        "DT_UINT32": 22, "DT_UINT64": 23,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output.

    Attributes:
        alias: its name in the signature.
        dtype: of its values; object for strings.
        shape: -1 for an axis of any length; None when even the number of axes is open.
    """

    alias: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of a remote model; inputs and outputs in the order of their names."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def takes(self) -> tuple[Input, ...]:
        """The inputs, as features are laid out for them."""
        return tuple(_input(tensor) for tensor in self.inputs)

    @property
    def dtype(self) -> str:
        """The outputs' dtypes, for the log."""
        names = ("string" if t.dtype.kind == "O" else t.dtype.name for t in self.outputs)
        return "+".join(dict.fromkeys(names))


def choose_signature(names: Iterable[str], where: str) -> str:
    """Return the name of the signature that scores, by the same rule as the SavedModel loader.

    Args:
        names: of all signatures; what a SavedModel keeps for itself is passed over.
        where: model and instance, for the message.

    Raises:
        ConfigError: there is no `serving_default` and not exactly one other.
    """
    known = sorted(name for name in names if not name.startswith(_INTERNAL))
    if DEFAULT_SIGNATURE in known:
        return DEFAULT_SIGNATURE
    if len(known) != 1:
        raise ConfigError(
            f"{where}: the model needs the signature {DEFAULT_SIGNATURE!r} or exactly one; it has"
            f" {', '.join(known) or 'none'}; export it with signatures="
        )
    return known[0]


def tensor(alias: str, dtype: int | str, shape: Sequence[int] | None, where: str) -> Tensor:
    """Return an input or output.

    Args:
        alias: its name.
        dtype: number or name of TensorFlow's DataType.
        shape: None when the number of axes is open.
        where: model and instance, for the message.

    Raises:
        ConfigError: a dtype that no feature can become.
    """
    number = _NAMES.get(dtype, 0) if isinstance(dtype, str) else dtype
    if number not in DTYPES:
        raise ConfigError(
            f"{where}: tensor {alias!r} has the dtype {dtype}, which no feature and no score has;"
            " export a signature of numbers and strings"
        )
    return Tensor(alias, DTYPES[number], None if shape is None else tuple(shape))


def _input(tensor: Tensor) -> Input:
    shape = tensor.shape
    if shape is None:
        return Input(tensor.alias, tensor.dtype, None)
    width = shape[1] if len(shape) == 2 and shape[1] >= 0 else None
    rows = shape[0] if shape and shape[0] >= 0 else None
    return Input(tensor.alias, tensor.dtype, len(shape), width, rows)
