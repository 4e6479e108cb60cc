"""The model server's HTTP face under uvicorn."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samescore.model_server.extensions import Observed
from serving.model_server.status import Code, StatusError

if TYPE_CHECKING:
    from samescore.model_server.monitoring import Monitoring
    from serving.faces.tfs_rest.app import RestApp
    from serving.model_server.server_core import ServerCore


@dataclass(frozen=True, slots=True)
class RestSettings:
    """Where and how the HTTP face listens.

    Attributes:
        host: address of the TCP port.
        port: of TCP; 0 takes a free one.
        timeout_seconds: after which a call is answered with an error.
        threads: calls that compute at once.
        cors: other origins' pages may call.
        exact_floats: floats are read and written exactly, which upstream's are not.
        max_body_bytes: of one request.
    """

    host: str = "127.0.0.1"
    port: int = 0
    timeout_seconds: float = 30.0
    threads: int = 4 * (os.cpu_count() or 1)
    cors: bool = False
    exact_floats: bool = False
    max_body_bytes: int = 512 << 20


class RestServer:
    """The HTTP face under uvicorn, in a thread of its own.

    A loop of its own: a request that is parsed for long holds up no signal and no gRPC call.

    Args:
        core: answers.
        settings: where to listen.
        monitoring: counts, and has a page.
        observed: what is called instead of the core, where calls are logged.

    Raises:
        StatusError: the address cannot be listened on.
    """

    def __init__(
        self,
        core: ServerCore,
        settings: RestSettings,
        monitoring: Monitoring,
        observed: Observed | None = None,
    ) -> None:
        import uvicorn

        from samescore.draining import DrainingServer
        from samescore.server import UVICORN, listen, url_of

        try:
            sock = listen(settings.host, settings.port)
        except OSError as e:
            text = f"Failed to start HTTP Server at {settings.host}:{settings.port}: {e.strerror}"
            raise StatusError(Code.INVALID_ARGUMENT, text) from e
        self.url = url_of(sock)
        self._runner = DrainingServer(
            uvicorn.Config(
                _rest_app(core, settings, monitoring, observed or Observed(core)),
                lifespan="on",
                **UVICORN,
            )
        )
        self._thread = threading.Thread(
            target=self._runner.run, kwargs={"sockets": [sock]}, name="rest", daemon=True
        )
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Accept nothing more."""
        self._runner.should_exit = True

    def wait(self, seconds: float) -> None:
        """Return when the requests in flight are answered."""
        self._thread.join(seconds + 1)


def _rest_app(
    core: ServerCore, settings: RestSettings, monitoring: Monitoring, observed: Observed
) -> RestApp:
    from tensorflow_serving.apis import model_pb2

    from serving.faces.tfs_rest.app import RestApp, RestOptions

    def hint_seconds(name: str) -> float:
        try:
            with core.models.acquire(model_pb2.ModelSpec(name=name)) as model:
                return model.thread_hint_seconds
        except StatusError:  # the call itself will say so
            return 0.0

    options = RestOptions(
        timeout_seconds=settings.timeout_seconds,
        threads=settings.threads,
        cors=settings.cors,
        exact_floats=settings.exact_floats,
        max_body_bytes=settings.max_body_bytes,
    )
    return RestApp(
        monitoring.over_rest(observed.api, core),
        options,
        pages=monitoring.pages(),
        observe=monitoring.observe,
        hint_seconds=hint_seconds,
        reception=observed.reception,
        refused=observed.refused,
    )
