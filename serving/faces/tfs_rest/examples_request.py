"""A `:classify` or `:regress` body to `tf.Example`s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from serving.faces.tfs_rest.dense_values import as_array
from serving.faces.tfs_rest.json_document import (
    ABSENT,
    decode_base64,
    format_error,
    is_base64,
    member,
    name_of,
    parse_document,
    signature_name,
    text_of,
)
from serving.faces.tfs_rest.json_quote import type_name
from serving.faces.tfs_rest.json_read import JsonObject, JsonValue
from serving.model_server.status import StatusError, invalid
from serving.model_server.wire.dtypes import DataType

if TYPE_CHECKING:
    from tensorflow.core.example.example_pb2 import Example
    from tensorflow.core.example.feature_pb2 import Feature
    from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
    from tensorflow_serving.apis.regression_pb2 import RegressionRequest

_MAX_INT64: Final = 2**63 - 1
_KINDS: Final = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def fill_examples_request(
    body: bytes, request: ClassificationRequest | RegressionRequest, *, exact: bool = False
) -> None:
    """Fill a request's signature name and examples from a body.

    Args:
        body: JSON.
        request: its model spec names the model already.
        exact: round numbers correctly, which upstream does not.

    Raises:
        StatusError: in upstream's words.
    """
    document = parse_document(body, exact=exact)
    request.model_spec.signature_name = signature_name(document)
    context = member(document, b"context")
    target = request.input.example_list.examples
    if context is not ABSENT:
        with_context = request.input.example_list_with_context
        _fill_example(context, with_context.context)
        target = with_context.examples
    examples = member(document, b"examples")
    if examples is ABSENT:
        what = "When method is classify, key 'examples' is expected and was not found"
        raise format_error(document, what)
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    for example in examples:
        _fill_example(example, target.add())


def _fill_example(value: JsonValue, example: Example) -> None:
    if not isinstance(value, JsonObject):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example.SetInParent()
    for key, content in zip(value.names, value.values, strict=True):
        feature = example.features.feature[name_of(key)]
        feature.Clear()  # the last of equal names counts here
        items: list[JsonValue] = content if isinstance(content, list) else [content]
        _fill_feature(items, text_of(key.split(b"\0")[0]), feature)


def _fill_feature(items: list[JsonValue], name: str, feature: Feature) -> None:
    kind = ""
    values: list[int | float | bytes] = []
    for item in items:
        item_kind = _kind(item, name)
        if kind and item_kind != kind:
            raise invalid(
                f"Unexpected element type in feature: {name} expecting type: {_KINDS[kind]}"
            )
        kind = item_kind
        values.append(_value(item, name))
    if kind == "float_list":
        feature.float_list.value.extend(as_array(values, DataType.FLOAT).tolist())
    elif kind:
        getattr(feature, kind).value.extend(values)


def _kind(item: JsonValue, name: str) -> str:
    if isinstance(item, bool | int):
        return "int64_list"
    if isinstance(item, float):
        return "float_list"
    if isinstance(item, bytes) or is_base64(item):
        return "bytes_list"
    raise _unexpected(item, name)


def _unexpected(item: JsonValue, name: str) -> StatusError:
    return invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(item)}")


def _value(item: JsonValue, name: str) -> int | float | bytes:
    if isinstance(item, JsonObject):
        return decode_base64(item)
    if isinstance(item, int) and item > _MAX_INT64:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    if isinstance(item, int | float | bytes):
        return int(item) if isinstance(item, bool) else item
    raise _unexpected(item, name)
