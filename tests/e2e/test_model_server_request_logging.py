"""Upstream's `logging_config` in a real server, and who may reload one over the network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.cli import mistake, samescore
from tests.fixtures.model_server import (
    HALF_PLUS_TWO,
    ModelServer,
    model_server,
    outputs,
    predict_request,
)
from tests.fixtures.server import wait_until

pytestmark = pytest.mark.slow

REFUSED = "No request-logger-creator provided."


def config(path: Path, prefix: object, base: Path = HALF_PLUS_TWO) -> Path:
    path.write_text(
        f'model_config_list {{ config {{ name: "half" base_path: "{base}" '
        'model_platform: "tensorflow" logging_config {'
        f' log_collector_config {{ type: "file" filename_prefix: "{prefix}" }}'
        " sampling_config { sampling_rate: 1.0 } } } }"
    )
    return path


def monitored(path: Path) -> Path:
    path.write_text('prometheus_config { enable: true path: "/metrics" }')
    return path


def predict(server: ModelServer, *values: float) -> Any:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(predict_request("half", list(values)), timeout=30)


def reload(server: ModelServer, base: Path, prefix: object = "") -> str:
    """Send HandleReloadConfigRequest; return the refusal's code and text, empty for none."""
    import grpc
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    added = request.config.model_config_list.config.add(
        name="half", base_path=str(base), model_platform="tensorflow"
    )
    if prefix:
        added.logging_config.log_collector_config.filename_prefix = str(prefix)
        added.logging_config.sampling_config.sampling_rate = 1.0
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            answer = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
                request, timeout=60
            )
        except grpc.RpcError as e:
            return f"{e.code().name}: {e.details()}"  # type: ignore[attr-defined]
    status = answer.status
    return f"{status.error_code}: {status.error_message}" if status.error_code else ""


def test_a_logged_request_is_counted_read_by_tensorflow_and_warms_the_next_version_up(
    tmp_path: Path,
) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    base = tmp_path / "half"
    shutil.copytree(HALF_PLUS_TWO / "00000123", base / "1")
    with model_server(
        f"--model_config_file={config(tmp_path / 'models.config', 'half', base)}",
        "--enable_request_logging", f"--request_logging_folder={tmp_path}/logs",
        f"--monitoring_config_file={monitored(tmp_path / 'monitoring')}",
        errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        predict(server, 1.0, 2.0, 5.0)
        assert server.post("/v1/models/half:predict", {"instances": [3.0]}).status == 200
        assert server.post("/v1/models/half:predict", {"instances": ["x"]}).status == 400
        page = server.get("/metrics").body.decode()
        counted = ':tensorflow:serving:request_log_count{model_name="half",status_code="OK"} 2'
        assert counted in page.splitlines()
        assert server.terminate() == 0
    (file,) = (tmp_path / "logs").glob("half-*.tfrecord")
    logs = [PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset([str(file)])]
    assert [outputs(log.predict_log.response) for log in logs] == [[2.5, 3.0, 4.5], [3.5]]
    assert [log.log_metadata.model_spec.version.value for log in logs] == [1, 1]

    extra = base / "1" / "assets.extra"
    extra.mkdir(exist_ok=True)
    shutil.copy(file, extra / "tf_serving_warmup_requests")
    with model_server(
        "--model_name=half", f"--model_base_path={base}", errors=tmp_path / "warm"
    ) as server:
        assert outputs(predict(server, 1.0)) == [2.5]


def test_without_the_extension_a_logging_config_fails_the_start_and_a_reload(
    tmp_path: Path,
) -> None:
    ran = samescore(
        "model-server", "--port=auto",
        f"--model_config_file={config(tmp_path / 'models.config', tmp_path / 'half')}",
    )  # fmt: skip
    assert ran.code == 255
    assert REFUSED in ran.out
    with model_server(
        "--model_name=half", f"--model_base_path={HALF_PLUS_TWO}", errors=tmp_path / "errors"
    ) as server:
        assert REFUSED in reload(server, HALF_PLUS_TWO, tmp_path / "half")
        assert outputs(predict(server, 1.0)) == [2.5]


def test_a_reload_begins_and_ends_request_logging(tmp_path: Path) -> None:
    with model_server(
        "--model_name=half", f"--model_base_path={HALF_PLUS_TWO}", "--enable_request_logging",
        errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        predict(server, 1.0)
        assert not reload(server, HALF_PLUS_TWO, tmp_path / "half")
        predict(server, 2.0)
        assert not reload(server, HALF_PLUS_TWO)
        predict(server, 3.0)
        wait_until(lambda: len(list(tmp_path.glob("half-*.tfrecord"))) == 1, "it is finished")


def test_a_call_that_cannot_be_logged_is_not_answered_unless_that_is_chosen(
    tmp_path: Path,
) -> None:
    import grpc

    folder = tmp_path / "log"
    folder.mkdir()
    with (folder / "filler").open("wb") as filler:
        filler.truncate(1 << 30)  # the log is full, without a byte on the disk
    flags = [
        "--model_name=half", f"--model_base_path={HALF_PLUS_TWO}", "--request_log", folder,
        "--request_log_max_gib=1",
    ]  # fmt: skip
    with model_server(*flags, errors=tmp_path / "rejects") as server:
        with pytest.raises(grpc.RpcError) as caught:
            predict(server, 1.0)
        assert caught.value.code().name == "UNAVAILABLE"  # type: ignore[attr-defined]
        assert "is full" in caught.value.details()  # type: ignore[attr-defined]
        reply = server.post("/v1/models/half:predict", {"instances": [1.0]})
        assert reply.status == 503
    with model_server(*flags, "--on_request_log_failure=drop", errors=tmp_path / "drops") as server:
        assert outputs(predict(server, 1.0)) == [2.5]
        assert "is answered without a log line" in server.errors.read_text()


@pytest.mark.parametrize(
    ("flags", "allowed", "refused"),
    [
        ([], [], ["base", "other"]),
        (["--allow_config_reload"], ["base", "other"], []),
        (["--allowed_base_paths={base}"], ["base"], ["other", "link"]),
    ],
)
def test_beyond_loopback_a_reload_is_refused_unless_allowed(
    flags: list[str], allowed: list[str], refused: list[str], tmp_path: Path
) -> None:
    places = {"base": tmp_path / "base", "other": tmp_path / "other"}
    for place in places.values():
        shutil.copytree(HALF_PLUS_TWO, place)
    places["link"] = places["base"] / "link"
    places["link"].symlink_to(places["other"])
    with model_server(
        "--model_name=half", f"--model_base_path={places['base']}", "--bind=0.0.0.0",
        *(flag.format(**places) for flag in flags), errors=tmp_path / "errors",
    ) as server:  # fmt: skip
        server.announced["grpc"] = str(server.announced["grpc"]).replace("0.0.0.0", "127.0.0.1")
        for name in refused:
            assert reload(server, places[name]).startswith("PERMISSION_DENIED: A config reload is")
        for name in allowed:
            assert reload(server, places[name]) == ""
        assert outputs(predict(server, 1.0)) == [2.5]


def test_beyond_loopback_request_logging_needs_a_folder(tmp_path: Path) -> None:
    said = mistake(
        "model-server", "--bind=0.0.0.0", "--enable_request_logging", "--model_base_path=/x"
    )
    assert "needs --request_logging_folder" in said
    assert "needs --enable_request_logging" in mistake(
        "model-server", f"--request_logging_folder={tmp_path}"
    )
