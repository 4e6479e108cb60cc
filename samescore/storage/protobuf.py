"""Forms of storage in protobuf: TensorFlow's records of tf.Example, and messages of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from consistency.schema import FeatureSchema, FeatureType
from consistency.storage import StorageForm, StorageTable
from consistency.storage.form import SCALARS
from consistency.storage.table import ABSENT, Cells, table_from_objects
from serving.loaders.runtimes.tensorflow_runtime import import_tensorflow

Message: TypeAlias = Any  # protobuf's generated classes have no types here

_FLOATS: Final = (FeatureType.FLOAT64, FeatureType.FLOAT32)


def _write_tfrecord(table: StorageTable) -> bytes:
    tf = import_tensorflow()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in table.row_objects():
                features = {n: _tf_feature(tf, table.of_type(n), v) for n, v in row.items()}
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
        return path.read_bytes()


def _tf_feature(tf: Any, kind: FeatureType, value: Any) -> Message:  # noqa: ANN401 - a module without types, a Python value
    values = [] if value is None else value if isinstance(value, list) else [value]
    if kind in _FLOATS:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if kind in (FeatureType.INT64, FeatureType.BOOL):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))
    texts = [v.encode() for v in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))


def _read_tfrecord(data: bytes, schema: FeatureSchema) -> StorageTable:
    tf = import_tensorflow()

    kinds = dict(zip(schema.names, schema.types, strict=True))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tfrecord"
        path.write_bytes(data)
        for line in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            held = tf.train.Example.FromString(line).features.feature
            rows.append({n: _tf_cell(held[n], kinds[n]) for n in schema.names if n in held})
    return table_from_objects(schema, rows)


def _tf_cell(feature: Message, kind: FeatureType) -> object:
    if kind in _FLOATS:
        return next(iter(feature.float_list.value), None)
    if kind is FeatureType.INT64:
        return next(iter(feature.int64_list.value), None)
    if kind is FeatureType.BOOL:
        return next((bool(v) for v in feature.int64_list.value), None)
    texts = [v.decode() for v in feature.bytes_list.value]
    return texts if kind is FeatureType.TOKENS else next(iter(texts), None)


def _message_class(schema: FeatureSchema, *, narrow: bool) -> Message:
    """Return the class of a message of rows, with one optional field a feature."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    kinds = descriptor_pb2.FieldDescriptorProto
    types = {
        FeatureType.FLOAT64: kinds.TYPE_FLOAT if narrow else kinds.TYPE_DOUBLE,
        FeatureType.FLOAT32: kinds.TYPE_FLOAT,
        FeatureType.INT64: kinds.TYPE_INT64,
        FeatureType.BOOL: kinds.TYPE_BOOL,
        FeatureType.STRING: kinds.TYPE_STRING,
    }
    file = descriptor_pb2.FileDescriptorProto(name="rows.proto", package="storage")
    row = file.message_type.add(name="Row")
    for i, kind in enumerate(schema.types):
        # positions, not names: a feature's name need not be an identifier
        row.field.add(name=f"f{i}", number=i + 1, type=types[kind], label=kinds.LABEL_OPTIONAL)
    rows = file.message_type.add(name="Rows")
    rows.field.add(
        name="rows", number=1, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED,
        type_name=".storage.Row",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("storage.Rows"))


def _protobuf_writer(*, narrow: bool) -> Callable[[StorageTable], bytes]:
    def write(table: StorageTable) -> bytes:
        message = _message_class(table.schema, narrow=narrow)()
        columns = [table.nulls(n) for n in table.schema.names]
        for cells in zip(*columns, strict=True):
            message.rows.add(**{f"f{i}": c for i, c in enumerate(cells) if c is not None})
        data: bytes = message.SerializeToString()
        return data

    return write


def _protobuf_reader(*, narrow: bool) -> Callable[[bytes, FeatureSchema], StorageTable]:
    def read(data: bytes, schema: FeatureSchema) -> StorageTable:
        rows = _message_class(schema, narrow=narrow).FromString(data).rows
        cells: dict[str, Cells] = {
            n: [getattr(r, f"f{i}") if r.HasField(f"f{i}") else ABSENT for r in rows]
            for i, n in enumerate(schema.names)
        }
        return StorageTable(schema, cells)

    return read


PROTOBUF_FORMS: Final = (
    StorageForm(
        "tfrecord",
        "TFRecord of tf.Example",
        "tf.Example knows floats as float32 (FloatList) and no double",
        _write_tfrecord,
        _read_tfrecord,
        library="tensorflow",
    ),
    StorageForm(
        "protobuf.float",
        "protobuf, optional float",
        "float32 keeps 24 of 53 bits; null becomes absent",
        _protobuf_writer(narrow=True),
        _protobuf_reader(narrow=True),
        SCALARS,
        "google.protobuf",
    ),
    StorageForm(
        "protobuf.double",
        "protobuf, optional double",
        "null becomes absent",
        _protobuf_writer(narrow=False),
        _protobuf_reader(narrow=False),
        SCALARS,
        "google.protobuf",
    ),
)
