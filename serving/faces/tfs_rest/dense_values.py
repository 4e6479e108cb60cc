"""The values of one tensor in nested JSON lists: their shape, and each value by its dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.faces.tfs_rest.json_document import decode_base64
from serving.faces.tfs_rest.json_quote import quoted_value, type_name
from serving.faces.tfs_rest.json_read import JsonObject, JsonValue
from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire.dtypes import FIELDS, DataType

MAX_RANK: Final = 254  # of a tensor of TensorFlow
_INT32: Final = (-(2**31), 2**31 - 1)
_RANGES: Final = {
    DataType.INT32: _INT32,
    DataType.INT16: _INT32,  # narrowed where the tensor is made, as upstream does
    DataType.INT8: _INT32,
    DataType.UINT8: _INT32,
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.UINT64: (0, 2**64 - 1),
}
_DECIMALS: Final = (DataType.FLOAT, DataType.DOUBLE)

Value = int | float | bool | bytes


@dataclass(slots=True)
class DenseValues:
    """A tensor being read.

    Attributes:
        dtype: of the signature's input.
        shape: of the last list that was added.
        values: of all lists that were added, in C order.
    """

    dtype: int
    shape: list[int]
    values: list[Value]

    def add(self, item: JsonValue) -> int:
        """Add the values of nested lists and return how many they were.

        Raises:
            StatusError: not rectangular, or a value that is not of the dtype.
        """
        self.shape = dense_shape(item)
        before = len(self.values)
        flat = rectangular(item, self.shape)
        if flat is None or not _all_fit(flat, self.dtype):
            self.values.extend(_walk(item, self.shape, _converter(self.dtype)))
        else:
            self.values.extend(flat)  # type: ignore[arg-type] # _all_fit has looked at each
        return len(self.values) - before

    def add_all(self, items: list[JsonValue]) -> bool:
        """Add the items of a list at once if they are alike and in order; else add nothing."""
        shape = dense_shape(items[0])
        flat = rectangular(items, [len(items), *shape])
        if flat is None or not _all_fit(flat, self.dtype):
            return False
        self.shape = shape
        self.values.extend(flat)  # type: ignore[arg-type] # _all_fit has looked at each
        return True


def dense_shape(item: JsonValue) -> list[int]:
    """Return the shape that the first value of each list suggests."""
    shape: list[int] = []
    while isinstance(item, list):
        shape.append(len(item))
        if not item:
            break
        item = item[0]
    return shape


def rectangular(item: JsonValue, shape: Sequence[int]) -> list[JsonValue] | None:
    """Return the values of lists that all have this shape, or None."""
    flat: list[JsonValue] = [item]
    for size in shape:
        lists = [v for v in flat if type(v) is list and len(v) == size]
        if len(lists) != len(flat):
            return None
        flat = list(chain.from_iterable(lists))
    return None if list in set(map(type, flat)) else flat


def _all_fit(flat: Sequence[JsonValue], dtype: int) -> bool:
    """Tell whether values may be taken as they are."""
    kinds = set(map(type, flat))
    if dtype in _DECIMALS:
        return kinds <= {int, float}
    if dtype in _RANGES:
        low, high = _RANGES[DataType(dtype)]
        return not flat or (kinds == {int} and low <= min(flat) and max(flat) <= high)  # type: ignore[type-var,operator]
    if dtype == DataType.STRING:
        return kinds <= {bytes}
    return dtype == DataType.BOOL and kinds <= {bool}


def _walk(
    item: JsonValue, shape: Sequence[int], convert: Callable[[JsonValue], Value]
) -> Iterator[Value]:
    """Yield the values one by one, in order, so that the first error is upstream's."""
    rank = len(shape)
    open_lists: list[Iterator[JsonValue]] = [iter((item,))]
    while open_lists:
        level = len(open_lists) - 1
        for value in open_lists[-1]:
            if isinstance(value, list):
                _check_list(value, level, shape)
                open_lists.append(iter(value))
                break
            if level != rank:
                raise invalid(
                    f"JSON Value: {quoted_value(value)} found at incorrect level: {level + 1} in"
                    f" the JSON DOM. Expected at level: {rank}"
                )
            yield convert(value)
        else:
            open_lists.pop()


def _check_list(value: list[JsonValue], level: int, shape: Sequence[int]) -> None:
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )


def _converter(dtype: int) -> Callable[[JsonValue], Value]:
    def convert(value: JsonValue) -> Value:
        if dtype == DataType.STRING and isinstance(value, JsonObject):
            return decode_base64(value)
        if isinstance(value, JsonObject) or not _is_known(dtype):
            raise _type_error(value, dtype)
        if not _all_fit((value,), dtype):
            raise _type_error(value, dtype)
        return value  # type: ignore[return-value] # _all_fit has looked at it

    return convert


def _is_known(dtype: int) -> bool:
    return dtype in _DECIMALS or dtype in _RANGES or dtype in (DataType.STRING, DataType.BOOL)


def _type_error(value: JsonValue, dtype: int) -> StatusError:
    word = dtype_word(dtype)
    if isinstance(value, JsonObject) or _is_known(dtype):
        return invalid(
            f"JSON Value: {quoted_value(value)} Type: {type_name(value)}"
            f" is not of expected type: {word}"
        )
    return StatusError(
        Code.UNIMPLEMENTED, f"Conversion of JSON Value: {quoted_value(value)} to type: {word}"
    )


def dtype_word(dtype: int) -> str:
    """Return what TensorFlow calls a dtype in its messages."""
    try:
        return DataType(dtype).word
    except ValueError:
        return f"unknown dtype enum ({dtype})"


def as_array(values: Sequence[Value], dtype: int) -> NDArray[Any]:
    """Return values as an array of float32 or float64, saturating to infinity as a C cast does."""
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float64).astype(FIELDS[dtype].array)
