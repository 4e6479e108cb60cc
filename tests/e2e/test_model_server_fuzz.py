"""Strange messages through the model server's gRPC face: whatever comes, it answers and lives on.

50,000 strange REST bodies are in `tests/serving/faces/tfs_rest/test_app.py`; here are 100,000
protobufs, below the sockets, where grpc hands bytes over; and what is small and asks for much, and
the deepest nesting, against a real server.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samescore.model_server.server import ModelServer, ModelServerSettings
from serving.model_server.wire.tensors import MAX_FILLED_BYTES
from tests.fixtures.figures import Tell
from tests.fixtures.model_server import (
    HALF_PLUS_TWO,
    model_server,
    outputs,
    predict_request,
)
from tests.fixtures.strange_messages import (
    CALLS,
    DEEP_BODIES,
    MIB,
    deep_messages,
    greedy,
    strange_message,
)
from tests.serving.model_server.conftest import BUILDERS

pytestmark = pytest.mark.slow

# A fill of the largest size, as an array, in the graph, in the answer and as its bytes; twice that.
PEAK_BYTES: Final = 10 * MAX_FILLED_BYTES
# What the allocator keeps.
KEPT_BYTES: Final = 400 * MIB
# The parsed document of 4 MB that is nothing but depth.
DEEP_BYTES: Final = 800 * MIB


class RefusedError(Exception):
    """How the face ended a call."""

    def __init__(self, code: str, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(f"{code}: {text}")


class Context:
    """Stands in for grpc's: of a call that has all the time there is."""

    def time_remaining(self) -> float:
        return 1e9

    def abort(self, code: Any, text: str) -> None:
        raise RefusedError(code.name, text)


Behaviors = dict[str, Callable[[bytes, Any], bytes]]


@pytest.fixture(scope="module")
def behaviors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behaviors]:
    """What grpc calls with a message's bytes, of a real core with three models."""
    from serving.faces.tfs_grpc import Services

    class Details:
        def __init__(self, name: str) -> None:
            service = "ModelService" if name == "GetModelStatus" else "PredictionService"
            self.method = f"/tensorflow.serving.{service}/{name}"

    base = tmp_path_factory.mktemp("fuzzed")
    for name in ("identities", "examples"):
        BUILDERS[name](base / name / "1")
    config = base / "config"
    built = {name: base / name for name in ("identities", "examples")}
    config.write_text("model_config_list {" + "".join(
        f' config {{ name: "{n}" base_path: "{p}" model_platform: "tensorflow" }}'
        for n, p in {"half": HALF_PLUS_TWO, **built}.items()
    ) + " }")  # fmt: skip
    server = ModelServer(ModelServerSettings(config_file=config))
    server.load()
    services = Services(server.core)
    names = (*CALLS, "GetModelStatus")
    yield {name: services.service(Details(name)).unary_unary for name in names}  # type: ignore[union-attr] # each is there
    server.core.stop()


def memory(field: str = "VmRSS", of: int | str = "self") -> int:
    """Return a process's memory in bytes."""
    for line in Path(f"/proc/{of}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(field)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def ask(behaviors: Behaviors, name: str, raw: bytes) -> str:
    """Send a message; return the code of the answer, which is one, and has a text."""
    try:
        answer = behaviors[name](raw, Context())
    except RefusedError as error:
        refusal = error
    else:
        assert isinstance(answer, bytes)
        return "OK"
    assert is_proper(refusal.code, refusal.text), (name, refusal, raw[:200])
    return refusal.code


def is_proper(code: str, text: str) -> bool:
    """Tell whether a refusal has a text, and says more than that something went wrong inside."""
    if not text or len(text.encode()) > 1024 + len("...TRUNCATED"):
        return False
    # INTERNAL is what grpc says of bytes that are no message.
    is_parse = text.startswith("Failed to parse the request")
    return code not in {"UNKNOWN", "UNAVAILABLE", "DATA_LOSS"} and (code != "INTERNAL" or is_parse)


def test_100_000_strange_messages(
    behaviors: Behaviors, caplog: pytest.LogCaptureFixture, tell: Tell
) -> None:
    codes: Counter[str] = Counter()

    @settings(max_examples=1_000, deadline=None, database=None)
    @given(st.integers(min_value=0))
    def run(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(100):
            name, raw = strange_message(rng)
            codes[ask(behaviors, name, raw)] += 1

    for seed in range(2_000):  # so that everything is imported, traced and allocated once
        ask(behaviors, *strange_message(random.Random(seed)))
    before = memory()
    forget_peak()
    with caplog.at_level(logging.WARNING):
        run()
    grown, peak = memory() - before, memory("VmHWM") - before
    tell(
        f"{sum(codes.values())} messages: {dict(codes.most_common())}; memory grew by "
        f"{grown / MIB:.0f} MiB, at most {peak / MIB:.0f} MiB more"
    )
    assert not [record.getMessage() for record in caplog.records]
    assert sum(codes.values()) >= 100_000
    assert codes["OK"] > 1_000
    assert codes["INVALID_ARGUMENT"] > 1_000
    assert codes["RESOURCE_EXHAUSTED"] > 10
    assert grown < KEPT_BYTES
    assert peak < PEAK_BYTES
    assert ask(behaviors, "Predict", predict_request("half", [1.0]).SerializeToString()) == "OK"


def test_small_messages_that_ask_for_much_are_bounded(behaviors: Behaviors) -> None:
    codes = {}
    for what, (name, raw) in greedy().items():
        before = memory()
        forget_peak()
        codes[what] = ask(behaviors, name, raw)
        assert memory("VmHWM") - before < PEAK_BYTES, what
    assert codes == {
        "the largest fill": "OK",
        "a larger fill": "RESOURCE_EXHAUSTED",
        "all of the memory": "RESOURCE_EXHAUSTED",
        "the largest fill with strings": "OK",
        "a long string, again and again": "RESOURCE_EXHAUSTED",
        "a million axes": "INVALID_ARGUMENT",
        "no value on overflowing axes": "INVALID_ARGUMENT",
        "a long context": "RESOURCE_EXHAUSTED",
    }


def test_500_000_levels_are_answered_and_the_server_lives(tmp_path: Path) -> None:
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    flags = ("--model_name=half", f"--model_base_path={HALF_PLUS_TWO}")
    with (
        model_server(*flags, errors=tmp_path / "errors") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        before = memory(of=server.process.pid)
        for what, body in DEEP_BODIES.items():
            for call in ("predict", "classify" if "examples" in what else "regress"):
                reply = server.post(f"/v1/models/half:{call}", body)
                assert (reply.status, bool(json.loads(reply.body)["error"])) == (400, True), what
        for name, raw in deep_messages():
            send = channel.unary_unary(f"/tensorflow.serving.PredictionService/{name}")
            with pytest.raises(grpc.RpcError) as raised:
                send(raw, timeout=60)
            assert raised.value.code().name == "INTERNAL"
            assert raised.value.details().startswith("Failed to parse the request")
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert outputs(stub.Predict(predict_request("half", [1.0]), timeout=10)) == [2.5]
        assert memory("VmHWM", server.process.pid) - before < DEEP_BYTES
        assert server.terminate() == 0
    assert "Traceback" not in (tmp_path / "errors").read_text()


def test_strange_messages_over_the_wire(tmp_path: Path) -> None:
    """A few thousand of them through grpc itself, from several threads at once."""
    import grpc

    flags = ("--model_name=half", f"--model_base_path={HALF_PLUS_TWO}")
    odd: list[str] = []

    def send(server: Any, seed: int) -> None:
        rng = random.Random(seed)
        with grpc.insecure_channel(server.grpc) as channel:
            for _ in range(1_000):
                name, raw = strange_message(rng)
                service = "ModelService" if name == "GetModelStatus" else "PredictionService"
                try:
                    channel.unary_unary(f"/tensorflow.serving.{service}/{name}")(raw, timeout=60)
                except grpc.RpcError as error:
                    code, text = error.code().name, error.details() or ""
                    if not is_proper(code, text):
                        odd.append(f"{name} {code}: {text}")

    with model_server(*flags, errors=tmp_path / "errors") as server:
        threads = [threading.Thread(target=send, args=(server, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not odd
        assert server.terminate() == 0
    assert "Traceback" not in (tmp_path / "errors").read_text()
