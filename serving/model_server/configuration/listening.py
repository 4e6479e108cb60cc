"""Where and how the gRPC face listens, and upstream's spelling of it. Light to import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from consistency.errors import ConfigError
from serving.model_server.wire.text_protos import SSL_CONFIG, message_class, read_text_proto

MIB: Final = 1 << 20

ChannelArguments: TypeAlias = Mapping[str, str | int]

_INT32: Final = range(-(1 << 31), 1 << 31)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a TLS listener shows and asks for; everything is PEM.

    Attributes:
        key: the server's private key.
        certificate: the server's chain.
        client_authority: who signs clients' certificates; empty: the system's authorities.
        ask_client: refuse a client without a certificate.
    """

    key: bytes = field(repr=False)
    certificate: bytes
    client_authority: bytes = b""
    ask_client: bool = False


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """Where and how the face listens.

    Attributes:
        host: address of the TCP port.
        port: of TCP; 0 takes a free one, None opens none.
        socket_path: of the Unix socket, if there is to be one.
        threads: calls that run at once.
        max_message_bytes: of one request or response.
        channel_arguments: gRPC's own settings, by name; they win over ours.
        tls: None for clear text; else on both sockets.
    """

    host: str = "127.0.0.1"
    port: int | None = 8500
    socket_path: Path | None = None
    threads: int = 4 * (os.cpu_count() or 1)
    max_message_bytes: int = 512 * MIB
    channel_arguments: ChannelArguments = field(default_factory=dict)
    tls: Tls | None = None


def parse_channel_arguments(text: str) -> dict[str, str | int]:
    """Return gRPC's settings from `name=value,name=value`; what looks like an int32 is one.

    >>> parse_channel_arguments("grpc.max_connection_age_ms=2000,grpc.primary_user_agent=me")
    {'grpc.max_connection_age_ms': 2000, 'grpc.primary_user_agent': 'me'}

    Raises:
        ConfigError: a part is not `name=value`.
    """
    found: dict[str, str | int] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not (name and equals):
            raise ConfigError(
                f"--grpc_channel_arguments: {part!r} is not understood; "
                "write name=value,name=value, for example grpc.max_connection_age_ms=2000"
            )
        found[name] = _int_or_text(value)
    return found


def _int_or_text(value: str) -> str | int:
    try:
        number = int(value)
    except ValueError:
        return value
    return number if number in _INT32 else value


def read_tls(path: Path) -> Tls:
    """Read `--ssl_config_file`: the text form of upstream's SSLConfig.

    Raises:
        StatusError: it cannot be read or is no SSLConfig.
    """
    # Any: the class is made at run time
    config: Any = read_text_proto(path, message_class("SSLConfig", SSL_CONFIG))
    return Tls(
        key=config.server_key.encode(),
        certificate=config.server_cert.encode(),
        client_authority=config.custom_ca.encode(),
        ask_client=config.client_verify,
    )
