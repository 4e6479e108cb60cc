"""The outputs of a model to the body that answers `:predict`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from serving.faces.tfs_rest.dense_values import dtype_word
from serving.faces.tfs_rest.json_write import array, decimals, nest, quote, record
from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire import tensors
from serving.model_server.wire.dtypes import DataType

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

_DECIMALS: Final = (DataType.FLOAT, DataType.DOUBLE)
_INTEGERS: Final = (
    DataType.INT32,
    DataType.INT16,
    DataType.INT8,
    DataType.UINT8,
    DataType.INT64,
    DataType.UINT32,
    DataType.UINT64,
)
_BINARY_SUFFIX: Final = "_bytes"  # of the names of outputs that are binary strings


def row_body(outputs: Mapping[str, TensorProto], *, exact: bool = False) -> bytes:
    """Return `{"predictions": [...]}`: one element an instance, an object if outputs are several.

    Args:
        outputs: by alias; the first dimension of each is the batch.
        exact: write floats exactly.

    Raises:
        StatusError: no output, a scalar, batches of several sizes, a dtype that JSON has not.
    """
    batch = _batch(outputs)
    if len(outputs) == 1:
        name, proto = next(iter(outputs.items()))
        rows = _elements(name, proto, 2, exact=exact, one_line=True)
        return _predictions(b", ".join(rows), batch)
    columns = [
        (name.encode(), _elements(name, outputs[name], 3, exact=exact, one_line=True))
        for name in sorted(outputs)
    ]
    rows = [record([(name, rows[n]) for name, rows in columns], 2) for n in range(batch)]
    return record([(b"predictions", array(rows, 1, one_line=False))], 0)


def _predictions(rows: bytes, batch: int) -> bytes:
    """Upstream ends the line only after the last of single values."""
    return record([(b"predictions", b"[" + rows + b"\n    ]" if batch else b"[]")], 0)


def column_body(outputs: Mapping[str, TensorProto], *, exact: bool = False) -> bytes:
    """Return `{"outputs": ...}`: the tensor, or an object of tensors if outputs are several.

    Raises:
        StatusError: no output, a dtype that JSON has not.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    level = 1 if len(outputs) == 1 else 2
    columns = [
        (name.encode(), _tensor(name, outputs[name], level, exact=exact))
        for name in sorted(outputs)
    ]
    text = columns[0][1] if len(columns) == 1 else record(columns, 1)
    return record([(b"outputs", text)], 0)


def _batch(outputs: Mapping[str, TensorProto]) -> int:
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    batch = -1
    for name in sorted(outputs):
        shape = outputs[name].tensor_shape
        if not shape.dim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        size = shape.dim[0].size
        if batch not in (-1, size):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting: {batch}"
            )
        batch = size
    return batch


def _tensor(name: str, proto: TensorProto, level: int, *, exact: bool) -> bytes:
    elements = _elements(name, proto, level + 1, exact=exact, one_line=False)
    if not proto.tensor_shape.dim:
        return elements[0]
    return array(elements, level, one_line=False)


def _elements(
    name: str, proto: TensorProto, level: int, *, exact: bool, one_line: bool
) -> list[bytes]:
    """Return the texts along a tensor's first dimension (a scalar's only one)."""
    try:
        values = tensors.decode(proto)
    except tensors.MalformedTensorError as error:
        raise StatusError(Code.INTERNAL, f"Output {name} is no tensor: {error}") from error
    depth = level + max(values.ndim - 1, 0)  # containers open around a value
    binary = name.endswith(_BINARY_SUFFIX)
    texts = _texts(values.ravel(), proto.dtype, depth, binary=binary, exact=exact)
    if not values.ndim:
        return _texts(values.ravel(), proto.dtype, level - 1, binary=binary, exact=exact)
    return nest(texts, values.shape, level, one_line=one_line)


def _texts(
    values: NDArray[Any], dtype: int, level: int, *, binary: bool, exact: bool
) -> list[bytes]:
    if dtype in _DECIMALS:
        return decimals(values, exact=exact)
    if dtype in _INTEGERS:
        return [b"%d" % v for v in values.tolist()]
    if dtype == DataType.BOOL:
        return [b"true" if v else b"false" for v in values.tolist()]
    if dtype == DataType.STRING:
        return [_binary(v, level) if binary else quote(v) for v in values.tolist()]
    if not values.size:
        return []
    raise invalid(f"Failed to write JSON value for tensor type: {dtype_word(dtype)}")


def _binary(value: bytes, level: int) -> bytes:
    return record([(b"b64", b'"' + b64encode(value) + b'"')], level)
