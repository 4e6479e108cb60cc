from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2

from serving.model_server.status import Code, StatusError
from serving.model_server.wire import packed, tensors
from serving.model_server.wire.dtypes import FIELDS, DataType, TensorField, dtype_of

pytestmark = pytest.mark.slow

ALL = sorted(FIELDS.values(), key=lambda field: field.type)
EAGER = [field for field in ALL if not field.array.names]  # no quantised ones
SIZES = (0, 1, 5, 127, 128, 1000)


def proto(dtype: DataType, *shape: int, **values: object) -> tensor_pb2.TensorProto:
    made = tensor_pb2.TensorProto(dtype=dtype, **values)
    made.tensor_shape.SetInParent()
    for size in shape:
        made.tensor_shape.dim.add().size = size
    return made


def noise(field: TensorField, size: int) -> np.ndarray:
    rng = np.random.default_rng(size)
    octets = rng.integers(0, 256, size * field.array.itemsize, dtype=np.uint8)
    return octets % 2 == 1 if field.type is DataType.BOOL else octets.view(field.array)


@pytest.mark.parametrize("as_content", [False, True], ids=["typed", "content"])
@pytest.mark.parametrize("field", ALL, ids=lambda field: field.type.name)
def test_arrays_survive_bit_by_bit(field: TensorField, as_content: bool) -> None:
    for size in SIZES:
        array, made = noise(field, size), tensor_pb2.TensorProto()
        tensors.encode(array, made, as_content)
        found = tensors.decode(tensor_pb2.TensorProto.FromString(made.SerializeToString()))
        assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes())


@pytest.mark.parametrize("field", EAGER, ids=lambda field: field.type.name)
def test_typed_fields_are_those_of_tensorflow(field: TensorField) -> None:
    """TensorFlow's own parser reads what we write, and we what it writes."""
    import tensorflow as tf

    array, made = noise(field, 300), tensor_pb2.TensorProto()
    tensors.encode(array, made)
    eager = tf.raw_ops.ParseTensor(
        serialized=made.SerializeToString(), out_type=tf.dtypes.as_dtype(int(field.type))
    )
    assert eager.numpy().tobytes() == array.tobytes()
    written = tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(eager).numpy())
    assert tensors.decode(written).tobytes() == array.tobytes()


@pytest.mark.parametrize("as_content", [False, True], ids=["typed", "content"])
def test_strings(as_content: bool) -> None:
    array = np.empty((2, 2), dtype=object)
    array[:] = [[b"", b"a\0"], [b"\xff" * 300, "数".encode()]]
    made = tensor_pb2.TensorProto()
    tensors.encode(array, made, as_content)
    assert bool(made.tensor_content) is as_content
    assert tensors.decode(made).tolist() == array.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1), (2, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    for array in (np.ones(shape, np.float32), np.full(shape, b"x", dtype=object)):
        made = tensor_pb2.TensorProto()
        tensors.encode(array, made)
        assert made.HasField("tensor_shape")
        assert tensors.decode(made).shape == shape


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (proto(DataType.FLOAT, 3, float_val=[2.0]), [2.0, 2.0, 2.0]),
        (proto(DataType.FLOAT, 3, float_val=[1.0, 2.0]), [1.0, 2.0, 2.0]),
        (proto(DataType.FLOAT, 1, float_val=[1.0, 2.0]), [1.0]),
        (proto(DataType.FLOAT, 2), [0.0, 0.0]),
        (proto(DataType.INT8, 2, int_val=[300, -1]), [44, -1]),
        (proto(DataType.UINT8, 2, int_val=[300, -1]), [44, 255]),
        (proto(DataType.UINT16, 1, int_val=[-1]), [65535]),
        (proto(DataType.INT64, 2, int64_val=[-(2**63), 2**63 - 1]), [-(2**63), 2**63 - 1]),
        (proto(DataType.UINT64, 1, uint64_val=[2**64 - 1]), [2**64 - 1]),
        (proto(DataType.HALF, 3, half_val=[0x3C00]), [1.0, 1.0, 1.0]),
        (proto(DataType.BOOL, 3, bool_val=[False, True]), [False, True, True]),
        (proto(DataType.COMPLEX64, 2, scomplex_val=[1, 2, 3]), [1 + 2j, 1 + 2j]),
        (proto(DataType.STRING, 3, string_val=[b"a", b"b"]), [b"a", b"b", b"b"]),
        (proto(DataType.STRING, 1, string_val=[b"a", b"b"]), [b"a"]),
        (proto(DataType.STRING, 2), [b"", b""]),
        (proto(DataType.FLOAT, 0, tensor_content=b"abc"), []),
        (proto(DataType.FLOAT, 2, int_val=[7]), [0.0, 0.0]),
    ],
)
def test_values_are_filled_up_cut_and_cast(
    made: tensor_pb2.TensorProto, expected: list[object]
) -> None:
    assert tensors.decode(made).tolist() == expected


@pytest.mark.parametrize("sent", [130, 1000])
@pytest.mark.parametrize("asked", [1, 129, 5000])
def test_long_fields_are_filled_up_and_cut_alike(sent: int, asked: int) -> None:
    values = list(range(sent))
    filled = np.array((values + [values[-1]] * asked)[:asked])
    for made in (
        proto(DataType.DOUBLE, asked, double_val=values),
        proto(DataType.INT64, asked, int64_val=values),
    ):
        assert tensors.decode(made).tolist() == filled.tolist()


@pytest.mark.parametrize(
    "made",
    [
        proto(DataType.INVALID, 1, float_val=[1.0]),
        proto(DataType.RESOURCE, 1),
        proto(DataType.VARIANT, 1),
        tensor_pb2.TensorProto(dtype=101, float_val=[1.0]),
        proto(DataType.FLOAT, -1, float_val=[1.0]),
        proto(DataType.FLOAT, 1 << 62, 4),
        proto(DataType.FLOAT, *([1] * 100), float_val=[1.0]),
        proto(DataType.FLOAT, 2, tensor_content=b"abc"),
        proto(DataType.STRING, 2, tensor_content=b"\x01\x01a"),
        proto(DataType.STRING, 1, tensor_content=b"\xff"),
        proto(DataType.STRING, 1 << 40, tensor_content=b"\x00\x00"),
    ],
)
def test_what_is_no_tensor(made: tensor_pb2.TensorProto) -> None:
    with pytest.raises(tensors.MalformedTensorError):
        tensors.decode(made)


def test_an_unknown_rank() -> None:
    made = proto(DataType.FLOAT, float_val=[1.0])
    made.tensor_shape.unknown_rank = True
    with pytest.raises(tensors.MalformedTensorError):
        tensors.decode(made)


@pytest.mark.parametrize("dtype", [DataType.FLOAT, DataType.STRING, DataType.BOOL])
def test_a_fill_is_bounded(dtype: DataType) -> None:
    with pytest.raises(StatusError) as raised:
        tensors.decode(proto(dtype, 1 << 40))
    assert raised.value.code is Code.RESOURCE_EXHAUSTED


def test_a_fill_with_a_long_string_is_bounded() -> None:
    assert tensors.decode(proto(DataType.STRING, 60, string_val=[b"x" * 1_000_000])).size == 60
    with pytest.raises(StatusError) as raised:
        tensors.decode(proto(DataType.STRING, 70, string_val=[b"", b"x" * 1_000_000]))
    assert raised.value.code is Code.RESOURCE_EXHAUSTED


def test_more_axes_than_tensorflow_has() -> None:
    with pytest.raises(tensors.MalformedTensorError, match="300000 axes"):
        tensors.decode(proto(DataType.FLOAT, *[1 << 62] * 300_000))


def test_an_output_that_tensorflow_has_no_dtype_for() -> None:
    with pytest.raises(StatusError, match="datetime64"):
        tensors.encode(np.zeros(1, "datetime64[s]"), tensor_pb2.TensorProto())
    assert dtype_of(np.zeros(1, "datetime64[s]")) is DataType.INVALID


def test_arrays_that_are_not_contiguous() -> None:
    array = np.arange(600, dtype=np.float32).reshape(20, 30).T
    for as_content in (False, True):
        made = tensor_pb2.TensorProto()
        tensors.encode(array, made, as_content)
        assert (tensors.decode(made) == array).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=50))
def test_varints_are_those_of_protobuf(values: list[int]) -> None:
    made = tensor_pb2.TensorProto(uint64_val=values).SerializeToString()
    payload = packed.packed_payload(made, 17)
    assert packed.decode_varints(payload).tolist() == values
    assert packed.encode_varints(np.array(values, np.uint64)) == bytes(payload)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_message_is_a_tensor_or_refused(message: bytes) -> None:
    from google.protobuf.message import DecodeError

    with suppress(DecodeError, tensors.MalformedTensorError, StatusError):
        tensors.decode(tensor_pb2.TensorProto.FromString(message))


def test_fields_that_a_newer_client_sends_do_not_matter() -> None:
    made = proto(DataType.FLOAT, 200, float_val=range(200))
    group = bytes.fromhex("a306 0801 a406")  # field 100, as a group
    for message in (group + made.SerializeToString(), made.SerializeToString() + group):
        found = tensors.decode(tensor_pb2.TensorProto.FromString(message))
        assert found.tolist() == list(range(200))
