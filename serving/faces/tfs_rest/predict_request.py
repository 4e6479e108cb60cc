"""A `:predict` body to a PredictRequest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from serving.faces.tfs_rest.dense_values import MAX_RANK, DenseValues, Value, as_array
from serving.faces.tfs_rest.json_document import (
    ABSENT,
    format_error,
    is_base64,
    member,
    parse_document,
    signature_name,
    text_of,
)
from serving.faces.tfs_rest.json_quote import quoted_value
from serving.faces.tfs_rest.json_read import JsonObject, JsonValue
from serving.faces.tfs_rest.json_regular import MIN_BYTES, RegularBody, read_regular
from serving.model_server.status import StatusError, invalid
from serving.model_server.wire import tensors
from serving.model_server.wire.dtypes import FIELDS, DataType

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

_BULK: Final = (DataType.FLOAT, DataType.DOUBLE, DataType.INT32, DataType.INT64)

InputTypes = Mapping[str, int]
"""The dtype of each input of a signature, by the input's alias."""


class JsonFormat(Enum):
    """How a body lays out its tensors, and so how the answer does."""

    ROW = "instances"
    COLUMN = "inputs"


def fill_predict_request(
    body: bytes,
    request: PredictRequest,
    input_types: Callable[[str], InputTypes],
    *,
    exact: bool = False,
) -> JsonFormat:
    """Fill a request's signature name and inputs from a body.

    Args:
        body: JSON.
        request: its model spec names the model already.
        input_types: by signature name, empty for the default one; may raise StatusError.
        exact: round numbers correctly, which upstream does not.

    Raises:
        StatusError: in upstream's words.
    """
    regular = read_regular(body, exact=exact) if len(body) >= MIN_BYTES else None
    if regular is not None:
        types = _signature_inputs(regular.signature_name, request, input_types)
        if len(types) == 1 and _fill_regular(regular, *next(iter(types.items())), request):
            return JsonFormat(regular.key)
    document = parse_document(body, exact=exact)
    types = _signature_inputs(signature_name(document), request, input_types)
    return _fill_document(document, types, request)


def _signature_inputs(
    name: str, request: PredictRequest, input_types: Callable[[str], InputTypes]
) -> InputTypes:
    request.model_spec.signature_name = name
    types = input_types(name)
    if not types:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    return types


def _fill_regular(regular: RegularBody, name: str, dtype: int, request: PredictRequest) -> bool:
    """Take a plain body's numbers as the tensor, if they are of its dtype."""
    if dtype not in _BULK:
        return False
    values = regular.values
    if dtype in (DataType.INT32, DataType.INT64):
        if regular.integers is None:
            return False
        limits = np.iinfo(FIELDS[dtype].array)
        if regular.integers.min() < limits.min or regular.integers.max() > limits.max:
            return False
        array = regular.integers.astype(FIELDS[dtype].array)
    else:
        with np.errstate(over="ignore"):
            array = values.astype(FIELDS[dtype].array)
    tensors.encode(array.reshape(regular.shape), request.inputs[name])
    return True


def _fill_document(document: JsonObject, types: InputTypes, request: PredictRequest) -> JsonFormat:
    instances = member(document, b"instances")
    inputs = member(document, b"inputs")
    if instances is ABSENT and inputs is ABSENT:
        raise invalid("Missing 'inputs' or 'instances' key")
    if instances is ABSENT:
        _fill_columns(inputs, types, request)
        return JsonFormat.COLUMN
    if inputs is not ABSENT:
        what = (
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
        raise format_error(document, what)
    if not isinstance(instances, list):
        raise format_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise format_error(document, "No values in 'instances' array")
    _fill_rows(instances, types, request)
    return JsonFormat.ROW


def _fill_columns(inputs: JsonValue, types: InputTypes, request: PredictRequest) -> None:
    if isinstance(inputs, JsonObject) and not is_base64(inputs):
        for name in sorted(types):
            item = member(inputs, name.encode())
            if item is ABSENT:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
            _fill_column(item, name, types[name], request)
        return
    if len(types) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors"
            " required as per tensorinfo_map"
        )
    name, dtype = next(iter(types.items()))
    _fill_column(inputs, name, dtype, request)


def _fill_column(item: JsonValue, name: str, dtype: int, request: PredictRequest) -> None:
    dense = DenseValues(dtype, [], [])
    dense.add(item)
    _write(dense.values, dtype, dense.shape, name, request.inputs[name])


def _fill_rows(instances: list[JsonValue], types: InputTypes, request: PredictRequest) -> None:
    first = instances[0]
    if not isinstance(first, JsonObject) and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map"
        )
    rows = _Rows(types)
    if _is_row(first):
        for n, instance in enumerate(instances):
            rows.add_named(n, instance)
    else:
        rows.add_plain(instances)
    rows.write(len(instances), request)


def _is_row(value: JsonValue) -> bool:
    """Tell whether a value is an object of named inputs."""
    return isinstance(value, JsonObject) and not is_base64(value)


class _Rows:
    """The tensors of a row-format body, one instance after the other."""

    def __init__(self, types: InputTypes) -> None:
        self._types = types
        self._names = {name.encode(): name for name in types}
        self._tensors: dict[str, DenseValues] = {}
        self._sizes: dict[str, tuple[int, list[int]]] = {}

    def add_plain(self, instances: list[JsonValue]) -> None:
        """Add instances that are values of the only input."""
        name = min(self._types)
        dense = self._tensors[name] = DenseValues(self._types[name], [], [])
        if dense.add_all(instances):
            self._sizes[name] = (0, dense.shape)
            return
        for n, instance in enumerate(instances):
            if _is_row(instance):
                raise invalid(f"Expecting value/list but got object at item {n} of input list")
            try:
                self._add(name.encode(), instance)
            except StatusError as error:
                raise _at(f"element: {n} of 'instances' list. Error: ", error) from error

    def add_named(self, n: int, instance: JsonValue) -> None:
        """Add an instance that is an object of all inputs."""
        if not isinstance(instance, JsonObject) or is_base64(instance):
            raise invalid(f"Expecting object but got list at item {n} of input list")
        names = [name.split(b"\0")[0] for name in instance.names]
        for name, item in zip(names, instance.values, strict=True):
            try:
                self._add(name, item)
            except StatusError as error:
                where = f"element: {n} key: {text_of(name)} of 'instances' list. Error: "
                raise _at(where, error) from error
        if set(names) != self._names.keys():
            raise invalid(
                f"Failed to process element: {n} of 'instances' list. JSON object:"
                f" {quoted_value(instance)} keys must be equal to: {','.join(sorted(self._types))}"
            )

    def _add(self, key: bytes, item: JsonValue) -> None:
        name = self._names.get(key)
        if name is None:
            raise invalid(f"JSON object: does not have named input: {text_of(key)}")
        dense = self._tensors.get(name)
        if dense is None:
            dense = self._tensors[name] = DenseValues(self._types[name], [], [])
        size = dense.add(item)
        first_size, first_shape = self._sizes.setdefault(name, (size, dense.shape))
        if size != first_size:
            raise invalid(f"Expecting tensor size: {first_size} but got: {size}")
        if dense.shape != first_shape:
            raise invalid(f"Expecting shape {_shape(first_shape)} but got: {_shape(dense.shape)}")

    def write(self, count: int, request: PredictRequest) -> None:
        """Write the tensors of `count` instances into a request."""
        for name, dense in self._tensors.items():
            shape = [count, *self._sizes[name][1]]
            _write(dense.values, self._types[name], shape, name, request.inputs[name])


def _at(where: str, error: StatusError) -> StatusError:
    return invalid(f"Failed to process {where}{error.code.name}: {error.message}")


def _shape(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _write(
    values: list[Value], dtype: int, shape: list[int], name: str, proto: TensorProto
) -> None:
    """Write values into typed fields, as upstream does: more or fewer than the shape holds, too."""
    if len(shape) > MAX_RANK:
        raise invalid(f"tensor parsing error: {name}")
    proto.dtype = dtype
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    if dtype == DataType.FLOAT:
        proto.float_val.extend(as_array(values, dtype).tolist())
    elif dtype == DataType.STRING:
        proto.string_val.extend(values)
    elif values:
        getattr(proto, FIELDS[dtype].field).extend(values)
