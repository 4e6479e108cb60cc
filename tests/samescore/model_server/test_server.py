"""`samescore model-server` as a process, through the unmodified client."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.model_server import (
    HALF_PLUS_TWO,
    TESTDATA,
    ModelServer,
    model_server,
    outputs,
    predict_request,
)
from tests.fixtures.server import COMMAND, wait_until

pytestmark = pytest.mark.slow

THREE = TESTDATA / "saved_model_half_plus_three"


def half(folder: Path) -> list[str]:
    return ["--model_name=half", f"--model_base_path={folder}"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("model_server")
    with model_server(
        *half(HALF_PLUS_TWO), "--grpc_socket_path", folder / "socket", errors=folder / "errors"
    ) as found:
        yield found


def stub_of(target: str, credentials: Any = None) -> Any:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    channel = (
        grpc.insecure_channel(target)
        if credentials is None
        else grpc.secure_channel(target, credentials)
    )
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def reload(server: ModelServer, **models: Path) -> Any:
    """Send HandleReloadConfigRequest."""
    import grpc
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    for name, path in models.items():
        request.config.model_config_list.config.add(
            name=name, base_path=str(path), model_platform="tensorflow"
        )
    with grpc.insecure_channel(server.grpc) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        return stub.HandleReloadConfigRequest(request, timeout=60)


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    import grpc

    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize("where", ["grpc", "grpc_socket"])
def test_the_unmodified_client_predicts_now_and_in_future(server: ModelServer, where: str) -> None:
    address = server.announced[where]
    stub = stub_of(f"unix:{address}" if where == "grpc_socket" else address)
    request = predict_request("half", [1, 2, 5])
    assert outputs(stub.Predict(request, timeout=30)) == [2.5, 3.0, 4.5]
    futures = [stub.Predict.future(predict_request("half", [i]), timeout=30) for i in range(100)]
    assert [outputs(f.result()) for f in futures] == [[i / 2 + 2] for i in range(100)]


def test_half_plus_two_over_rest(server: ModelServer) -> None:
    reply = server.post("/v1/models/half:predict", b'{"instances": [1.0, 2.0, 5.0]}')
    assert (reply.status, reply.json) == (200, {"predictions": [2.5, 3.0, 4.5]})
    status = server.get("/v1/models/half").json["model_version_status"][0]
    assert (status["version"], status["state"]) == ("123", "AVAILABLE")


def test_it_announces_what_it_serves(server: ModelServer) -> None:
    assert server.announced["serving"] == ["half version 123"]
    assert server.announced["failed"] == {}
    assert server.announced["pid"] == server.process.pid


def test_a_reload_replaces_the_models_and_sigterm_ends_with_0(tmp_path: Path) -> None:
    with model_server(*half(HALF_PLUS_TWO), errors=tmp_path / "errors") as server:
        stub = stub_of(server.grpc)
        assert reload(server, half=HALF_PLUS_TWO, three=THREE).status.error_code == 0
        assert outputs(stub.Predict(predict_request("three", [2]), timeout=30)) == [4.0]
        assert outputs(stub.Predict(predict_request("half", [2]), timeout=30)) == [3.0]
        reload(server, three=THREE)
        wait_until(
            lambda: server.post("/v1/models/half:predict", b'{"instances": [1]}').status == 404,
            "the model that left the configuration is unloaded",
        )
        futures = [stub.Predict.future(predict_request("three", [i])) for i in range(200)]
        futures[99].result()
        assert server.terminate() == 0
        codes = {f.code().name for f in futures}
        assert codes <= {"OK", "UNAVAILABLE"}, codes
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.rest_port), 5).close()


def test_new_versions_and_an_edited_config_file_are_followed(tmp_path: Path) -> None:
    base, config = tmp_path / "half", tmp_path / "models.config"
    shutil.copytree(HALF_PLUS_TWO / "00000123", base / "1")
    config.write_text(_config(half=base))
    with model_server(
        f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1",
        errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        stub = stub_of(server.grpc)
        partial = tmp_path / "partial"
        shutil.copytree(THREE / "00000123", partial)
        partial.rename(base / "2")
        wait_until(
            lambda: outputs(stub.Predict(predict_request("half", [2]), timeout=30)) == [4.0],
            "version 2 takes over",
        )
        config.write_text("this is no config")
        wait_until(lambda: "models.config" in server.errors.read_text(), "the error is logged")
        config.write_text(_config(half=base, three=THREE))
        wait_until(lambda: server.get("/v1/models/three").status == 200, "the new model")
        assert outputs(stub.Predict(predict_request("half", [2]), timeout=30)) == [4.0]


def test_beyond_loopback_a_reload_needs_an_allowed_path(tmp_path: Path) -> None:
    with model_server(
        *half(HALF_PLUS_TWO), "--bind=0.0.0.0", "--allowed_base_paths", HALF_PLUS_TWO,
        errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        code, text = refusal(lambda: reload(server, three=THREE))
        assert (code, "--allowed_base_paths" in text) == ("PERMISSION_DENIED", True)
        assert reload(server, other=HALF_PLUS_TWO).status.error_code == 0
    assert "listening on 0.0.0.0: anyone who reaches it" in server.errors.read_text()


def test_tls_on_grpc_from_an_ssl_config_file(tmp_path: Path) -> None:
    import grpc

    key, certificate = _self_signed(tmp_path)
    quoted = {"server_key": key.read_text(), "server_cert": certificate.read_text()}
    config = tmp_path / "ssl.config"
    config.write_text("".join(f"{k}: {_text(v)}\n" for k, v in quoted.items()))
    with model_server(
        *half(HALF_PLUS_TWO), f"--ssl_config_file={config}", errors=tmp_path / "errors"
    ) as server:
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        port = server.grpc.rpartition(":")[2]
        stub = stub_of(f"localhost:{port}", trusted)
        assert outputs(stub.Predict(predict_request("half", [2]), timeout=30)) == [3.0]
        plain = stub_of(server.grpc)
        asked = predict_request("half", [2])
        assert refusal(lambda: plain.Predict(asked, timeout=10))[0] == "UNAVAILABLE"


def test_a_first_version_that_fails_ends_it_in_upstreams_words(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(b"")
    done = _start(
        "--port=auto", "--model_name=m", f"--model_base_path={tmp_path / 'm'}",
        "--max_num_load_retries=0",
    )  # fmt: skip
    out, err = done.communicate(timeout=120)
    assert done.returncode == 255, err
    assert "Failed to start server. Error: " in out
    assert "1 servable(s) did not become available: {{{name: m version: 1} due to error: " in out
    assert "Traceback" not in err


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _start(f"--port={port}", *half(HALF_PLUS_TWO))
        out, err = done.communicate(timeout=120)
    assert done.returncode == 255, err
    assert "Failed to BuildAndStart gRPC server" in out
    assert str(port) in out


def test_without_a_version_it_waits_with_its_ports_closed_until_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waiting = _start(f"--port={port}", "--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    try:
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            assert waiting.poll() is None
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", port), 5).close()
            time.sleep(0.5)
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(60) == 0
    finally:
        waiting.kill()
        waiting.communicate()


def _start(*flags: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "model-server", *map(str, flags)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _config(**models: Path) -> str:
    entries = " ".join(
        f'config: {{ name: "{name}", base_path: "{path}", model_platform: "tensorflow" }},'
        for name, path in models.items()
    )
    return f"model_config_list: {{ {entries} }}"


def _text(value: str) -> str:
    return '"' + value.replace("\n", "\\n") + '"'


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate
