"""TensorProto to numpy and back, as TensorFlow's own `Tensor::FromProto` and `AsProtoField` do it.

What others do by `tf.make_ndarray` costs a Python object a number (11 ms for 1 MB of `float_val`)
and reads only what `tf.make_tensor_proto` writes; here an array is copied at most twice, whichever
field it stands in, and every form that TensorFlow Serving takes is taken.

It fills messages that it is given and imports no proto: those bring TensorFlow with them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from serving.model_server.status import Code, StatusError
from serving.model_server.wire import packed
from serving.model_server.wire.dtypes import FIELD_OF_ARRAY, FIELDS, DataType, TensorField

if TYPE_CHECKING:
    from typing import Any

    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto

    from serving.model_server.api import Tensor

MAX_FILLED_BYTES: Final = 64 << 20
"""How large a tensor may grow whose shape asks for more values than were sent. Upstream allocates
whatever is asked for: a message of 30 bytes can take all memory."""
MAX_AXES: Final = 254
"""TensorFlow's own limit."""
_STRING_BYTES: Final = 64  # What an empty string takes, here and in a graph.

_BULK: Final = 128  # Values from which the wire form pays.
_SMALL_BYTES: Final = 4096  # Up to which one copy more costs less than three views.
_MAX_SIZE: Final = (1 << 63) - 1
_MASK: Final = (1 << 64) - 1


class MalformedTensorError(ValueError):
    """No tensor can be made of a TensorProto."""


def decode(proto: TensorProto) -> Tensor:
    """Return the array of a TensorProto.

    Numbers are cast to narrower types as C++ casts them. Fewer values than the shape holds are
    filled up with the last one (none at all: with zeros), more are cut. NaN payloads survive.

    Returns:
        An array, read-only where it shares the message's bytes; strings are objects of `bytes`.

    Raises:
        MalformedTensorError: no dtype or one that has no values; a negative, unknown or overflowing
            shape; `tensor_content` of another size than the shape's.
        StatusError: RESOURCE_EXHAUSTED, the fill would take more than `MAX_FILLED_BYTES`.
    """
    shape, size = _shape(proto.tensor_shape)
    if proto.dtype == DataType.STRING:
        return _shaped(_decode_strings(proto, size), shape)
    kind = FIELDS.get(proto.dtype)
    if kind is None:
        raise MalformedTensorError(f"dtype {proto.dtype} has no values")
    content = proto.tensor_content if size else b""
    if not content:
        return _shaped(_decode_field(proto, kind, size), shape)
    if len(content) != size * kind.array.itemsize:
        raise MalformedTensorError(
            f"{len(content)} bytes of content for {size} values of {kind.array}"
        )
    return _shaped(np.frombuffer(content, dtype=kind.array), shape)


def encode(array: Tensor, proto: TensorProto, as_content: bool = False) -> None:
    """Write an array into an empty TensorProto, one value in a typed field for each element.

    Args:
        array: of any dtype that `decode` makes; strings are objects of `bytes`.
        proto: is filled.
        as_content: write `tensor_content` instead.

    Raises:
        StatusError: INTERNAL, TensorFlow has no such dtype.
    """
    proto.tensor_shape.SetInParent()  # A scalar's shape is there, and empty.
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        _encode_strings(array, proto, as_content)
        return
    kind = FIELD_OF_ARRAY.get(array.dtype)
    if kind is None:
        raise StatusError(Code.INTERNAL, f"output of dtype {array.dtype} has no TensorProto form")
    proto.dtype = kind.type
    if as_content:
        proto.tensor_content = array.tobytes()
    elif array.size:
        _encode_field(array, kind, proto)


def _shape(proto: TensorShapeProto) -> tuple[tuple[int, ...], int]:
    shape = tuple([dim.size for dim in proto.dim])  # a list is made faster than a generator
    if proto.unknown_rank or min(shape, default=0) < 0:
        raise MalformedTensorError("the shape is not known")
    if len(shape) > MAX_AXES:  # Before it is multiplied out: that takes minutes for a megabyte.
        raise MalformedTensorError(f"{len(shape)} axes")
    size = math.prod(shape)
    if size > _MAX_SIZE:
        raise MalformedTensorError("the shape overflows")
    return shape, size


def _shaped(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    try:
        return values.reshape(shape)
    except ValueError as error:  # more axes than numpy has, or empty with an overflowing axis
        raise MalformedTensorError(str(error)) from error


def _check_fill(size: int, sent: int, itemsize: int) -> None:
    if sent < size and size * itemsize > MAX_FILLED_BYTES:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED,
            f"A tensor of {size} values was asked for and {sent} were sent; this server fills up"
            f" {MAX_FILLED_BYTES} bytes at most.",
        )


def _decode_strings(proto: TensorProto, size: int) -> Tensor:
    if proto.tensor_content and size:
        # No more strings than bytes: each has a length. So the loop is bounded by the message.
        found = packed.split_strings(proto.tensor_content, size)
        if found is None:
            raise MalformedTensorError("the content is not a list of strings of the shape's size")
    else:
        found = list(proto.string_val[:size])
        # A graph holds each string for itself, the last one as often as it fills up.
        _check_fill(size, len(found), _STRING_BYTES + len(found[-1] if found else b""))
    strings = np.empty(size, dtype=object)
    strings[: len(found)] = found
    strings[len(found) :] = found[-1] if found else b""
    return strings


def _decode_field(proto: TensorProto, kind: TensorField, size: int) -> Tensor:
    field = getattr(proto, kind.field)
    each = 2 if kind.array.kind == "c" else 1  # A complex number is two values.
    sent = len(field) // each
    if sent < size:
        _check_fill(size, sent, kind.array.itemsize)
    if len(field) >= _BULK:
        payload = packed.packed_payload(proto.SerializeToString(), kind.number)
        values = _from_wire(payload, kind)
    else:
        values = _from_numbers(field[: sent * each], kind)
    if sent >= size:
        return values[:size]
    filled = np.empty(size, dtype=kind.array)
    filled[:sent] = values[:sent]
    filled[sent:] = values[sent - 1] if sent else np.zeros((), kind.array)
    return filled


def _from_wire(payload: memoryview, kind: TensorField) -> Tensor:
    if kind.bits is not None:
        return _narrow(packed.decode_varints(payload), kind)
    whole = len(payload) // kind.array.itemsize
    return np.frombuffer(payload, dtype=kind.array, count=whole)


def _from_numbers(numbers: list[Any], kind: TensorField) -> Tensor:  # Any: bool, int or float
    if kind.bits is not None:
        # As uint64, to which negative numbers wrap as they do on the wire.
        wide = [int(number) & _MASK for number in numbers]
        return _narrow(np.array(wide, dtype=np.uint64), kind)
    found = np.array(numbers, dtype=kind.real)
    return found if kind.real is kind.array else found.view(kind.array)


def _narrow(values: packed.Unsigned, kind: TensorField) -> Tensor:
    if kind.array == np.bool_:
        truths: Tensor = values != 0
        return truths
    bits: Tensor = values.astype(kind.bits)
    return bits.view(kind.array)


def _encode_strings(array: Tensor, proto: TensorProto, as_content: bool) -> None:
    proto.dtype = DataType.STRING
    strings = array.reshape(-1).tolist()
    if as_content:
        proto.tensor_content = packed.join_strings(strings)
    else:
        proto.string_val.extend(strings)


def _encode_field(array: Tensor, kind: TensorField, proto: TensorProto) -> None:
    payload: bytes | memoryview
    if kind.bits is None and array.nbytes <= _SMALL_BYTES:
        payload = array.tobytes()
    elif kind.bits is None:
        payload = _flat(array).view(np.uint8).data
    else:
        # Through int64: a negative number has ten bytes on the wire, as every protobuf writes it.
        wide = _flat(array).view(kind.bits).astype(np.int64)
        payload = packed.encode_varints(wide.view(np.uint64))
    proto.MergeFromString(packed.packed_field(kind.number, payload))


def _flat(array: Tensor) -> Tensor:
    return np.ascontiguousarray(array).reshape(-1)
