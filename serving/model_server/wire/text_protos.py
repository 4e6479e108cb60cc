"""Upstream's configuration files whose protos the wheel `tensorflow-serving-api` lacks.

A message is written down as a table of its fields; the text format is then read by protobuf itself,
so comments, separators, escapes and adjacent string literals mean what they mean upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from serving.model_server.status import Code, StatusError, invalid, not_found

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PACKAGE: Final = "tensorflow.serving"
_LARGEST_FILE_BYTES: Final = 16 << 20

Fields = Mapping[str, tuple[int, str]]
"""Field name to number and type: `string`, `bool`, `int64`, ... or the name of another message."""

SSL_CONFIG: Final[Mapping[str, Fields]] = MappingProxyType(
    {
        "SSLConfig": {
            "server_key": (1, "string"),
            "server_cert": (2, "string"),
            "custom_ca": (3, "string"),
            "client_verify": (4, "bool"),
        }
    }
)


def message_class(name: str, messages: Mapping[str, Fields]) -> type[Message]:
    """Return the class of a message.

    Args:
        name: of the message.
        messages: its fields, and those of the messages that it holds. A type that starts with
            `repeated ` is a list.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name=f"samescore/{name}.proto", package=_PACKAGE, syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    for message, fields in messages.items():
        made = file.message_type.add(name=message)
        for key, (number, text) in fields.items():
            kind = text.removeprefix("repeated ")
            label = field.LABEL_OPTIONAL if kind == text else field.LABEL_REPEATED
            added = made.field.add(name=key, number=number, label=label)
            if kind in messages:
                added.type, added.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                added.type = field.Type.Value(f"TYPE_{kind.upper()}")
    # A pool of its own: the default one may get upstream's file from another wheel some day.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    made_class: type[Message] = message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    )
    return made_class


def read_text_proto(path: Path, kind: type[Message]) -> Message:
    """Read a file in protobuf's text format.

    Args:
        path: of the file, 16 MiB at most.
        kind: the message's class.

    Raises:
        StatusError: it cannot be read, or is not such a message; upstream's words, and where.
    """
    from google.protobuf import text_format

    try:
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError as e:
        raise not_found(f"{path}; No such file or directory") from e
    except OSError as e:
        raise StatusError(Code.FAILED_PRECONDITION, f"{path}; {e.strerror}") from e
    if len(raw) > _LARGEST_FILE_BYTES:
        raise invalid(f"Invalid protobuf file: '{path}': larger than {_LARGEST_FILE_BYTES} bytes")
    try:
        return text_format.Parse(raw, kind())
    except (text_format.ParseError, UnicodeDecodeError) as e:
        raise invalid(f"Invalid protobuf file: '{path}': {e}") from e
