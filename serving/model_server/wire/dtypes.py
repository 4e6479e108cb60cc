"""TensorFlow's dtypes by number, without TensorFlow: `tensorflow.DataType` of types.proto."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray


class DataType(IntEnum):
    """The dtypes of which a tensor can be sent; the numbers are the wire's.

    >>> DataType.FLOAT.proto_name, DataType.FLOAT.word
    ('DT_FLOAT', 'float')
    """

    INVALID = 0
    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    RESOURCE = 20
    VARIANT = 21
    UINT32 = 22
    UINT64 = 23

    @property
    def proto_name(self) -> str:
        """The name in a proto's text."""
        return f"DT_{self.name}"

    @property
    def word(self) -> str:
        """The name in TensorFlow's messages."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class TensorField:
    """Where a dtype's values stand in a TensorProto.

    Attributes:
        type: the dtype.
        array: of an array of it.
        field: the field's name.
        number: the field's number.
        bits: the integers that varints stand for, of the same size as `array`'s elements; None
            where the field holds the elements' own bytes.
        real: of the numbers in a field without `bits`; `array` itself unless that is complex.
    """

    type: DataType
    array: np.dtype[Any]
    field: str
    number: int
    bits: np.dtype[Any] | None = None
    real: np.dtype[Any] | None = None


def _raw(type: DataType, array: DTypeLike, field: str, number: int) -> TensorField:
    kind: np.dtype[Any] = np.dtype(array)  # Any: float or complex, of both sizes
    real = np.zeros((), kind).real.dtype if kind.kind == "c" else kind
    return TensorField(type, kind, field, number, real=real)


def _varints(
    type: DataType, array: DTypeLike, field: str, number: int, bits: DTypeLike | None = None
) -> TensorField:
    return TensorField(type, np.dtype(array), field, number, np.dtype(bits or array))


_FIELDS: Final = (
    _raw(DataType.FLOAT, np.float32, "float_val", 5),
    _raw(DataType.DOUBLE, np.float64, "double_val", 6),
    _raw(DataType.COMPLEX64, np.complex64, "scomplex_val", 9),
    _raw(DataType.COMPLEX128, np.complex128, "dcomplex_val", 12),
    _varints(DataType.INT32, np.int32, "int_val", 7),
    _varints(DataType.UINT8, np.uint8, "int_val", 7),
    _varints(DataType.INT16, np.int16, "int_val", 7),
    _varints(DataType.INT8, np.int8, "int_val", 7),
    _varints(DataType.UINT16, np.uint16, "int_val", 7),
    _varints(DataType.INT64, np.int64, "int64_val", 10),
    _varints(DataType.BOOL, np.bool_, "bool_val", 11, np.uint8),
    _varints(DataType.BFLOAT16, ml_dtypes.bfloat16, "half_val", 13, np.uint16),
    _varints(DataType.HALF, np.float16, "half_val", 13, np.uint16),
    _varints(DataType.UINT32, np.uint32, "uint32_val", 16),
    _varints(DataType.UINT64, np.uint64, "uint64_val", 17),
    _varints(DataType.QINT8, [("qint8", np.int8)], "int_val", 7, np.int8),
    _varints(DataType.QUINT8, [("quint8", np.uint8)], "int_val", 7, np.uint8),
    _varints(DataType.QINT32, [("qint32", np.int32)], "int_val", 7, np.int32),
    _varints(DataType.QINT16, [("qint16", np.int16)], "int_val", 7, np.int16),
    _varints(DataType.QUINT16, [("quint16", np.uint16)], "int_val", 7, np.uint16),
)
FIELDS: Final[dict[int, TensorField]] = {field.type: field for field in _FIELDS}
"""By the dtype's number; strings have a form of their own."""
FIELD_OF_ARRAY: Final = {field.array: field for field in _FIELDS}


def dtype_of(array: NDArray[Any]) -> DataType:  # Any: an array of any dtype
    """Return an array's dtype; INVALID if TensorFlow has none."""
    if array.dtype == object:
        return DataType.STRING
    field = FIELD_OF_ARRAY.get(array.dtype)
    return field.type if field else DataType.INVALID
