"""Status and metadata messages as JSON, in the layout of upstream's protobuf printer.

Python's own printer puts unset fields last; the printer of C++ keeps the order of field numbers.
Only the model server loads this: it imports TensorFlow.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

    from consistency.jsontype import Json

_SIGNATURE_DEF: Final = "signature_def"


def status_body(response: GetModelStatusResponse) -> bytes:
    """Return the answer to `GET /v1/models/NAME`."""
    return _text(response).encode()


def metadata_body(response: GetModelMetadataResponse) -> bytes:
    """Return the answer to `GET /v1/models/NAME/metadata`.

    Raises:
        StatusError: INTERNAL, the response has no signatures.
    """
    signatures = SignatureDefMap()
    found = _SIGNATURE_DEF in response.metadata
    if not found or not response.metadata[_SIGNATURE_DEF].Unpack(signatures):
        raise StatusError(Code.INTERNAL, "Failed to unpack 'Any' object to 'SignatureDefMap'.")
    spec, definitions = _text(response.model_spec), _text(signatures)
    return (
        f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {definitions}}}\n}}\n'
    ).encode()


def _text(message: Message) -> str:
    fields = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(_ordered(fields, message.DESCRIPTOR), indent=1, ensure_ascii=False) + "\n"


def _ordered(fields: dict[str, Json], descriptor: Descriptor) -> dict[str, Json]:
    """Return the fields of a message in the order of their numbers, all the way down."""
    if descriptor.full_name.startswith("google.protobuf."):
        return fields  # a well-known type has a form of its own
    known = sorted(descriptor.fields, key=lambda field: field.number)
    return {f.name: _ordered_value(fields[f.name], f) for f in known if f.name in fields}


def _ordered_value(value: Json, field: FieldDescriptor) -> Json:
    inner: Any = field.message_type  # Any: None for a scalar, which the stubs do not say
    if inner is None:
        return value
    if inner.GetOptions().map_entry:
        item = inner.fields_by_name["value"]
        return {key: _ordered_value(entry, item) for key, entry in value.items()}
    if isinstance(value, list):
        return [_ordered(entry, inner) for entry in value]
    return _ordered(value, inner) if isinstance(value, dict) else value
