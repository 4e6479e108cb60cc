from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.model_server.configuration.listening import GrpcSettings
from tests.fakes.inference_api import HalfPlusTwo

pytestmark = pytest.mark.slow  # the recorder is TensorFlow's


@pytest.fixture
def channel() -> Iterator[Any]:
    import grpc

    from serving.faces.tfs_grpc import GrpcFace
    from serving.faces.tfs_profiler import ProfilerFace
    from serving.model_server.observing.profiling import Profiler

    settings = GrpcSettings(port=0, threads=4)
    face = GrpcFace(HalfPlusTwo(), settings, (ProfilerFace(Profiler()),))
    face.start()
    with grpc.insecure_channel(f"127.0.0.1:{face.port}") as found:
        yield found
    face.stop(5)


def profile(channel: Any, **fields: Any) -> Any:
    from serving.model_server.observing.profiling import profiler_message

    request = profiler_message("ProfileRequest")(**fields).SerializeToString()
    raw = channel.unary_unary("/tensorflow.ProfilerService/Profile")(request, timeout=60)
    return profiler_message("ProfileResponse").FromString(raw)


def refusal(channel: Any, **fields: Any) -> tuple[str, str]:
    import grpc

    with pytest.raises(grpc.RpcError) as raised:
        profile(channel, **fields)
    return raised.value.code().name, raised.value.details()


def test_a_recording_is_answered_or_written(channel: Any, tmp_path: Path) -> None:
    answer = profile(channel, duration_ms=100, emit_xspace=True)
    assert b"/host:CPU" in answer.xspace
    assert not answer.empty_trace
    answer = profile(channel, duration_ms=50, repository_root=str(tmp_path / "a"),
                     session_id="run", host_name="host:1")  # fmt: skip
    assert answer.xspace == b""
    assert (tmp_path / "a/run/host_1.xplane.pb").stat().st_size > 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"repository_root": "relative", "session_id": "s", "host_name": "h"}, "absolute path"),
        ({"repository_root": "/tmp", "session_id": "../s", "host_name": "h"}, "session_id is"),
        ({"repository_root": "/tmp", "session_id": "..", "host_name": "h"}, "session_id is"),
        ({"repository_root": "/tmp", "session_id": "s", "host_name": ""}, "host_name is"),
        ({"duration_ms": 3_600_000}, "duration_ms is 3600000; 600000 at most"),
    ],
)
def test_what_cannot_be_recorded(channel: Any, fields: dict[str, Any], said: str) -> None:
    code, text = refusal(channel, **fields)
    assert code == "INVALID_ARGUMENT"
    assert said in text


def test_one_at_a_time_and_it_can_be_ended(channel: Any) -> None:
    import grpc

    from serving.model_server.observing.profiling import profiler_message

    started = time.monotonic()
    found: list[Any] = []

    def record() -> None:
        """Record for long; what asks in between may have the recorder at the first try."""
        while not found and time.monotonic() - started < 60:
            try:
                found.append(
                    profile(channel, duration_ms=300_000, session_id="long", emit_xspace=True)
                )
            except grpc.RpcError:
                time.sleep(0.05)

    first = threading.Thread(target=record)
    first.start()
    code, text = "", ""
    while code != "INTERNAL" and time.monotonic() - started < 60:
        try:
            code, text = refusal(channel, duration_ms=1)
        except pytest.fail.Exception:  # the first one had not begun
            time.sleep(0.2)
    assert "profil" in text.lower()
    asked = profiler_message("TerminateRequest")(session_id="long").SerializeToString()
    assert channel.unary_unary("/tensorflow.ProfilerService/Terminate")(asked, timeout=30) == b""
    first.join(60)
    assert found
    assert time.monotonic() - started < 250


def test_monitor_and_what_is_no_message(channel: Any) -> None:
    import grpc

    for method, code in (("Monitor", "UNIMPLEMENTED"), ("Profile", "INTERNAL"),
                         ("Terminate", "INTERNAL"), ("Other", "UNIMPLEMENTED")):  # fmt: skip
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/tensorflow.ProfilerService/{method}")(b"\xff", timeout=30)
        assert raised.value.code().name == code
