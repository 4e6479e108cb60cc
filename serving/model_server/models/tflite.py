"""TensorFlow Lite models: a version's folder with `model.tflite`, served as a SavedModel is.

As upstream, one interpreter runs one request at a time, and a model has several of them. Its
signatures are those that the file carries, or one that is made up from its tensors.

Built-in operations only, and fewer than upstream by one: TensorFlow's Python wheel has no
`ParseExampleV2`, so that a model that parses `tf.Example`s inside does not load here.
Only the model server loads this module.
"""

from __future__ import annotations

import queue
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire import tensors
from serving.model_server.wire.dtypes import FIELD_OF_ARRAY, DataType, dtype_of

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

    from serving.model_server.api import Tensor

Interpreter: TypeAlias = Any  # Any: TensorFlow ships no types
Details: TypeAlias = Mapping[str, Any]

FILE: Final = "model.tflite"
_IDENTIFIER: Final = b"TFL3"
_SIGNATURES: Final = "signature_defs_metadata"
_DEFAULT_SIGNATURE: Final = "serving_default"
_PREDICT_METHOD: Final = "tensorflow/serving/predict"


def load_tflite(folder: Path, interpreters: int = 1) -> TfLiteModel:
    """Load a version's folder.

    Args:
        folder: holds `model.tflite`.
        interpreters: how many requests run side by side.

    Raises:
        StatusError: no such file, no such model, an operation that is not built in, or a signature
            of a tensor that the model lacks.
    """
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise StatusError(Code.NOT_FOUND, f"{folder / FILE}; {error.strerror}") from error
    if content[4:8] != _IDENTIFIER:
        raise invalid("Cannot build FlatBufferModel from buffer.")
    pool = [_interpreter(content) for _ in range(max(1, interpreters))]
    return TfLiteModel(pool, _signatures(content, pool[0]))


@dataclass(slots=True)
class _Slot:
    """An interpreter, and the shapes for which it has memory, by the input's index."""

    interpreter: Interpreter
    shapes: dict[int, tuple[int, ...]]


class TfLiteModel:
    """A loaded model; any number of threads may run it, as many at a time as it has interpreters.

    Args:
        interpreters: of the same model.
        signatures: by key; their tensors' names are the model's.
    """

    def __init__(
        self, interpreters: list[Interpreter], signatures: Mapping[str, SignatureDef]
    ) -> None:
        self.signatures = dict(signatures)
        self._inputs = {found["name"]: found for found in interpreters[0].get_input_details()}
        self._free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for interpreter in interpreters:
            shapes = {f["index"]: tuple(f["shape"]) for f in self._inputs.values()}
            self._free.put(_Slot(interpreter, shapes))
        self._outputs = {found["name"]: found for found in interpreters[0].get_output_details()}
        self.thread_hint_seconds = 0.0

    def run(
        self,
        signature: SignatureDef,
        feeds: Mapping[str, Tensor | TensorProto],
        fetches: tuple[str, ...],
    ) -> list[Tensor]:
        """Compute tensors.

        Raises:
            StatusError: an input of another dtype or of a shape that the model cannot take.
        """
        started = time.perf_counter()
        arrays = [
            (self._input(signature.inputs[alias].name), value)
            for alias, value in sorted(feeds.items())
        ]
        places = [self._output(signature.outputs[alias].name)["index"] for alias in fetches]
        slot = self._free.get()
        try:
            outputs = _invoke(slot, arrays, places)
        finally:
            self._free.put(slot)
        self.thread_hint_seconds = max(self.thread_hint_seconds, time.perf_counter() - started)
        return outputs

    def _input(self, name: str) -> Details:
        if name not in self._inputs:
            raise invalid(f"Missing input TFLite tensor: {name}")
        found: Details = self._inputs[name]
        return found

    def _output(self, name: str) -> Details:
        if name not in self._outputs:
            raise invalid(f"Missing output TFLite tensor: {name}")
        found: Details = self._outputs[name]
        return found


def _interpreter(content: bytes) -> Interpreter:
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            # The wheel that is to take its place, ai-edge-litert, holds the same interpreter.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise StatusError(
            Code.INTERNAL, f"Cannot build Interpreter from buffer. {error}"
        ) from error
    return interpreter


def _invoke(
    slot: _Slot, feeds: list[tuple[Details, Tensor | TensorProto]], places: list[int]
) -> list[Tensor]:
    interpreter = slot.interpreter
    for position, (details, value) in enumerate(feeds):
        array = value if isinstance(value, np.ndarray) else tensors.decode(value)
        _check_dtype(position, details, array)
        if array.shape != slot.shapes.get(details["index"]):
            _resize(slot, details, array)
        interpreter.set_tensor(details["index"], array)
    try:
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise StatusError(Code.INTERNAL, f"Failed to invoke TfLite interpreter: {error}") from error
    return [_strings(interpreter.get_tensor(place)) for place in places]


def _resize(slot: _Slot, details: Details, array: Tensor) -> None:
    slot.shapes.pop(details["index"], None)  # If it fails, none is known.
    try:
        slot.interpreter.resize_tensor_input(details["index"], array.shape)
        slot.interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise StatusError(
            Code.INTERNAL, f"Failed to resize input tensor: {details['name']} to {array.shape}"
        ) from error
    slot.shapes[details["index"]] = array.shape


def _check_dtype(position: int, details: Details, array: Tensor) -> None:
    expected, found = _dtype(details), dtype_of(array)
    if found is not expected:
        raise invalid(f"Expects arg[{position}] to be {expected.word} but {found.word} is provided")


def _dtype(details: Details) -> DataType:
    field = FIELD_OF_ARRAY.get(np.dtype(details["dtype"]))
    return field.type if field else DataType.STRING


def _strings(array: Tensor) -> Tensor:
    """Return an output; strings as objects."""
    return array.astype(object) if array.dtype.kind in "SU" else array


def _signatures(content: bytes, interpreter: Interpreter) -> dict[str, SignatureDef]:
    found = _stored_signatures(content)
    if not found:
        return {_DEFAULT_SIGNATURE: _made_signature(interpreter)}
    inputs = {details["name"] for details in interpreter.get_input_details()}
    outputs = {details["name"] for details in interpreter.get_output_details()}
    for signature in found.values():
        for alias, info in signature.inputs.items():
            info.name = _known(info.name, inputs, f"Signature input {alias}")
        for alias, info in signature.outputs.items():
            info.name = _known(info.name, outputs, f"Signature output {alias}")
    return found


def _known(name: str, names: set[str], where: str) -> str:
    """Return a tensor's name in the model: older converters left TensorFlow's `:0` off."""
    for candidate in (name, name.split(":", maxsplit=1)[0]):
        if candidate in names:
            return candidate
    raise StatusError(
        Code.INTERNAL, f"Unknown tensor '{name}'.\n\t{where} references an unknown tensor"
    )


def _stored_signatures(content: bytes) -> dict[str, SignatureDef]:
    """Read what a model's metadata says: a FlexBuffers map of serialised SignatureDefs."""
    import struct

    from flatbuffers import flexbuffers
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    found = {}
    try:
        for packed in _metadata(content, _SIGNATURES):
            entries = flexbuffers.GetRoot(packed).AsMap
            for place in range(len(entries)):
                key = entries.Keys[place].AsKey
                found[str(key)] = SignatureDef.FromString(
                    bytes(entries.Values[place].AsStringBytes)
                )
    except (DecodeError, TypeError, ValueError, IndexError, struct.error) as error:
        raise invalid(f"Invalid SignatureDefs found in TfLite model: {error}") from error
    return found


def _metadata(content: bytes, name: str) -> Iterator[bytes]:
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for place in range(model.MetadataLength()):
        entry = model.Metadata(place)
        if entry.Name() == name.encode():
            yield model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()


def _made_signature(interpreter: Interpreter) -> SignatureDef:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    signature = SignatureDef(method_name=_PREDICT_METHOD)
    for details in interpreter.get_input_details():
        _describe(signature.inputs[details["name"].split(":", maxsplit=1)[0]], details)
    for details in interpreter.get_output_details():
        _describe(signature.outputs[details["name"].split(":", maxsplit=1)[0]], details)
    return signature


def _describe(info: TensorInfo, details: Details) -> None:
    info.name, info.dtype = details["name"], _dtype(details)
    for size in details["shape"]:
        info.tensor_shape.dim.add().size = int(size)
