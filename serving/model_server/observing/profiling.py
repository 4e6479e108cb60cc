"""Records what TensorFlow does for a while, for upstream's ProfilerService.

The recorder is TensorFlow's own, the one that its C++ service uses; its service itself can only be
had on a port of its own that listens on every interface.

Only the model server loads this module.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire.text_protos import Fields, message_class

if TYPE_CHECKING:
    from google.protobuf.message import Message

LONGEST_SECONDS: Final = 600.0
"""Of one recording, which is kept in memory until it ends."""

_LOOK_SECONDS: Final = 0.05
_MOST_STOPS: Final = 1000

# `opts` and `xspace` are messages; their bytes are passed on as they are.
_MESSAGES: Final[Mapping[str, Mapping[str, Fields]]] = MappingProxyType(
    {
        "ProfileRequest": {
            "ProfileRequest": {
                "duration_ms": (1, "uint64"),
                "opts": (4, "bytes"),
                "repository_root": (5, "string"),
                "session_id": (6, "string"),
                "host_name": (7, "string"),
                "emit_xspace": (9, "bool"),
            }
        },
        "ProfileResponse": {
            "ProfileResponse": {"empty_trace": (7, "bool"), "xspace": (8, "bytes")}
        },
        "TerminateRequest": {"TerminateRequest": {"session_id": (1, "string")}},
        "TerminateResponse": {"TerminateResponse": {}},
    }
)


def profiler_message(name: str) -> type[Message]:
    """Return the class of one of ProfilerService's messages, which no wheel has for Python."""
    return message_class(name, _MESSAGES[name])


@dataclass(frozen=True, slots=True)
class ProfileOrder:
    """What to record, and where it goes.

    Attributes:
        seconds: how long.
        session: by which it can be ended before.
        levels: of TensorFlow's tracers.
        file: is written; None: nothing is.
        answer: put the recording into the answer.
    """

    seconds: float
    session: str
    levels: Mapping[str, int]
    file: Path | None
    answer: bool


class Profiler:
    """Records one session at a time. Any thread may call."""

    def __init__(self) -> None:
        self._request, self._response = (
            profiler_message("ProfileRequest"),
            profiler_message("ProfileResponse"),
        )
        self._stops: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def profile(self, raw: bytes, is_wanted: Callable[[], bool]) -> bytes:
        """Record as a `ProfileRequest` asks; returns a `ProfileResponse`.

        Args:
            raw: the request.
            is_wanted: False once the client has gone.

        Raises:
            StatusError: the request is unusable, another recording is under way, the file cannot be
                written, or the client has gone.
        """
        order = _order(self._request.FromString(raw))
        space = self._record(order, is_wanted)
        if order.file is not None:
            _write(order.file, space)
        answer: Any = self._response(empty_trace=not space)  # Any: its fields are made at run time
        if order.answer:
            answer.xspace = space
        found: bytes = answer.SerializeToString()
        return found

    def terminate(self, raw: bytes) -> bytes:
        """End a session before its time; returns a `TerminateResponse`."""
        request: Any = profiler_message("TerminateRequest").FromString(raw)  # Any: as above
        self._stop_of(str(request.session_id)).set()
        return b""

    def _record(self, order: ProfileOrder, is_wanted: Callable[[], bool]) -> bytes:
        from tensorflow.python.profiler.internal import _pywrap_profiler

        session = _pywrap_profiler.ProfilerSession()
        stop = self._stop_of(order.session)
        try:
            session.start("", dict(order.levels))
            until = time.monotonic() + order.seconds
            while is_wanted() and time.monotonic() < until and not stop.is_set():
                stop.wait(min(_LOOK_SECONDS, max(until - time.monotonic(), 0.0)))
            space: bytes = session.stop()
        except Exception as error:  # TensorFlow raises its own and Python's errors
            raise StatusError(Code.INTERNAL, str(error)) from error
        finally:
            with self._lock:
                self._stops.pop(order.session, None)
        if not is_wanted():
            raise StatusError(Code.CANCELLED, "the client has gone")
        return space

    def _stop_of(self, session: str) -> threading.Event:
        with self._lock:
            if session not in self._stops and len(self._stops) >= _MOST_STOPS:
                raise StatusError(Code.RESOURCE_EXHAUSTED, "too many sessions to terminate")
            return self._stops.setdefault(session, threading.Event())


def _order(request: Any) -> ProfileOrder:  # noqa: ANN401 - its fields are made at run time
    from tensorflow.tsl.profiler.protobuf.profiler_options_pb2 import ProfileOptions

    options = ProfileOptions.FromString(request.opts)
    seconds = (options.duration_ms or request.duration_ms) / 1e3
    if seconds > LONGEST_SECONDS:
        raise invalid(f"duration_ms is {seconds * 1e3:.0f}; {LONGEST_SECONDS * 1e3:.0f} at most")
    root, session, host = request.repository_root, request.session_id, request.host_name
    if root:
        _check_name("session_id", session)
        _check_name("host_name", host)
        if not root.startswith("/") or "\0" in root:
            raise invalid(
                f"repository_root is {root!r}; write an absolute path of the server's machine"
            )
    file = Path(root) / session / f"{host.replace(':', '_')}.xplane.pb" if root else None
    return ProfileOrder(seconds, session, _levels(options), file, bool(request.emit_xspace))


def _levels(options: Any) -> dict[str, int]:  # noqa: ANN401 - TensorFlow ships no types
    given = bool(options.version)  # an unset message means the defaults
    return {
        "host_tracer_level": options.host_tracer_level if given else 2,
        "python_tracer_level": options.python_tracer_level,
        "device_tracer_level": options.device_tracer_level if given else 1,
    }


def _check_name(field: str, name: str) -> None:
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise invalid(f"{field} is {name!r}; it becomes a file's name, so write one")


def _write(file: Path, space: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(space)
    except OSError as error:
        raise StatusError(Code.INTERNAL, f"{file}; {error.strerror}") from error
