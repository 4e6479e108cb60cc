from __future__ import annotations

from pathlib import Path

import pytest

from consistency.errors import ConfigError
from serving.model_server.configuration.listening import Tls, parse_channel_arguments, read_tls
from serving.model_server.status import Code, StatusError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("a.b=1,c=x=y", {"a.b": 1, "c": "x=y"}),
        ("a=-1,", {"a": -1}),
        ("a=2147483648", {"a": "2147483648"}),
        ("a=", {"a": ""}),
    ],
)
def test_channel_arguments(text: str, found: dict[str, str | int]) -> None:
    assert parse_channel_arguments(text) == found


@pytest.mark.parametrize("text", ["a", "=1", "a=1,b"])
def test_a_part_without_name_or_equals_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--grpc_channel_arguments"):
        parse_channel_arguments(text)


def test_an_ssl_config_is_read_as_protobuf_reads_text(tmp_path: Path) -> None:
    path = tmp_path / "ssl.config"
    path.write_text(
        "# a comment\n"
        'server_key: "-----BEGIN\\n" "END-----\\n"\n'
        "server_cert: 'cert', custom_ca: \"\\x41\";\n"
        "client_verify: true\n"
    )
    assert read_tls(path) == Tls(b"-----BEGIN\nEND-----\n", b"cert", b"A", ask_client=True)


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(Tls(b"secret", b""))


@pytest.mark.parametrize("content", [b"server_keys: 'x'", b"client_verify: maybe", b"\xff\xfe"])
def test_a_file_that_is_no_ssl_config_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ssl.config"
    path.write_bytes(content)
    with pytest.raises(StatusError, match="Invalid protobuf file: ") as caught:
        read_tls(path)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert str(path) in caught.value.message


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="No such file") as caught:
        read_tls(tmp_path / "absent")
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(StatusError, match="directory"):
        read_tls(tmp_path)
