"""Classify, Regress and MultiInference: `tf.Example`s in, a tensor of scores out.

The checks, their order and their words are upstream's: clients match on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from google.protobuf import text_format

from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire.dtypes import DataType, dtype_of

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

    from serving.model_server.api import Tensor

CLASSIFY_METHOD: Final = "tensorflow/serving/classify"
REGRESS_METHOD: Final = "tensorflow/serving/regress"
INPUTS: Final = "inputs"
BUNDLE_TENSOR: Final = "samescore/"
"""How the names of the tensors begin that a bundle's signatures are made up of."""
CLASSES: Final = "classes"
SCORES: Final = "scores"
REGRESS_OUTPUTS: Final = "outputs"
MAX_CONTEXT_BYTES: Final = 256 << 20
"""Of a context, over all the examples that it goes before. Upstream has no limit: 1 MB of context
and 100,000 empty examples take 100 GB."""


def serialised_examples(given: input_pb2.Input) -> Tensor:
    """Return the examples as a graph parses them: N serialised ones, as objects.

    The context's features go before each example's own: where both have one, the parser keeps the
    example's.

    Raises:
        StatusError: no example; RESOURCE_EXHAUSTED, see `MAX_CONTEXT_BYTES`.
    """
    rows = list(_serialised(given))
    if not rows:
        raise invalid("Input is empty.")
    examples = np.empty(len(rows), dtype=object)
    examples[:] = rows
    return examples


def _serialised(given: input_pb2.Input) -> Iterator[bytes]:
    if given.HasField("example_list_with_context"):
        context = given.example_list_with_context.context.SerializeToString()
        rows = len(given.example_list_with_context.examples)
        if len(context) * rows > MAX_CONTEXT_BYTES:
            raise StatusError(
                Code.RESOURCE_EXHAUSTED,
                f"A context of {len(context)} bytes for {rows} examples: this server copies"
                f" {MAX_CONTEXT_BYTES} bytes at most. Send fewer examples at once.",
            )
        for example in given.example_list_with_context.examples:
            yield context + example.SerializeToString()
    else:
        for example in given.example_list.examples:
            yield example.SerializeToString()


def classify_outputs(signature: SignatureDef, check_method: bool) -> tuple[str, ...]:
    """Return the output aliases of a classification signature: `classes`, `scores` or both.

    Raises:
        StatusError: it is none.
    """
    _check_method(signature, CLASSIFY_METHOD, "classification", check_method)
    _check_one_input(signature)
    if len(signature.outputs) not in {1, 2}:
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise invalid(f"No classification inputs found in SignatureDef: {_dump(signature)}")
    found = tuple(alias for alias in (CLASSES, SCORES) if alias in signature.outputs)
    if not found:
        raise invalid(
            "Expected classification signature outputs to contain at least one of"
            f' "{CLASSES}" or "{SCORES}". Signature was: {_dump(signature)}'
        )
    return found


def regress_outputs(signature: SignatureDef, check_method: bool) -> tuple[str, ...]:
    """Return the output alias of a regression signature.

    Raises:
        StatusError: it is none.
    """
    _check_method(signature, REGRESS_METHOD, "regression", check_method)
    _check_one_input(signature)
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise invalid(f"No regression inputs found in SignatureDef: {_dump(signature)}")
    if REGRESS_OUTPUTS not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {_dump(signature)}")
    return (REGRESS_OUTPUTS,)


def _check_method(signature: SignatureDef, method: str, kind: str, check: bool) -> None:
    if check and signature.method_name != method:
        raise invalid(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
        )


def _check_one_input(signature: SignatureDef) -> None:
    if any(info.name.startswith(BUNDLE_TENSOR) for info in signature.inputs.values()):
        raise invalid(
            "This model takes features, not tf.Examples: a bundle answers Predict only. "
            "GetModelMetadata names its inputs."
        )
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")


def _dump(signature: SignatureDef) -> str:
    """Return a signature as C++ prints it for debugging, with the mark that says so."""
    return f"goo.gle/debugproto  \n{text_format.MessageToString(signature)}"


def fill_classifications(
    classes: Tensor | None,
    scores: Tensor | None,
    count: int,
    result: classification_pb2.ClassificationResult,
) -> None:
    """Write a classification's outputs as a result.

    Args:
        classes: labels, N x classes, or None.
        scores: N x classes, or None.
        count: N, of the examples.
        result: is filled.

    Raises:
        StatusError: an output of another shape or dtype; a label that is not UTF-8.
    """
    if classes is not None:
        _check_matrix(classes, CLASSES, DataType.STRING, count)
    if scores is not None:
        _check_matrix(scores, SCORES, DataType.FLOAT, count)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got"
            f" {classes.shape[1]} vs. {scores.shape[1]}"
        )
    labels = None if classes is None else classes.tolist()
    values = None if scores is None else scores.tolist()
    for row in range(count):
        found = result.classifications.add()
        _fill_row(found, labels[row] if labels else None, values[row] if values else None)


def _fill_row(
    row: classification_pb2.Classifications, labels: list[bytes] | None, scores: list[float] | None
) -> None:
    for place in range(len(labels if labels is not None else scores or ())):
        found = row.classes.add()
        if labels is not None:
            found.label = _label(labels[place])
        if scores is not None:
            found.score = scores[place]


def _label(label: bytes) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError as error:
        raise StatusError(Code.INTERNAL, f"class label {label!r} is not UTF-8") from error


def _check_matrix(output: Tensor, alias: str, dtype: DataType, count: int) -> None:
    if output.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(output)}")
    found = dtype_of(output)
    if found != dtype:
        raise invalid(f"Expected {alias} Tensor of {dtype.proto_name}. Got: {found.proto_name}")
    if output.shape[0] != count:
        raise invalid(f"Expected {alias} output batch size of {count}. Got: {output.shape[0]}")


def fill_regressions(output: Tensor, count: int, result: regression_pb2.RegressionResult) -> None:
    """Write a regression's output as a result.

    Args:
        output: N, or N x 1.
        count: N, of the examples.
        result: is filled.

    Raises:
        StatusError: it has another shape or dtype.
    """
    if output.ndim != 1 and not (output.ndim == 2 and output.shape[1] == 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            f" {_shape(output)}"
        )
    if output.shape[0] != count:
        raise invalid(
            f"Input batch size did not match output batch size: {count} vs. {output.shape[0]}"
        )
    found = dtype_of(output)
    if found != DataType.FLOAT:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {found.proto_name}")
    for value in output.reshape(-1).tolist():
        result.regressions.add().value = value


def _shape(array: Tensor) -> str:
    return f"[{','.join(map(str, array.shape))}]"
