from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cli import mistake
from tests.fixtures.tiny import PACKAGE, Tiny

REMOTE = ("BASE", "--log", "LOG", "--backend", "rest://a")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Missing option '--log'"),
        (("--log", "LOG"), "name a BASE folder of bundles, or an --inference-service"),
        (("nowhere", "--log", "LOG"), "give an existing directory that holds <model>/<version>/"),
        (("BASE", "--log", "LOG", "--versions", "newest"), "write 'latest', 'latest:N'"),
        (("BASE", "--log", "LOG", "--versions", "latest:0"), "must be 1 or more"),
        (("BASE", "--log", "LOG", "--gate", "off"), "is not one of enforce, report"),
        (("BASE", "--log", "LOG", "--port", "99999"), "--port"),
        (("BASE", "--log", "LOG", "--max-rows", "0"), "--max-rows"),
        (("BASE", "--log", "LOG", "--poll-seconds", "0"), "--poll-seconds"),
        (("BASE", "--log", "LOG", "--on-log-failure", "ignore"), "is not one of reject, drop"),
        (("BASE", "--log", "LOG", "--log-fsync", "often"), "interval:50ms"),
        (("BASE", "--log", "LOG", "--log-mode", "fast"), "is not one of direct, spool"),
        (("BASE", "--log", "LOG", "--log-sample", "10"), "--log-sample"),
        (("BASE", "--log", "LOG", "--log-key", "a..b"), "give a field, or outer.inner"),
        (("BASE", "--log", "LOG", "--log-redact", "a"), "name its file with --log-redact-key"),
        (("BASE", "--log", "LOG", "--log-redact-key", "FILE"), "holds 0 bytes; write 16"),
        (("BASE", "--log", "LOG", "--log-keep-days", "0"), "--log-keep-days"),
        (("BASE", "--log", "LOG", "--log-keep-gib", "64"), "the log would be full at"),
        (("BASE", "--log", "LOG", "--host", "no.such.host.invalid"), "cannot listen on"),
        (("BASE", "--log", "FILE/log", "--port", "0"), "give a writable folder"),
        (("--log", "LOG", "--inference-service", "m", "x.py", "."), "write it as NAME/VERSION"),
        (("BASE", "--log", "LOG", "--backend", "tcp://a"), "protocol 'tcp' is unknown"),
        (("BASE", "--log", "LOG", "--backend-weights", "2"), "2 without --backend"),
        ((*REMOTE, "--backend-weights", "2,x"), "for example 3,1"),
        ((*REMOTE, "--backend-weights", "2,1"), "2 backend weights for 1"),
        ((*REMOTE, "--device", "cuda"), "leave --device out"),
        ((*REMOTE, "--backend-timeout-ms", "0"), "--backend-timeout-ms"),
        ((*REMOTE[1:], "--inference-service", "m/1", "x.py", "."), "without BASE"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_a_mistake(
    tiny: Tiny, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    file.chmod(0o600)
    names = {"BASE": tiny.base, "LOG": tmp_path / "log", "FILE": file, "FILE/log": file / "log"}
    # The default port may be another program's.
    port = () if "--port" in options else ("--port", "0")
    assert said in mistake("serve", *(names.get(option, option) for option in options), *port)


def test_a_port_that_is_taken_is_a_mistake(tiny: Tiny, tmp_path: Path, taken_port: int) -> None:
    options = (tiny.base, "--log", tmp_path / "log", "--pipeline", PACKAGE, "--port", taken_port)
    assert f"cannot listen on 127.0.0.1:{taken_port}" in mistake("serve", *options)
