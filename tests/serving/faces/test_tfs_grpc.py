from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.model_server.configuration.listening import GrpcSettings
from serving.model_server.status import Code, StatusError
from tests.fakes.inference_api import HalfPlusTwo

pytestmark = pytest.mark.slow  # the stubs import TensorFlow

Stub = Any

MOST_BYTES = 1 << 20


@pytest.fixture
def api() -> HalfPlusTwo:
    return HalfPlusTwo()


@pytest.fixture
def face(api: HalfPlusTwo) -> Iterator[Any]:
    with serving(api, GrpcSettings(port=0, threads=2, max_message_bytes=MOST_BYTES)) as found:
        yield found


@pytest.fixture
def channel(face: Any) -> Iterator[Any]:
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{face.port}") as found:
        yield found


@pytest.fixture
def stub(channel: Any) -> Stub:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


class serving:  # noqa: N801 - reads as a statement
    """A started face, until the block ends."""

    def __init__(self, api: HalfPlusTwo, settings: GrpcSettings) -> None:
        from serving.faces.tfs_grpc import GrpcFace

        self._face = GrpcFace(api, settings)

    def __enter__(self) -> Any:
        self._face.start()
        return self._face

    def __exit__(self, *_: object) -> None:
        self._face.stop(5)


def request(*values: float, model: str = "half") -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = model
    asked.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    return asked


def values(answer: Any) -> list[float]:
    import tensorflow as tf

    return tf.make_ndarray(answer.outputs["y"]).tolist()  # type: ignore[no-any-return]


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    """Return code and text of a call that must fail."""
    import grpc

    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def test_the_unmodified_client_calls_it_and_waits_for_futures(stub: Stub) -> None:
    assert values(stub.Predict(request(1, 2, 5), timeout=10)) == [2.5, 3.0, 4.5]
    futures = [stub.Predict.future(request(i), timeout=10) for i in range(40)]
    assert [values(f.result()) for f in futures] == [[i / 2 + 2] for i in range(40)]


def test_a_unix_socket_answers_beside_or_without_tcp(api: HalfPlusTwo, tmp_path: Path) -> None:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    path = tmp_path / "s"
    with (
        serving(api, GrpcSettings(port=None, socket_path=path, threads=1)) as face,
        grpc.insecure_channel(f"unix:{path}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert values(stub.Predict(request(3), timeout=10)) == [3.5]
        assert face.port is None


def test_a_failure_has_its_code_and_text(stub: Stub) -> None:
    assert refusal(lambda: stub.Predict(request(1, model="nope"))) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(nope)",
    )


@pytest.mark.parametrize("code", list(Code)[1:])
def test_every_code_arrives(api: HalfPlusTwo, stub: Stub, code: Code) -> None:
    from tensorflow_serving.apis import classification_pb2

    api.error = StatusError(code, "why")
    asked = classification_pb2.ClassificationRequest()
    assert refusal(lambda: stub.Classify(asked)) == (code.name, "why")


def test_a_long_text_is_cut_at_1024_bytes(api: HalfPlusTwo, stub: Stub) -> None:
    from tensorflow_serving.apis import regression_pb2

    api.error = StatusError(Code.INTERNAL, "é" * 1000)
    text = refusal(lambda: stub.Regress(regression_pb2.RegressionRequest()))[1]
    assert text == "é" * 512 + "...TRUNCATED"


def test_a_bug_costs_its_own_call_and_is_told(
    api: HalfPlusTwo, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    from tensorflow_serving.apis import inference_pb2

    api.error = KeyError("surprise")
    code, text = refusal(lambda: stub.MultiInference(inference_pb2.MultiInferenceRequest()))
    assert (code, text) == ("INTERNAL", "KeyError: 'surprise'")
    assert "surprise" in caplog.text
    assert values(stub.Predict(request(1))) == [2.5]


def test_what_is_no_message_is_refused_without_a_traceback(
    channel: Any, caplog: pytest.LogCaptureFixture
) -> None:
    send = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    code, text = refusal(lambda: send(b"\xff\xff\xff", timeout=10))
    assert code == "INTERNAL"
    assert text.startswith("Failed to parse the request")
    assert not caplog.records


@pytest.mark.parametrize(
    "path", ["/tensorflow.serving.SessionService/SessionRun", "/no.such.Service/Method"]
)
def test_other_services_are_unimplemented_without_a_text(channel: Any, path: str) -> None:
    assert refusal(lambda: channel.unary_unary(path)(b"", timeout=10)) == ("UNIMPLEMENTED", "")


def test_a_message_beyond_the_limit_is_refused(api: HalfPlusTwo, stub: Stub) -> None:
    code, text = refusal(lambda: stub.Predict(request(*range(300_000)), timeout=10))
    assert code == "RESOURCE_EXHAUSTED"
    assert "Received message larger than max" in text
    assert api.calls == 0


def test_an_answer_beyond_the_limit_is_refused(api: HalfPlusTwo, stub: Stub) -> None:
    asked = request(*range(MOST_BYTES // 4 - 12))
    assert asked.ByteSize() < MOST_BYTES, "the answer is larger: it names the version"
    code, text = refusal(lambda: stub.Predict(asked, timeout=10))
    assert code == "RESOURCE_EXHAUSTED"
    assert "Sent message larger than max" in text
    assert api.calls == 1


def test_a_call_whose_deadline_passed_while_it_waited_is_not_run(
    api: HalfPlusTwo, stub: Stub
) -> None:
    api.gate.clear()
    busy = [stub.Predict.future(request(i), timeout=30) for i in range(2)]
    assert api.entered.wait(10)
    late = stub.Predict.future(request(9), timeout=0.3)
    assert refusal(late.result)[0] == "DEADLINE_EXCEEDED"
    api.gate.set()
    assert [values(f.result()) for f in busy] == [[2.0], [2.5]]
    assert values(stub.Predict(request(4), timeout=10)) == [4.0]
    assert api.calls == 3


@contextmanager
def stopping_with_a_call_at_work(
    api: HalfPlusTwo, threads: int
) -> Iterator[tuple[Any, Any, threading.Thread]]:
    """Stop a face while it computes; yield a stub, the call at work, and the thread that stops."""
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    from serving.faces.tfs_grpc import GrpcFace

    face = GrpcFace(api, GrpcSettings(port=0, threads=threads))
    face.start()
    with grpc.insecure_channel(f"127.0.0.1:{face.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        api.gate.clear()
        held = stub.Predict.future(request(6), timeout=30)
        assert api.entered.wait(10)
        stopping = threading.Thread(target=face.stop, args=(30,))
        stopping.start()
        yield stub, held, stopping


def test_stopping_answers_what_is_in_flight(api: HalfPlusTwo) -> None:
    with stopping_with_a_call_at_work(api, threads=1) as (_, held, stopping):
        api.gate.set()
        assert values(held.result()) == [5.0]
        stopping.join(30)
        assert not stopping.is_alive()


def test_a_stop_refuses_new_calls_and_answers_those_at_work(api: HalfPlusTwo) -> None:
    with stopping_with_a_call_at_work(api, threads=64) as (stub, held, stopping):
        # Calls of the first moment would wait for the gate, as the held one does.
        refused = {refusal(lambda: stub.Predict(request(1), timeout=0.05)) for _ in range(40)}
        api.gate.set()
        assert values(held.result()) == [5.0]
        stopping.join(30)
        assert not stopping.is_alive()
    told = {code for code, _ in refused}
    assert "UNAVAILABLE" in told
    assert told <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


def test_a_taken_port_is_told(api: HalfPlusTwo) -> None:
    from serving.faces.tfs_grpc import GrpcFace

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StatusError, match=f"Failed to BuildAndStart gRPC server: .*{port}"):
            GrpcFace(api, GrpcSettings(port=port))


def test_channel_arguments_reach_grpc(api: HalfPlusTwo) -> None:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    settings = GrpcSettings(
        port=0, threads=1, channel_arguments={"grpc.max_receive_message_length": 100}
    )
    with (
        serving(api, settings) as face,
        grpc.insecure_channel(f"127.0.0.1:{face.port}") as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        code, text = refusal(lambda: stub.Predict(request(*range(100)), timeout=10))
    assert code == "RESOURCE_EXHAUSTED"
    assert "100" in text
