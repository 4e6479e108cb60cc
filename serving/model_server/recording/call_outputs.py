"""The answer to a call as rows of named columns: what the request log holds of it.

Exact, and the same online and in a replay: floats, integers, booleans and texts stay what they are;
what JSON has no form for is turned into what it has one for (bfloat16 is float32, a complex number
two floats, bytes that are no UTF-8 `b64:` and base64).

Only the model server loads this module, and a replay of what it answered.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from consistency.records import Column
from serving.model_server.wire import tensors

if TYPE_CHECKING:
    from serving.model_server.api import Tensor

Response: TypeAlias = (
    predict_pb2.PredictResponse
    | classification_pb2.ClassificationResponse
    | regression_pb2.RegressionResponse
    | inference_pb2.MultiInferenceResponse
)

_BASE64: Final = "b64:"


def rows_of(response: Response) -> tuple[int, dict[str, Column]]:
    """Return the rows and the outputs of a response.

    Returns:
        The number of rows N, and each output with N as its first axis. Where outputs have no first
        axis in common, or it is empty, the whole answer is one row.

    Raises:
        MalformedTensorError: an output is no tensor.
    """
    columns = {name: _plain(values) for name, values in _outputs(response).items()}
    sizes = {values.shape[0] if values.ndim else 0 for values in columns.values()}
    if len(sizes) == 1 and (rows := sizes.pop()) > 0:
        return rows, columns
    return 1, {name: values[np.newaxis] for name, values in columns.items()}


def signature_of(response: Response) -> str:
    """Return the name of the signature that answered; empty for several."""
    if isinstance(response, inference_pb2.MultiInferenceResponse):
        return ""
    name: str = response.model_spec.signature_name
    return name


def version_of(response: Response) -> tuple[str, int]:
    """Return the name and the version of the model that answered."""
    spec = (
        response.results[0].model_spec
        if isinstance(response, inference_pb2.MultiInferenceResponse)
        else response.model_spec
    )
    return spec.name, spec.version.value


def _outputs(response: Response) -> Mapping[str, Tensor]:
    if isinstance(response, predict_pb2.PredictResponse):
        return {name: tensors.decode(proto) for name, proto in sorted(response.outputs.items())}
    if isinstance(response, inference_pb2.MultiInferenceResponse):
        return _several(response)
    if isinstance(response, classification_pb2.ClassificationResponse):
        return _classes(response.result)
    return _values(response.result)


def _several(response: inference_pb2.MultiInferenceResponse) -> dict[str, Tensor]:
    found = {}
    for number, result in enumerate(response.results):
        if result.WhichOneof("result") == "classification_result":
            columns = _classes(result.classification_result)
        else:
            columns = _values(result.regression_result)
        prefix = f"{number}/{result.model_spec.signature_name}/"
        found.update({prefix + name: values for name, values in columns.items()})
    return found


def _classes(result: classification_pb2.ClassificationResult) -> dict[str, Tensor]:
    rows = [row.classes for row in result.classifications]
    width = len(rows[0]) if rows else 0
    labels = np.empty((len(rows), width), object)
    scores = np.empty((len(rows), width), np.float32)
    for i, row in enumerate(rows):
        labels[i] = [found.label.encode() for found in row]
        scores[i] = [found.score for found in row]
    return {"classes": labels, "scores": scores}


def _values(result: regression_pb2.RegressionResult) -> dict[str, Tensor]:
    return {"outputs": np.array([found.value for found in result.regressions], np.float32)}


def _plain(values: Tensor) -> Column:
    if values.dtype == object:
        texts = np.empty(values.shape, object)
        texts.reshape(-1)[:] = [_text(value) for value in values.reshape(-1).tolist()]
        return texts
    if values.dtype.names:  # a quantised integer
        return values[values.dtype.names[0]]
    if values.dtype.kind == "c":
        parts = np.ascontiguousarray(values).view(np.float32 if values.itemsize == 8 else "f8")
        return parts.reshape(*values.shape, 2)
    return values.astype(np.float32) if values.dtype.name == "bfloat16" else values


def _text(value: bytes) -> str:
    """Return a text for any bytes, another one for others.

    >>> _text("数".encode()), _text(bytes([255])), _text(b"b64:")
    ('数', 'b64:/w==', 'b64:YjY0Og==')
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = _BASE64
    return _BASE64 + base64.b64encode(value).decode() if text.startswith(_BASE64) else text
