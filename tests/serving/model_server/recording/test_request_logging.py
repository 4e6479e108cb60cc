"""`logging_config`: what is sampled, where it goes, how it is counted, what is refused."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from consistency.tensor_calls import Method, Wire
from serving.model_server.recording.received import Received
from serving.model_server.status import Code, StatusError
from serving.model_server.wire.tfrecord import read_records
from tests.fixtures.model_server import predict_request

pytestmark = pytest.mark.slow  # the stubs import TensorFlow


def model(name: str, prefix: object, rate: float = 1.0, type: str = "") -> Any:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

    config = ModelConfig(name=name)
    config.logging_config.log_collector_config.filename_prefix = str(prefix)
    config.logging_config.log_collector_config.type = type
    config.logging_config.sampling_config.sampling_rate = rate
    return config


def call(name: str = "half", value: float = 1.0, **changes: Any) -> Any:
    from tensorflow_serving.apis import predict_pb2

    from serving.model_server.observing.observed import ObservedCall

    request = predict_request(name, [value])
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.version.value = name, 7
    response.model_spec.signature_name = "serving_default"
    response.outputs["y"].CopyFrom(request.inputs["x"])
    received = Received(request.SerializeToString(), Wire.GRPC, 0)
    fields = {
        "method": Method.PREDICT, "spec": request.model_spec, "received": received,
        "request": request, "response": response, "error": None, "seconds": 0.1,
    }  # fmt: skip
    return ObservedCall(**{**fields, **changes})


def loggers(**settings: Any) -> tuple[Any, Counter[tuple[str, Code]]]:
    from serving.model_server.recording.request_logging import RequestLoggers, RequestLogging

    counts: Counter[tuple[str, Code]] = Counter()
    return RequestLoggers(
        RequestLogging(**settings), lambda name, code: counts.update([(name, code)])
    ), counts


def records(folder: Path) -> list[Any]:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    paths = sorted(folder.glob("*.tfrecord"))
    return [PredictionLog.FromString(raw) for path in paths for raw in read_records(path)]


def test_an_answered_call_becomes_a_prediction_log_with_its_metadata(tmp_path: Path) -> None:
    made, counts = loggers()
    made.configure([model("half", tmp_path / "half"), model("other", tmp_path / "other")])
    made.observe(call())
    made.observe(call(response=None, error=StatusError(Code.INVALID_ARGUMENT, "no")))
    made.observe(call("nobody"))
    made.close()
    (log,) = records(tmp_path)
    assert log.predict_log.request == call().request
    assert log.predict_log.response == call().response
    metadata = log.log_metadata
    assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("half", 7)
    assert metadata.model_spec.signature_name == "serving_default"
    assert metadata.sampling_config.sampling_rate == 1
    assert list(metadata.saved_model_tags) == ["serve"]
    assert metadata.timestamp_secs > 1_700_000_000
    assert counts == {("half", Code.OK): 1}


def test_by_chance_about_the_share_is_sampled_and_none_at_zero(tmp_path: Path) -> None:
    made, counts = loggers()
    made.configure([model("half", tmp_path / "half", 0.5), model("none", tmp_path / "none", 0.0)])
    for number in range(400):
        made.observe(call(value=number))
        made.observe(call("none", value=number))
    made.close()
    assert 120 < counts["half", Code.OK] < 280  # 8 sigmas
    assert counts["none", Code.OK] == 0


def test_by_request_two_servers_sample_the_same_ones(tmp_path: Path) -> None:
    from serving.model_server.recording.request_logging import SampleBy

    found = []
    for server in ("a", "b"):
        made, _ = loggers(sample_by=SampleBy.REQUEST)
        made.configure([model("half", tmp_path / server / "half", 0.3)])
        for number in range(200):
            made.observe(call(value=number))
        made.close()
        found.append([log.predict_log.request for log in records(tmp_path / server)])
    assert found[0] == found[1]
    assert 20 < len(found[0]) < 100


def test_a_bound_that_is_reached_is_counted_and_fails_no_request(tmp_path: Path) -> None:
    from serving.model_server.recording.record_files import FileBounds

    made, counts = loggers(bounds=FileBounds(total_bytes=1000))
    made.configure([model("half", tmp_path / "half")])
    for _ in range(20):
        made.observe(call())
    made.close()
    kept = len(records(tmp_path))
    assert 0 < kept < 20
    assert counts == {("half", Code.OK): kept, ("half", Code.RESOURCE_EXHAUSTED): 20 - kept}


def test_a_new_configuration_takes_over_and_files_of_the_same_prefix_go_on(tmp_path: Path) -> None:
    made, counts = loggers()
    made.configure([model("half", tmp_path / "half"), model("b", tmp_path / "b")])
    made.observe(call())
    made.configure([model("half", tmp_path / "half", 0.0)])
    made.observe(call())
    made.observe(call("b"))
    made.configure([model("half", tmp_path / "half", 1.0)])
    made.observe(call())
    made.close()
    assert len(list(tmp_path.glob("half-*.tfrecord"))) == 1
    assert len(records(tmp_path)) == 2
    assert counts == {("half", Code.OK): 2}


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ({"rate": 1.5}, Code.INVALID_ARGUMENT, "sampling_rate 1.5: give a share from 0 to 1"),
        ({"rate": float("nan")}, Code.INVALID_ARGUMENT, "sampling_rate nan"),
        ({"type": "kafka"}, Code.NOT_FOUND, "LogCollector::Factory for type: kafka"),
        ({"prefix": ""}, Code.INVALID_ARGUMENT, "filename_prefix ''"),
        ({"prefix": "/tmp/x/"}, Code.INVALID_ARGUMENT, "give a path and a beginning"),
        ({"prefix": "logs/half"}, Code.INVALID_ARGUMENT, "is relative"),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_changes_nothing(
    config: dict[str, Any], code: Code, said: str, tmp_path: Path
) -> None:
    made, _ = loggers()
    made.configure([model("half", tmp_path / "half")])
    with pytest.raises(StatusError, match=said) as caught:
        made.configure([model("half", **{"prefix": tmp_path / "new", **config})])
    assert caught.value.code is code
    made.observe(call())
    made.close()
    assert len(records(tmp_path)) == 1


def test_two_models_cannot_share_a_prefix(tmp_path: Path) -> None:
    made, _ = loggers()
    with pytest.raises(StatusError, match="is used twice"):
        made.configure([model("a", tmp_path / "x"), model("b", tmp_path / "x")])


@pytest.mark.parametrize("prefix", ["../x", "/etc/x", "link/x"])
def test_below_a_folder_no_prefix_leads_out_of_it(prefix: str, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    made, _ = loggers(folder=folder)
    with pytest.raises(StatusError, match="lies outside of --request_logging_folder") as caught:
        made.configure([model("half", prefix)])
    assert caught.value.code is Code.PERMISSION_DENIED
    made.configure([model("half", "of/half")])
    made.observe(call())
    made.close()
    assert len(records(folder / "of")) == 1


def test_threads_may_log_at_the_same_time(tmp_path: Path) -> None:
    made, _ = loggers()
    made.configure([model("half", tmp_path / "half")])

    def log() -> None:
        for number in range(50):
            made.observe(call(value=number))

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close()
    assert len(records(tmp_path)) == 200
